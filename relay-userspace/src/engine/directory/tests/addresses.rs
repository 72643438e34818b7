//! Parties with several addresses, and teams.

use super::*;

const MOBILE: &str = "+13105550148";
const DESK: &str = "77@pbx";

fn with_also(key: &str, agents: &[&str]) -> NewBinding {
    let also = agents.iter().map(|&agent| Typed(agent.into())).collect();
    NewBinding { also: [Vec::new(), also], ..wanted(key, CUSTOMER, AGENT) }
}

fn desk() -> PartyAddress {
    parse::party("agent", &Typed(DESK.into()), &config()).unwrap()
}

#[test]
fn every_address_of_a_party_dials_and_sees_the_same_number() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), with_also("k", &[MOBILE, DESK]));
    assert_eq!(bound.agent.also.len(), 2);
    for restarted in [false, true] {
        if restarted {
            world.restart(at(2));
        }
        let rings = world.directory.addresses_of(bound.id, LegName::B);
        assert_eq!(rings, [number(AGENT), number(MOBILE), desk()], "in their order");
        for address in rings {
            let Lookup::Live(found) = world.directory.lookup(&bound.agent.proxy, &address) else { panic!() };
            assert_eq!((found.caller, world.address(&found)), (LegName::B, number(CUSTOMER)));
            assert_eq!(world.directory.address(found.from), Some(address));
        }
    }
    let again = AdminRequest::BindCreate(wanted("k", CUSTOMER, AGENT));
    assert!(matches!(world.ask(at(3), again), AdminReply::Bound { reused: true, .. }));
    let others = AdminRequest::BindCreate(with_also("k", &[DESK, MOBILE]));
    assert_eq!(world.refused(at(3), others).kind, RefusalKind::Conflict);
}

#[test]
fn a_number_is_free_for_all_addresses_of_a_party_or_not_at_all() {
    let mut world = World::new(&POOL);
    let mobile = world.bind(at(1), wanted("m", "+12125551201", MOBILE));
    let both = world.bind(at(1), with_also("k", &[MOBILE]));
    assert_ne!(both.agent.proxy, mobile.agent.proxy);
    // Ended, each of them keeps its pair, and then rests.
    world.ask(at(2), AdminRequest::BindClose { id: both.id });
    assert!(matches!(world.directory.lookup(&both.agent.proxy, &number(MOBILE)), Lookup::Entombed(_)));
    world.run_until(at(700));
    assert_eq!(world.directory.lookup(&both.agent.proxy, &number(MOBILE)), Lookup::Unknown);
    let next = world.bind(at(701), wanted("n", "+12125551210", MOBILE));
    assert!(![mobile.agent.proxy, both.agent.proxy].contains(&next.agent.proxy));
    let none = world.refused(at(701), AdminRequest::BindCreate(wanted("o", "+12125551211", MOBILE)));
    assert_eq!(none.kind, RefusalKind::Exhausted, "the pair is in cool-off for this address too");
}

#[test]
fn addresses_that_cannot_be_are_told_why() {
    let mut world = World::new(&POOL);
    let crowd: Vec<String> = (0..16).map(|n| format!("+131055502{n:02}")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    for (also, what) in [
        (&[AGENT][..], "an address is given twice"),
        (&[MOBILE, MOBILE], "an address is given twice"),
        (&[CUSTOMER], "an address is given twice"),
        (&[POOL[0]], "the agent's number is one of the pool's own"),
        (&["911@pbx"], "the agent's extension is an emergency number"),
        (&crowd, "17 addresses of the agent are too many"),
    ] {
        let refused = world.refused(at(1), AdminRequest::BindCreate(with_also("k", also)));
        assert!(refused.what.contains(what), "{what}: {refused:?}");
    }
    let told = NewBinding { key: "x3105550148".into(), ..with_also("k", &[MOBILE]) };
    assert!(world.refused(at(1), AdminRequest::BindCreate(told)).what.contains("real number"));
    assert_eq!(world.committed.len(), 1, "nothing but the pool");
}

#[test]
fn who_takes_a_side_takes_the_place_of_all_of_its_addresses() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), with_also("k", &[MOBILE]));
    let hand_over =
        |to: &str| AdminRequest::BindHandover { id: bound.id, leg: LegName::B, to: Typed(to.into()) };
    let inside = world.refused(at(2), hand_over(MOBILE));
    assert!(inside.what.contains("is on that side of"), "{inside:?}");
    let AdminReply::Binding(after) = world.ask(at(2), hand_over(DESK)) else { panic!() };
    assert_eq!((after.agent.proxy, after.agent.also.len()), (bound.agent.proxy, 0));
    for gone in [AGENT, MOBILE] {
        assert_eq!(world.directory.lookup(&bound.agent.proxy, &number(gone)), Lookup::Unknown);
    }
    assert_eq!(world.directory.addresses_of(bound.id, LegName::B), [desk()]);
    world.restart(at(3));
    assert!(matches!(world.directory.lookup(&bound.agent.proxy, &desk()), Lookup::Live(_)));
}

#[test]
fn each_member_of_a_team_can_call_a_caller_of_its_number_back() {
    let mut world = World::new(&POOL);
    let open = AgentRequest::Open(NewAgent {
        tenant: "acme".into(),
        project: "main".into(),
        key: "team".into(),
        agent: Typed(AGENT.into()),
        also: vec![Typed(MOBILE.into()), Typed(DESK.into())],
        ring: Some(Ring::Together),
        number: None,
        numbers: NumberWish::default(),
    });
    let opened = world.ask(at(1), AdminRequest::Agent(open.clone()));
    let AdminReply::Agent(AgentReply::Opened { agent, known: false }) = opened else { panic!() };
    world.restart(at(2));
    let again = world.ask(at(2), AdminRequest::Agent(open));
    assert!(matches!(again, AdminReply::Agent(AgentReply::Opened { known: true, .. })), "{again:?}");
    let caller = number(CUSTOMER);
    let reached = world.directory.agent_at(&agent.number, &caller).unwrap();
    assert_eq!((reached.addresses.len(), reached.ring), (3, Ring::Together));
    assert!(world.directory.meet(at(3), RequestId(900), &agent.number, &caller));
    world.settle(at(3));
    let Lookup::Live(found) = world.directory.lookup(&agent.number, &caller) else { panic!() };
    let binding = world.directory.binding(found.binding).unwrap();
    assert_eq!(binding.usage.ring, Ring::Together);
    for member in reached.addresses {
        let Lookup::Live(back) = world.directory.lookup(&found.callee_sees, &member) else { panic!() };
        assert_eq!((world.address(&back), back.callee_sees), (number(CUSTOMER), agent.number));
        assert_eq!(world.directory.agent_at(&agent.number, &member), None, "no member calls its own team");
    }
}
