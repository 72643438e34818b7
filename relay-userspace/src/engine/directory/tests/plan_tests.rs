//! How many numbers are needed, and who is told when they run out.

use super::*;

fn plan(world: &mut World) -> (Vec<plan::PlaceLoad>, u32) {
    match world.ask(at(50), AdminRequest::Pool(PoolRequest::Plan)) {
        AdminReply::Pool(PoolReply::Plan { places, cap }) => (places, cap),
        other => panic!("{other:?}"),
    }
}

fn bind(world: &mut World, n: u32) -> BindingView {
    world.bind(at(1), wanted(&format!("k{n}"), &format!("+1212555{:04}", 1200 + n), AGENT))
}

#[test]
fn the_plan_names_the_busiest_party_and_no_number() {
    let pool: Vec<String> = (0..10).map(|n| format!("+1415555{n:04}")).collect();
    let pool: Vec<&str> = pool.iter().map(String::as_str).collect();
    let mut world = World::new(&pool);
    for n in 0..5 {
        let bound = bind(&mut world, n);
        if n == 0 {
            world.ask(at(2), AdminRequest::BindClose { id: bound.id });
        }
    }
    let (places, _) = plan(&mut world);
    let [agent, customers] = &places[..] else { panic!("{places:?}") };
    assert_eq!((agent.name().as_str(), agent.busiest, agent.busiest_agent), ("CA, US", 5, 5));
    assert_eq!((agent.numbers, agent.parties, agent.bindings), (10, 1, 5), "tombstones count");
    assert_eq!(agent.busiest_parties, ["+131••••••47"]);
    assert_eq!((customers.name().as_str(), customers.parties, customers.busiest), ("NY, US", 5, 1));
    assert_eq!(customers.busiest_parties, [""; 0], "five parties have one each");
}

#[test]
fn low_and_exhausted_are_told_once_and_so_is_the_way_back() {
    let pool: Vec<String> = (0..10).map(|n| format!("+1415555{n:04}")).collect();
    let pool: Vec<&str> = pool.iter().map(String::as_str).collect();
    let mut world = World::new(&pool);
    let levels = |world: &World| -> Vec<(u32, bool)> {
        let level = |event: &Event| match event {
            Event::PoolLevel { place, left, low, .. } if place == "CA, US" => Some((*left, *low)),
            _ => None,
        };
        world.events.iter().filter_map(level).collect()
    };
    let counter = |world: &World, name: &str| {
        world.directory.counters().into_iter().find(|(named, _)| named == name).unwrap().1
    };
    for n in 0..8 {
        bind(&mut world, n);
    }
    assert_eq!(levels(&world), []);
    bind(&mut world, 8);
    assert_eq!((levels(&world), counter(&world, "directory.places_low")), (vec![(1, true)], 1));
    bind(&mut world, 9);
    assert_eq!(levels(&world), [(1, true), (0, true)]);
    assert_eq!(counter(&world, "directory.places_exhausted"), 1);
    let more = (10..14).map(|n| new_number(&format!("+1415555{n:04}"))).collect();
    world.ask(at(3), AdminRequest::Pool(PoolRequest::Add { numbers: more }));
    bind(&mut world, 10);
    assert_eq!(levels(&world)[2..], [(3, true)], "fewer than 30 of a hundred are not enough again");
    let more = (14..20).map(|n| new_number(&format!("+1415555{n:04}"))).collect();
    world.ask(at(4), AdminRequest::Pool(PoolRequest::Add { numbers: more }));
    bind(&mut world, 11);
    assert_eq!(levels(&world)[3..], [(8, false)]);
}

#[test]
fn no_number_gets_more_bindings_than_its_cap() {
    let mut config = config();
    config.pool.bindings_per_number = 2;
    let mut world = World::with(config, &POOL[..2]);
    let pair = |n| {
        wanted(&format!("k{n}"), &format!("+1212555{:04}", 1200 + n), &format!("+1310555{:04}", 1200 + n))
    };
    let bound = world.bind(at(1), pair(0));
    world.bind(at(1), pair(1));
    let refusal = world.refused(at(2), AdminRequest::BindCreate(pair(2)));
    assert_eq!(refusal.kind, RefusalKind::Exhausted);
    assert!(refusal.what.ends_with("and 2 have as many bindings as a number may"), "{refusal:?}");
    world.ask(at(3), AdminRequest::BindClose { id: bound.id });
    world.run_until(at(700));
    world.bind(at(700), pair(2));
    assert_eq!(plan(&mut world).1, 2);
}
