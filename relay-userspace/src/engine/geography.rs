//! In which order places are searched for a number, by country.
//!
//! Americans and Canadians read a number's area, so theirs are searched from
//! the locality outwards; in the European Union the country and then its
//! neighbours count; elsewhere the country and then regions in an order that
//! the operator gives. Every country's order can be replaced. At the end stands
//! anything at all, unless that is switched off; a strict search ends with the
//! first step that names a place.

use std::collections::BTreeMap;

use super::number::Country;

/// The member states of the European Union.
const EUROPEAN_UNION: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT",
    "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// One place further out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The same city, or the same area code where the city is not known.
    Locality,
    /// The same state or province.
    State,
    /// The same country.
    Country,
    /// The neighbours that the configuration lists, one after the other.
    Neighbours,
    /// The countries of the own region, then those of the others, in the order
    /// of the configuration.
    Regions,
}

/// What the configuration says about places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether a search ends with its first step.
    pub strict: bool,
    /// Whether a number from anywhere is better than none.
    pub anywhere: bool,
    /// Orders that replace the built-in ones.
    pub orders: BTreeMap<Country, Vec<Step>>,
    /// Each country's neighbours, the closest first.
    pub neighbours: BTreeMap<Country, Vec<Country>>,
    /// Regions and their countries.
    pub regions: Vec<Region>,
}

/// Countries that are close to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name in the configuration.
    pub name: String,
    /// Its countries, in the order in which they are searched.
    pub countries: Vec<Country>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            strict: false,
            anywhere: true,
            orders: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            regions: Vec::new(),
        }
    }
}

impl Rules {
    /// The steps of a search for somebody in a country.
    #[must_use]
    pub fn order(&self, country: Country) -> &[Step] {
        self.orders.get(&country).map_or_else(|| built_in(country), Vec::as_slice)
    }

    /// A country's neighbours, the closest first.
    #[must_use]
    pub fn neighbours(&self, country: Country) -> &[Country] {
        self.neighbours.get(&country).map_or(&[], Vec::as_slice)
    }

    /// All countries of all regions, those of a country's own region first.
    pub fn by_region(&self, country: Country) -> impl Iterator<Item = Country> {
        let own = self.regions.iter().filter(move |region| region.countries.contains(&country));
        let others = self.regions.iter().filter(move |region| !region.countries.contains(&country));
        own.chain(others).flat_map(|region| region.countries.iter().copied())
    }
}

fn built_in(country: Country) -> &'static [Step] {
    match country.as_str() {
        "US" | "CA" => &[Step::Locality, Step::State, Step::Country],
        code if EUROPEAN_UNION.contains(&code) => &[Step::Country, Step::Neighbours],
        _ => &[Step::Country, Step::Regions],
    }
}
