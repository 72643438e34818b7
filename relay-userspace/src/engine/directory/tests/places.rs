//! Where numbers are looked for, and how few of them are enough.

use rand::RngExt;

use super::*;
use crate::engine::geography::{Region, Rules, Step};
use crate::engine::number::Country;

fn country(code: &str) -> Country {
    code.parse().unwrap()
}

/// A pool of these numbers, and some that serve agents at a PBX alone.
fn world_with(rules: Rules, mut numbers: Vec<NewNumber>) -> World {
    let internal = |n| with(&format!("+1415555019{n}"), |traits| traits.kind = NumberKind::Internal);
    numbers.extend((0..6).map(internal));
    let mut world = World::with(Config { geography: rules, ..config() }, &[]);
    world.ask(at(0), AdminRequest::Pool(PoolRequest::Add { numbers }));
    world
}

fn plain(numbers: &[&str]) -> Vec<NewNumber> {
    numbers.iter().map(|number| new_number(number)).collect()
}

/// What a customer gets for each of so many bindings, the first one first.
fn given(world: &mut World, customer: &str, wish: &NumberWish, bindings: usize) -> Vec<String> {
    let bind = |n| {
        let agent = format!("{n}@pbx");
        let wanted =
            NewBinding { numbers: wish.clone(), ..wanted(&format!("{customer}{n}")[8..], customer, &agent) };
        match world.ask(at(1), AdminRequest::BindCreate(wanted)) {
            AdminReply::Bound { binding, .. } => binding.customer.proxy.to_string(),
            AdminReply::Refused(refusal) => refusal.what,
            other => panic!("{other:?}"),
        }
    };
    (0..bindings).map(bind).collect()
}

#[test]
fn americans_get_their_area_then_their_state_then_their_country() {
    let pool = ["+442079460000", "+16045550100", "+14155550100", "+15185550100", "+12125550100"];
    let mut world = world_with(Rules::default(), plain(&pool));
    let found = given(&mut world, "+12125551200", &NumberWish::default(), 4);
    assert_eq!(found[..3], ["+12125550100", "+15185550100", "+14155550100"]);
    assert_eq!(found[3], "+16045550100", "the calling code is closer than the rest of the world");
    let mut world = world_with(Rules { anywhere: false, ..Rules::default() }, plain(&pool));
    let found = given(&mut world, "+12125551200", &NumberWish::default(), 4);
    assert!(found[3].starts_with("no number of US is free for the customer: of 3 in the pool"), "{found:?}");
}

#[test]
fn europeans_get_their_country_then_its_neighbours_in_order() {
    let pool = ["+12125550100", "+33155550100", "+431555501000", "+493055500199"];
    let neighbours = [(country("DE"), vec![country("AT"), country("FR")])].into();
    let rules = Rules { neighbours, anywhere: false, ..Rules::default() };
    let mut world = world_with(rules, plain(&pool));
    let found = given(&mut world, "+49301234567", &NumberWish::default(), 4);
    assert_eq!(found[..3], ["+493055500199", "+431555501000", "+33155550100"]);
    assert!(found[3].starts_with("no number of DE, AT, FR is free"), "{found:?}");
}

#[test]
fn others_get_their_country_then_their_region_then_the_others() {
    let pool = ["+442079460000", "+61255501234", "+81355501234", "+6565501234"];
    let region = |name: &str, codes: &[&str]| Region {
        name: name.into(),
        countries: codes.iter().map(|code| country(code)).collect(),
    };
    let regions = vec![region("emea", &["GB", "ZA"]), region("apac", &["AU", "JP", "SG"])];
    let mut world = world_with(Rules { regions, anywhere: false, ..Rules::default() }, plain(&pool));
    let found = given(&mut world, "+81355509876", &NumberWish::default(), 4);
    assert_eq!(found, ["+81355501234", "+61255501234", "+6565501234", "+442079460000"]);
}

