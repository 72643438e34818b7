//! Agent numbers: anybody may call, and nobody can empty the pool.

use super::*;

const LINE: &str = "+14155550100";
const EXTENSION: &str = "77@pbx";

fn open(key: &str, agent: &str, number: Option<&str>) -> AdminRequest {
    AdminRequest::Agent(AgentRequest::Open(NewAgent {
        tenant: "acme".into(),
        project: "main".into(),
        key: key.into(),
        agent: Typed(agent.into()),
        also: Vec::new(),
        ring: None,
        number: number.map(|number| number.parse().unwrap()),
        numbers: NumberWish::default(),
    }))
}

/// An agent with a number, and an internal pool at its PBX.
fn with_agent(config: Config) -> World {
    let mut world = World::with(config, &POOL);
    let internal = (0..3).map(|n| {
        with(&format!("+1415555020{n}"), |traits| {
            (traits.kind, traits.trunk) = (NumberKind::Internal, Some("pbx".into()));
        })
    });
    world.ask(at(1), AdminRequest::Pool(PoolRequest::Add { numbers: internal.collect() }));
    let AdminReply::Agent(AgentReply::Opened { agent, known: false }) =
        world.ask(at(1), open("a", EXTENSION, Some(LINE)))
    else {
        panic!()
    };
    assert_eq!((agent.number.to_string(), agent.callers), (LINE.to_owned(), 0));
    world
}

fn line() -> ProxyNumber {
    LINE.parse().unwrap()
}

/// A caller rings for the first time: whether it gets a binding, and what follows.
fn meet(world: &mut World, now: Now, caller: &str) -> bool {
    assert!(world.directory.agent_at(&line(), &number(caller)).is_some());
    let met = world.directory.meet(now, RequestId(u64::MAX), &line(), &number(caller));
    let replies = world.settle(now);
    assert_eq!(replies.len(), usize::from(met), "{replies:?}");
    met
}

#[test]
fn each_caller_gets_a_binding_whose_proxy_the_agent_can_call_back() {
    let mut world = with_agent(config());
    let agent = parse::party("agent", &Typed(EXTENSION.into()), &world.directory.config).unwrap();
    let mut seen = Vec::new();
    for (n, caller) in [CUSTOMER, "+12125551201", "+12125551202"].into_iter().enumerate() {
        assert_eq!(world.directory.lookup(&line(), &number(caller)), Lookup::Unknown);
        assert!(meet(&mut world, at(2), caller));
        let Lookup::Live(found) = world.directory.lookup(&line(), &number(caller)) else { panic!() };
        assert_eq!((found.caller, world.address(&found)), (LegName::A, agent.clone()));
        let shown = found.callee_sees;
        assert!(shown.to_string().starts_with("+1415555020"), "an internal number: {shown}");
        assert!(!seen.contains(&shown));
        seen.push(shown);
        let Lookup::Live(back) = world.directory.lookup(&shown, &agent) else { panic!() };
        assert_eq!((world.address(&back), back.callee_sees), (number(caller), line()));
        let binding = world.directory.binding(back.binding).unwrap();
        assert_eq!((binding.kind, binding.tenant.as_str()), (BindingKind::Agent, "acme"));
        assert!(binding.key.starts_with("a/"), "{n}: {}", binding.key);
    }
    // The fourth would need a fourth internal number: it takes one of another sort.
    assert!(meet(&mut world, at(3), AGENT));
    // The agent that dials its own number reaches nobody.
    assert_eq!(world.directory.agent_at(&line(), &agent), None);
}

#[test]
fn callers_beyond_a_cap_take_nothing_from_the_pool() {
    let mut config = config();
    (config.limits.callers_per_agent, config.limits.agents_per_caller) = (2, 1);
    let mut world = with_agent(config);
    assert!(meet(&mut world, at(2), CUSTOMER));
    assert!(meet(&mut world, at(2), "+12125551201"));
    let before = world.committed.len();
    assert!(!meet(&mut world, at(3), "+12125551202"), "the agent has as many callers as it may");
    assert_eq!(world.committed.len(), before);
    assert!(world.directory.agent_at(&line(), &number("+12125551202")).is_some(), "the call connects");
    let AdminReply::Agent(AgentReply::Opened { agent, .. }) = world.ask(at(3), open("b", AGENT, None)) else {
        panic!()
    };
    let met = world.directory.meet(at(4), RequestId(u64::MAX), &agent.number, &number(CUSTOMER));
    assert!(!met, "the caller has as many agents as it may");
    let shared = world.directory.counters().into_iter().find(|(name, _)| name == "directory.agents_shared");
    assert_eq!(shared.unwrap().1, 2);
}

