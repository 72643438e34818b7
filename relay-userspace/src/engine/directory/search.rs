//! The places where a party's number is looked for, one after the other.

use super::numbers::Place;
use super::{Directory, PartyAddress};
use crate::engine::admin::NumberWish;
use crate::engine::areas;
use crate::engine::dialling::Geography;
use crate::engine::geography::Step;
use crate::engine::number::Country;

/// What is known of where somebody is.
struct Home {
    geography: Geography,
    states: Vec<&'static str>,
}

/// Places in the order of choice, and how to speak of them.
pub(super) struct Search {
    pub(super) places: Vec<Place>,
    /// `` of DE``; says nothing that only the party's own number could tell.
    pub(super) name: String,
}

impl Directory {
    /// Where a number for a party is looked for.
    pub(super) fn search(&self, party: &PartyAddress, wish: &NumberWish) -> Search {
        let mut places = Vec::with_capacity(6);
        if let PartyAddress::Extension { trunk, .. } = party {
            places.extend([Place::Internal(Some(trunk.clone())), Place::Internal(None)]);
        }
        let home = self.home(party);
        let strict = wish.strict || self.config.geography.strict;
        let country = wish.country.or_else(|| home.as_ref()?.geography.country);
        let Some(country) = country else {
            return self.outwards(places, None, wish, strict);
        };
        let home = home.filter(|home| home.suits(country, wish));
        let inside = places.len();
        named(country, home.as_ref(), wish, &mut places);
        for &step in self.config.geography.order(country) {
            if strict && places.len() > inside {
                break;
            }
            self.step(step, country, home.as_ref(), wish, &mut places);
        }
        self.outwards(places, Some((country, home)), wish, strict)
    }

    fn home(&self, party: &PartyAddress) -> Option<Home> {
        match party {
            PartyAddress::Number(number) => {
                let country = number.country();
                let states = areas::states(number.reveal(), country).collect();
                Some(Home { geography: Geography::of(number.reveal(), country), states })
            }
            PartyAddress::Extension { trunk, .. } => {
                let trunk = self.config.trunk(self.config.trunk_named(trunk)?)?;
                Some(Home { geography: Geography::of_country(trunk.country), states: Vec::new() })
            }
        }
    }

    fn step(
        &self,
        step: Step,
        country: Country,
        home: Option<&Home>,
        wish: &NumberWish,
        places: &mut Vec<Place>,
    ) {
        let rules = &self.config.geography;
        let abroad = wish.country.is_none();
        match step {
            Step::Locality => places.extend(home.and_then(|home| home.geography.area).map(Place::Area)),
            Step::State => {
                let own = home.into_iter().flat_map(|home| home.states.iter().copied());
                let states = wish.region.as_deref().into_iter().chain(own);
                places.extend(states.map(|state| Place::state(country, state)));
            }
            Step::Country => places.push(Place::Country(country)),
            Step::Neighbours if abroad => {
                places.extend(rules.neighbours(country).iter().copied().map(Place::Country));
            }
            Step::Regions if abroad => places.extend(rules.by_region(country).map(Place::Country)),
            Step::Neighbours | Step::Regions => {}
        }
    }

    /// What is left when all steps are done, and the name of it all.
    fn outwards(
        &self,
        mut places: Vec<Place>,
        home: Option<(Country, Option<Home>)>,
        wish: &NumberWish,
        strict: bool,
    ) -> Search {
        let anywhere = !strict && self.config.geography.anywhere && wish.country.is_none();
        let name = if anywhere { String::new() } else { name(&places, wish) };
        if anywhere {
            let code = home.and_then(|(_, home)| home).map(|home| home.geography.code);
            places.extend(code.map(Place::Code));
            places.push(Place::World);
        }
        Search { places, name }
    }
}

impl Home {
    /// Whether what is wished for is where the party is.
    fn suits(&self, country: Country, wish: &NumberWish) -> bool {
        let state = wish
            .region
            .as_ref()
            .is_none_or(|wished| self.states.iter().any(|state| state.eq_ignore_ascii_case(wished)));
        self.geography.country == Some(country) && state
    }
}

/// Places that the request names come before all others.
fn named(country: Country, home: Option<&Home>, wish: &NumberWish, places: &mut Vec<Place>) {
    if let Some(locality) = &wish.locality {
        let states = home.map_or(&[][..], |home| &home.states);
        let regions: Vec<Option<&str>> = match &wish.region {
            Some(region) => vec![Some(region)],
            None if states.is_empty() => vec![None],
            None => states.iter().map(|&state| Some(state)).collect(),
        };
        places.extend(regions.into_iter().map(|region| Place::locality(country, region, locality)));
    } else if let Some(region) = &wish.region {
        places.push(Place::state(country, region));
    }
}

fn name(places: &[Place], wish: &NumberWish) -> String {
    let mut countries: Vec<&str> = Vec::new();
    for place in places {
        if let Place::Country(country) = place
            && !countries.contains(&country.as_str())
        {
            countries.push(country.as_str());
        }
    }
    if !countries.is_empty() {
        return format!(" of {}", countries.join(", "));
    }
    if let Some(locality) = &wish.locality {
        return format!(" of {locality}");
    }
    match places.last() {
        Some(Place::State(country, _)) => match &wish.region {
            Some(region) => format!(" of {region}, {country}"),
            None => format!(" of its own state in {country}"),
        },
        Some(Place::Area(_)) => " of its own area".to_owned(),
        Some(Place::Internal(_)) => " of its own trunk".to_owned(),
        Some(Place::Locality(..) | Place::Country(_) | Place::Code(_) | Place::World) | None => String::new(),
    }
}