#[test]
fn strict_ends_with_the_first_place_and_tells_no_area() {
    let pool = ["+14155550100", "+15185550100", "+12125550100"];
    let strict = NumberWish { strict: true, ..NumberWish::default() };
    let mut world = world_with(Rules::default(), plain(&pool));
    let found = given(&mut world, "+12125551200", &strict, 2);
    assert_eq!(found[0], "+12125550100");
    assert!(found[1].starts_with("no number of its own area is free for the customer: of 1"), "{found:?}");
    let orders = [(country("US"), vec![Step::State, Step::Country])].into();
    let mut world = world_with(Rules { strict: true, orders, ..Rules::default() }, plain(&pool));
    let found = given(&mut world, "+12125551200", &NumberWish::default(), 3);
    assert!(found[..2].iter().all(|number| number != "+14155550100"), "{found:?}");
    assert!(found[2].starts_with("no number of its own state in US is free"), "{found:?}");
}

#[test]
fn a_wish_comes_before_the_own_place() {
    let in_city = |number, city: &str| with(number, |traits| traits.locality = Some(city.into()));
    let pool = vec![
        new_number("+12125550100"),
        in_city("+15185550100", "Albany"),
        new_number("+14155550100"),
        in_city("+14085550100", "San Jose"),
    ];
    let wish = |region: Option<&str>, locality: Option<&str>| NumberWish {
        region: region.map(str::to_owned),
        locality: locality.map(str::to_owned),
        ..NumberWish::default()
    };
    let mut world = world_with(Rules::default(), pool);
    assert_eq!(given(&mut world, "+12125551200", &wish(Some("ca"), None), 2)[1], "+14155550100");
    assert_eq!(given(&mut world, "+12125551201", &wish(Some("CA"), Some("san jose")), 1), ["+14085550100"]);
    assert_eq!(given(&mut world, "+12125551202", &wish(None, Some("Albany")), 1), ["+15185550100"]);
    let elsewhere = NumberWish { strict: true, ..wish(Some("TX"), None) };
    let found = given(&mut world, "+12125551203", &elsewhere, 1);
    assert_eq!(found, ["the pool has no voice number of TX, US that the customer could use"]);
}

/// With strict places and without cool-off, a creation is refused exactly when
/// one of its parties has as many bindings as there are numbers.
#[test]
fn the_busiest_party_alone_sets_how_many_numbers_are_needed() {
    let parties = ["+12125551200", "+12125551201", "+12125551202", "+12125551203", "+12125551204"];
    for seed in 0..60 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let count = random.random_range(1..=6);
        let mut config = config();
        config.geography.strict = true;
        config.bindings.cool_off = Duration::ZERO;
        config.bindings.usual.callback_window = Duration::from_secs(30);
        let mut world = World::with(config, &[]);
        let numbers = (0..count).map(|n| new_number(&format!("+1212555{n:04}"))).collect();
        world.ask(at(0), AdminRequest::Pool(PoolRequest::Add { numbers }));
        let mut refused = 0;
        for step in 0..200 {
            let now = at(step * 3);
            world.run_until(now);
            let held = |world: &World, party: &str| {
                let rows = world.directory.bindings.after(None);
                let both = rows.flat_map(|(_, record)| record.sides());
                both.filter(|side| world.directory.parties.address(side.party) == Some(number(party))).count()
            };
            let customer = random.random_range(0..parties.len());
            let agent = (customer + random.random_range(1..parties.len())) % parties.len();
            let (customer, agent) = (parties[customer], parties[agent]);
            let room = held(&world, customer) < count && held(&world, agent) < count;
            let wanted = wanted(&format!("k{step}"), customer, agent);
            match world.ask(now, AdminRequest::BindCreate(wanted)) {
                AdminReply::Bound { binding, .. } => {
                    assert!(room, "seed {seed}: more bindings than numbers");
                    if random.random_range(0..2) == 0 {
                        world.ask(now, AdminRequest::BindClose { id: binding.id });
                    }
                }
                AdminReply::Refused(refusal) => {
                    assert_eq!(refusal.kind, RefusalKind::Exhausted);
                    assert!(!room, "seed {seed}: refused, and {count} numbers were enough: {refusal:?}");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(refused > 0, "seed {seed} never fills the pool");
    }
}
