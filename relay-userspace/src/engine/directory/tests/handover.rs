//! Handover, one number for both parties, and who cannot be a party at all.

use super::*;
use crate::engine::io::Change as Stored;

const NEXT: &str = "+13105550148";

fn hand_over(id: BindingId, leg: LegName, to: &str) -> AdminRequest {
    AdminRequest::BindHandover { id, leg, to: Typed(to.into()) }
}

fn handed(world: &mut World, now: Now, id: BindingId, leg: LegName, to: &str) -> BindingView {
    match world.ask(now, hand_over(id, leg, to)) {
        AdminReply::Binding(binding) => *binding,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_new_agent_keeps_the_number_and_the_customer_sees_no_change() {
    let mut world = World::new(&POOL);
    let before = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    let after = handed(&mut world, at(2), before.id, LegName::B, NEXT);
    assert_eq!((&after.customer, after.agent.proxy), (&before.customer, before.agent.proxy));
    let Lookup::Live(found) = world.directory.lookup(&before.customer.proxy, &number(CUSTOMER)) else {
        panic!()
    };
    assert_eq!((world.address(&found), found.callee_sees), (number(NEXT), before.agent.proxy));
    let Lookup::Live(found) = world.directory.lookup(&before.agent.proxy, &number(NEXT)) else { panic!() };
    assert_eq!((world.address(&found), found.callee_sees), (number(CUSTOMER), before.customer.proxy));
    // Without grace: the one before reaches nobody, and gets the number for nobody.
    let old = |world: &World| world.directory.lookup(&before.agent.proxy, &number(AGENT));
    assert_eq!(old(&world), Lookup::Unknown);
    for n in 0..2 {
        let bound = world.bind(at(3), wanted(&format!("n{n}"), &format!("+1212555121{n}"), AGENT));
        assert_ne!(bound.agent.proxy, before.agent.proxy);
    }
    let full = world.refused(at(3), AdminRequest::BindCreate(wanted("n2", "+12125551219", AGENT)));
    assert_eq!(full.kind, RefusalKind::Exhausted);
    // The same again changes nothing.
    assert_eq!(handed(&mut world, at(4), before.id, LegName::B, NEXT), after);
}

#[test]
fn a_new_party_that_has_the_number_with_somebody_else_gets_another() {
    let mut world = World::new(&[POOL[0], POOL[1], POOL[2], "+14155550103"]);
    let before = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    let mut busy = (0..3).map(|n| {
        let (key, customer) = (format!("other{n}"), format!("+1212555121{n}"));
        world.bind(at(1), wanted(&key, &customer, NEXT))
    });
    let busy = busy.find(|bound| bound.agent.proxy == before.agent.proxy).unwrap();
    let after = handed(&mut world, at(2), before.id, LegName::B, NEXT);
    assert_ne!(after.agent.proxy, before.agent.proxy);
    for (proxy, key) in [(busy.agent.proxy, busy.key.as_str()), (after.agent.proxy, "k")] {
        let Lookup::Live(found) = world.directory.lookup(&proxy, &number(NEXT)) else { panic!() };
        assert_eq!(world.directory.binding(found.binding).unwrap().key, key);
    }
}

#[test]
fn a_handover_that_the_store_does_not_take_leaves_everything_as_it_was() {
    let mut world = World::new(&POOL);
    let before = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    let look = |world: &World, who| world.directory.lookup(&before.agent.proxy, &number(who));
    for fails in [false, true] {
        world.directory.handle_admin(at(2), RequestId(900), hand_over(before.id, LegName::B, NEXT));
        let Some(Output::Commit(id, _)) = world.directory.poll_output() else { panic!() };
        assert_eq!(look(&world, NEXT), Lookup::Unknown, "not durable, so not visible");
        if fails {
            world.directory.handle_commit_failed(at(2), id, "the disk is full");
        } else {
            world.directory.handle_conflict(at(2), id);
        }
        assert!(matches!(world.settle(at(2))[..], [(_, AdminReply::Refused(_))]));
        world.run_until(at(20));
        assert!(matches!(look(&world, AGENT), Lookup::Live(_)));
        assert_eq!(look(&world, NEXT), Lookup::Unknown);
    }
    let after = handed(&mut world, at(30), before.id, LegName::B, NEXT);
    assert_eq!(after.agent.proxy, before.agent.proxy);
}

#[test]
fn a_number_on_its_way_to_a_new_party_stays_in_the_pool() {
    let mut world = World::new(&POOL[..2]);
    let before = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    for n in 0..2 {
        world.bind(at(1), wanted(&format!("other{n}"), &format!("+1212555121{n}"), NEXT));
    }
    let spare = POOL[2].parse().unwrap();
    let pool = AdminRequest::Pool;
    world.ask(at(2), pool(PoolRequest::Add { numbers: vec![new_number(POOL[2])] }));
    world.directory.handle_admin(at(2), RequestId(900), hand_over(before.id, LegName::B, NEXT));
    let Some(Output::Commit(id, handover)) = world.directory.poll_output() else { panic!() };
    let gives = |change: &Stored| matches!(change, Stored::ClaimPair(claim) if claim.proxy == spare);
    assert!(handover.changes.iter().any(gives));
    let remove = || pool(PoolRequest::Remove { numbers: vec![spare] });
    let held = world.refused(at(3), remove());
    assert!(held.what.contains("has 1 live bindings"), "{held:?}");
    world.directory.handle_conflict(at(3), id);
    world.settle(at(3));
    assert!(matches!(world.ask(at(4), remove()), AdminReply::Pool(PoolReply::Removed(1))));
}

#[test]
fn an_ended_binding_and_the_other_party_are_not_handed_over() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    let itself = world.refused(at(2), hand_over(bound.id, LegName::B, CUSTOMER));
    assert_eq!(itself.kind, RefusalKind::Invalid);
    world.ask(at(3), AdminRequest::BindClose { id: bound.id });
    let ended = world.refused(at(4), hand_over(bound.id, LegName::B, NEXT));
    assert!(ended.what.contains("has ended"), "{ended:?}");
    let nobody = world.refused(at(4), hand_over(BindingId::from_bits(1), LegName::B, NEXT));
    assert_eq!(nobody.kind, RefusalKind::NotFound);
}

/// Greedy colouring of edges: at an edge of degrees c and a, at most (c - 1) + (a - 1)
/// colours are taken, so c + a - 1 always do.
#[test]
fn one_number_for_both_costs_what_edge_colouring_costs() {
    const SIDE: usize = 4;
    let pool: Vec<String> = (0..2 * SIDE - 1).map(|n| format!("+1415555010{n}")).collect();
    let mut world = World::new(&pool.iter().map(String::as_str).collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    for edge in 0..SIDE * SIDE {
        // An order that makes the greedy choice as bad as it gets.
        let (customer, agent) = (edge % SIDE, (edge / SIDE + edge * 3) % SIDE);
        let (customer, agent) = (format!("+1212555120{customer}"), format!("+1310555014{agent}"));
        let new = NewBinding { one_number: true, ..wanted(&format!("k{edge}"), &customer, &agent) };
        let bound = world.bind(at(1), new);
        assert_eq!(bound.customer.proxy, bound.agent.proxy);
        for party in [&customer, &agent] {
            assert!(seen.insert((bound.customer.proxy, party.clone())), "a pair was used twice");
        }
        let Lookup::Live(found) = world.directory.lookup(&bound.customer.proxy, &number(&customer)) else {
            panic!()
        };
        assert_eq!((found.caller, world.address(&found)), (LegName::A, number(&agent)));
    }
    let two = NewBinding { one_number: true, ..wanted("two", CUSTOMER, "+16465550107") };
    world.bind(at(1), NewBinding { one_number: false, ..two.clone() });
    assert_eq!(world.refused(at(2), AdminRequest::BindCreate(two)).kind, RefusalKind::Conflict);
}

#[test]
fn who_cannot_be_a_party_is_told_why() {
    let mut world = World::new(&POOL);
    let agent = |typed: &str| wanted("k", CUSTOMER, typed);
    for (new, what) in [
        (agent(CUSTOMER), "the customer and the agent are the same address"),
        (agent(POOL[0]), "the agent's number is one of the pool's own"),
        (agent("911"), "the agent: "),
        (agent("+911"), "the agent: "),
        (agent("+1911"), "the agent: "),
        (agent("+112"), "the agent: "),
        (agent("+1212555"), "the agent: "),
        (agent("+99999999999"), "the agent: "),
        (agent("77@nowhere"), "not the name of a trunk"),
        (agent("7 7@pbx"), "not an extension"),
        (agent("911@pbx"), "the agent's extension is an emergency number"),
        (NewBinding { time_to_live: Some(Duration::ZERO), ..agent(AGENT) }, "the time-to-live is zero"),
        (NewBinding { key: String::new(), ..agent(AGENT) }, "the key is empty"),
        (NewBinding { tenant: "a\nb".into(), ..agent(AGENT) }, "the tenant"),
    ] {
        let refused = world.refused(at(1), AdminRequest::BindCreate(new));
        assert_eq!(refused.kind, RefusalKind::Invalid, "{refused:?}");
        assert!(refused.what.contains(what) && !refused.remedy.is_empty(), "{what}: {refused:?}");
        assert!(!refused.what.contains("911") && !refused.what.contains("12125551200"), "{refused:?}");
    }
    assert_eq!(world.committed.len(), 1, "nothing but the pool");
    let kind = serde_json::from_str::<BindingKind>("\"rental\"").unwrap_err().to_string();
    assert!(kind.contains("unknown variant `rental`, expected one of `session`, `case`"), "{kind}");
}