#[test]
fn an_ended_binding_of_a_caller_comes_back_with_its_numbers() {
    let mut world = with_agent(config());
    meet(&mut world, at(2), CUSTOMER);
    let Lookup::Live(first) = world.directory.lookup(&line(), &number(CUSTOMER)) else { panic!() };
    world.ask(at(3), AdminRequest::BindClose { id: first.binding });
    assert!(matches!(world.directory.lookup(&line(), &number(CUSTOMER)), Lookup::Entombed(_)));
    assert!(meet(&mut world, at(4), CUSTOMER));
    assert_eq!(world.directory.lookup(&line(), &number(CUSTOMER)), Lookup::Live(first.clone()));
    // Two INVITEs at once wait for one binding.
    world.ask(at(5), AdminRequest::BindClose { id: first.binding });
    for request in [RequestId(901), RequestId(902)] {
        assert!(world.directory.meet(at(6), request, &line(), &number(CUSTOMER)));
    }
    assert_eq!(world.settle(at(6)).len(), 2);
    assert_eq!(world.directory.lookup(&line(), &number(CUSTOMER)), Lookup::Live(first));
}

#[test]
fn an_agent_number_serves_nothing_else() {
    let mut world = with_agent(config());
    for n in 0..2 {
        let bound = world.bind(at(2), wanted(&format!("k{n}"), &format!("+1212555120{n}"), AGENT));
        assert!(bound.customer.proxy != line() && bound.agent.proxy != line());
    }
    let taken = POOL[1];
    let used = world.refused(at(3), open("b", AGENT, Some(taken)));
    assert!(used.what.contains("has bindings"), "{used:?}");
    let twice = world.refused(at(3), open("b", AGENT, Some(LINE)));
    assert!(twice.what.contains("is an agent number already"), "{twice:?}");
    assert_eq!(world.refused(at(3), open("b", AGENT, None)).kind, RefusalKind::Exhausted);
    assert_eq!(world.refused(at(3), open("a", AGENT, None)).kind, RefusalKind::Conflict);
    assert_eq!(world.refused(at(3), open("a", LINE, None)).kind, RefusalKind::Invalid);
    let hidden = world.refused(at(3), open("agent-13105550147", AGENT, None));
    assert!(hidden.what.contains("real number"), "{hidden:?}");
    let again = world.ask(at(3), open("a", EXTENSION, None));
    assert!(matches!(again, AdminReply::Agent(AgentReply::Opened { known: true, .. })));
    let remove = AdminRequest::Pool(PoolRequest::Remove { numbers: vec![line()] });
    assert!(world.refused(at(4), remove.clone()).what.contains("the number of an agent"));
    let close = || AdminRequest::Agent(AgentRequest::Close { number: line() });
    assert_eq!(world.ask(at(5), close()), AdminReply::Agent(AgentReply::Closed { number: line() }));
    assert_eq!(world.refused(at(5), close()).kind, RefusalKind::NotFound);
    assert_eq!(world.directory.agent_at(&line(), &number(CUSTOMER)), None);
    assert!(matches!(world.ask(at(6), remove), AdminReply::Pool(PoolReply::Removed(1))));
}

#[test]
fn who_had_the_number_before_does_not_reach_the_agent_in_its_cool_off() {
    let mut world = World::new(&POOL[..2]);
    let bound = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    world.ask(at(2), AdminRequest::BindClose { id: bound.id });
    world.run_until(at(700));
    let number_of = bound.customer.proxy.to_string();
    world.ask(at(701), open("a", EXTENSION, Some(&number_of)));
    let reaches =
        |world: &World, who| world.directory.agent_at(&bound.customer.proxy, &number(who)).is_some();
    assert!(!reaches(&world, CUSTOMER) && reaches(&world, "+12125551299"));
    world.run_until(at(700 + 1300));
    world.directory.handle_timeout(at(2001));
    assert!(reaches(&world, CUSTOMER));
}

#[test]
fn a_failing_store_leaves_no_half_of_an_agent_number() {
    let mut world = World::new(&POOL);
    world.directory.handle_admin(at(1), RequestId(900), open("a", EXTENSION, Some(LINE)));
    let Some(Output::Commit(id, _)) = world.directory.poll_output() else { panic!() };
    assert_eq!(world.directory.agent_at(&line(), &number(CUSTOMER)), None, "not durable, so not visible");
    world.directory.handle_commit_failed(at(2), id, "the disk is full");
    world.settle(at(2));
    world.run_until(at(10));
    let withdrawn = crate::engine::io::Change::DeleteAgent(line());
    assert!(world.committed.iter().any(|transaction| transaction.changes.contains(&withdrawn)));
    let again = world.ask(at(11), open("a", EXTENSION, Some(LINE)));
    assert!(matches!(again, AdminReply::Agent(AgentReply::Opened { known: false, .. })));
}
