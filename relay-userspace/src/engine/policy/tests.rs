//! Decisions about calls, by example.

use super::*;
use crate::engine::admin::NewBinding;
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::callback::{Diversion, OnTombstone, Reason, Service, Services, Target};
use crate::engine::config::{Life, Route};
use crate::engine::directory::tests::{World, at, config, number, wanted};
use crate::engine::directory::{BindFilter, Direction, UsageWish};
use crate::engine::sip::uri::Uri;

const CUSTOMER: &str = "+12125551200";
const AGENT: &str = "+13105550147";
const POOL: [&str; 2] = ["+14155550100", "+14155550101"];
const CARRIER: TrunkId = TrunkId(0);
const PBX: TrunkId = TrunkId(1);

/// A customer and an agent joined; what the customer dials, what the agent dials.
fn joined() -> (Config, World, ProxyNumber, ProxyNumber) {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    (config(), world, bound.customer.proxy, bound.agent.proxy)
}

fn call<'a>(dialled: &'a str, from: &'a str) -> Incoming<'a> {
    Incoming { trunk: CARRIER, dialled, asserted: &[], from: Some(from) }
}

fn status(decision: &Decision) -> u16 {
    match decision {
        Decision::Reject(rejection) => rejection.status,
        Decision::Bridge(_) | Decision::Meet(_) => 200,
        Decision::Divert(diverted) => match diverted.diversion.to {
            Service::Ivr => 300,
            Service::Announcement => 301,
        },
        Decision::Emergency { .. } => 0,
    }
}

#[test]
fn a_call_is_bridged_both_ways_with_proxies_alone() {
    let (config, world, customer_dials, agent_dials) = joined();
    for (who, dials, other, sees, leg) in [
        (CUSTOMER, customer_dials, AGENT, agent_dials, LegName::A),
        (AGENT, agent_dials, CUSTOMER, customer_dials, LegName::B),
    ] {
        let Decision::Bridge(bridge) = decide(&config, &world.directory, &call(&dials.to_string(), who))
        else {
            panic!()
        };
        assert_eq!((bridge.caller, bridge.caller_dialled), (leg, dials));
        assert_eq!((bridge.callee, bridge.callee_sees), (number(other), sees));
        assert_eq!(bridge.callee_trunk, CARRIER);
    }
}

#[test]
fn every_way_of_writing_caller_and_number_is_understood() {
    let (config, world, dials, _) = joined();
    let digits = dials.digits();
    let dialled = [dials.to_string(), digits.to_owned(), digits[1..].to_owned(), format!("011{digits}")];
    for dialled in &dialled {
        for from in [CUSTOMER, "12125551200", "2125551200", "+1 (212) 555-1200", "01112125551200"] {
            let decision = decide(&config, &world.directory, &call(dialled, from));
            assert_eq!(status(&decision), 200, "{from} dials {dialled}");
        }
    }
}

#[test]
fn strangers_reach_nobody() {
    let (config, world, dials, agent_dials) = joined();
    for (dialled, from) in [
        (dials.to_string(), "+12125551201"),
        (agent_dials.to_string(), CUSTOMER),
        ("+14155550199".into(), CUSTOMER),
        (String::new(), CUSTOMER),
        (dials.to_string(), "sales"),
    ] {
        let decision = decide(&config, &world.directory, &call(&dialled, from));
        let Decision::Reject(rejection) = decision else { panic!("{from} reached somebody") };
        assert_eq!((rejection.status, rejection.cause), (404, Cause::NoBinding));
    }
}

#[test]
fn an_asserted_identity_counts_where_the_trunk_is_trusted() {
    let (mut config, world, dials, _) = joined();
    let dials = dials.to_string();
    let asserted = [CUSTOMER];
    let other = ["sip-user", "+12125551299"];
    let with = |asserted, from| Incoming { trunk: CARRIER, dialled: &dials, asserted, from };
    let decide = |config: &Config, call: &Incoming<'_>| status(&decide(config, &world.directory, call));
    // Asserted, whatever From says or withholds.
    assert_eq!(decide(&config, &with(&asserted, None)), 200);
    assert_eq!(decide(&config, &with(&asserted, Some("Anonymous"))), 200);
    assert_eq!(decide(&config, &with(&other, Some(CUSTOMER))), 404);
    config.trunks[0].trusted = false;
    assert_eq!(decide(&config, &with(&asserted, Some("+12125551299"))), 404);
    assert_eq!(decide(&config, &with(&other, Some(CUSTOMER))), 200);
}

#[test]
fn a_caller_without_identity_is_rejected_not_guessed() {
    let (config, world, dials, _) = joined();
    let dialled = dials.to_string();
    for (asserted, from) in [
        (&[][..], None),
        (&[], Some("")),
        (&[], Some("anonymous")),
        (&[], Some("Restricted")),
        (&["anonymous"], Some(CUSTOMER)),
    ] {
        let call = Incoming { trunk: CARRIER, dialled: &dialled, asserted, from };
        let Decision::Reject(rejection) = decide(&config, &world.directory, &call) else { panic!() };
        assert_eq!((rejection.status, rejection.cause), (433, Cause::Anonymous));
    }
}

#[test]
fn an_identity_that_several_people_share_is_none() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), wanted("k", CUSTOMER, "77@pbx"));
    let mut config = config();
    let dialled = [bound.agent.proxy.to_string(), bound.customer.proxy.to_string()];
    let agent = Incoming { trunk: PBX, dialled: &dialled[0], asserted: &[], from: Some("77") };
    let customer = Incoming { trunk: PBX, dialled: &dialled[1], asserted: &[], from: Some("2125551200") };
    let decide = |config: &Config, call| status(&decide(config, &world.directory, call));
    assert_eq!((decide(&config, &agent), decide(&config, &customer)), (200, 200));
    config.trunks[1].shared = vec!["77".to_owned(), CUSTOMER.to_owned()];
    assert_eq!((decide(&config, &agent), decide(&config, &customer)), (433, 433), "however it is written");
    let elsewhere = Incoming { trunk: CARRIER, ..customer };
    assert_eq!(decide(&config, &elsewhere), 200, "of this trunk alone");
    config.services = with_services().services;
    assert_eq!(decide(&config, &agent), 300);
    // Nor does it tell which of two agents calls, or bring one of their cases along.
    world.bind(at(2), wanted("other", "+12125551233", "78@pbx"));
    let found = diverted(super::decide(&config, &world.directory, &agent));
    assert_eq!((found.diversion.because, found.about, found.from), (Reason::Anonymous, None, None));
}

#[test]
fn who_shows_no_identity_goes_to_the_ivr_whatever_is_there() {
    let (mut config, mut world, dials, _) = joined();
    config.services = with_services().services;
    let id = world.directory.bindings_of(&number(CUSTOMER)).next().unwrap();
    let dialled = dials.to_string();
    let anonymous = Incoming { from: None, ..call(&dialled, CUSTOMER) };
    for ended in [false, true] {
        if ended {
            world.ask(at(2), AdminRequest::BindClose { id });
        }
        for on_tombstone in [OnTombstone::Connect, OnTombstone::Ivr, OnTombstone::Announcement] {
            config.bindings.usual.on_tombstone = on_tombstone;
            let found = diverted(decide(&config, &world.directory, &anonymous));
            let expected = Diversion { to: Service::Ivr, because: Reason::Anonymous };
            assert_eq!((found.diversion, found.about), (expected, None), "{on_tombstone:?}");
        }
    }
}

#[test]
fn an_extension_is_somebody_on_its_own_trunk_alone() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), wanted("k", CUSTOMER, "77@pbx"));
    let config = config();
    let dialled = bound.agent.proxy.to_string();
    let from = |trunk, user| Incoming { trunk, dialled: &dialled, asserted: &[], from: Some(user) };
    let Decision::Bridge(bridge) = decide(&config, &world.directory, &from(PBX, "77")) else { panic!() };
    assert_eq!((bridge.caller, bridge.callee), (LegName::B, number(CUSTOMER)));
    assert_eq!(status(&decide(&config, &world.directory, &from(CARRIER, "77"))), 404);
    assert_eq!(status(&decide(&config, &world.directory, &from(PBX, "78"))), 404);
    let customer = call(&dialled, CUSTOMER);
    let dialled = bound.customer.proxy.to_string();
    let customer = Incoming { dialled: &dialled, ..customer };
    let Decision::Bridge(bridge) = decide(&config, &world.directory, &customer) else { panic!() };
    assert_eq!(bridge.callee_trunk, PBX);
}

#[test]
fn an_ended_binding_and_a_missing_route_say_so() {
    let (mut config, mut world, dials, agent_dials) = joined();
    let dialled = dials.to_string();
    config.routes = vec![Route { prefix: "44".into(), trunk: CARRIER }];
    let decision = decide(&config, &world.directory, &call(&dialled, CUSTOMER));
    let Decision::Reject(rejection) = decision else { panic!() };
    assert_eq!((rejection.status, rejection.cause), (404, Cause::NoRoute));
    let id = rejection.binding.unwrap();
    world.ask(at(2), AdminRequest::BindClose { id });
    let decision = decide(&config, &world.directory, &call(&dialled, CUSTOMER));
    let expected = Rejection {
        status: 410,
        cause: Cause::BindingEnded,
        proxy: Some(dials),
        binding: Some(id),
        caller: LegName::A,
    };
    assert_eq!(decision, Decision::Reject(expected));
    let decision = decide(&config, &world.directory, &call(&agent_dials.to_string(), AGENT));
    let expected = Rejection { proxy: Some(agent_dials), caller: LegName::B, ..expected };
    assert_eq!(decision, Decision::Reject(expected));
}

#[test]
fn emergency_comes_before_identity_and_binding() {
    let (mut config, world, ..) = joined();
    for trunk in [None, Some(PBX)] {
        config.emergency.trunk = trunk;
        for dialled in ["911", "9-1-1", "urn:service:sos.fire"] {
            let call = Incoming { trunk: CARRIER, dialled, asserted: &[], from: None };
            assert_eq!(decide(&config, &world.directory, &call), Decision::Emergency { trunk });
        }
    }
}

/// The verdict about a caller, and all steps in one text.
fn explained(world: &World, caller: &str, dialled: &ProxyNumber) -> (Verdict, String) {
    let caller = crate::engine::number::Typed(caller.into());
    let resolution = resolve(&config(), &world.directory, (&caller, dialled), None, at(0).wall).unwrap();
    let steps: Vec<String> = resolution.steps.into_iter().map(|step| step.what).collect();
    (resolution.verdict, steps.join("\n"))
}

#[test]
fn every_decision_is_explained_without_a_number_of_a_party() {
    let (_, mut world, dials, agent_dials) = joined();
    let outside = "+14155550188".parse().unwrap();
    let mut told = String::new();
    for (caller, dialled, verdict, why) in [
        (CUSTOMER, &dials, Verdict::Connects, "over trunk carrier, where +14155550101 is shown"),
        (AGENT, &agent_dials, Verdict::Connects, "the pair is that of the agent of bind_"),
        (CUSTOMER, &agent_dials, Verdict::NoBinding, "no binding, live or ended, has this pair"),
        ("+12125551299", &dials, Verdict::NoBinding, "is no party of any binding"),
        (CUSTOMER, &outside, Verdict::NotOurs, "+14155550188 is not in the pool"),
    ] {
        let (found, steps) = explained(&world, caller, dialled);
        assert_eq!(found, verdict, "{steps}");
        assert!(steps.contains(why), "{steps}");
        told += &steps;
    }
    let AdminReply::Bindings(page) =
        world.ask(at(2), AdminRequest::BindList { filter: BindFilter::default(), after: None, limit: 1 })
    else {
        panic!()
    };
    world.ask(at(3), AdminRequest::BindClose { id: page.bindings[0].id });
    let (verdict, steps) = explained(&world, CUSTOMER, &dials);
    assert_eq!(verdict, Verdict::Ended);
    assert!(steps.contains("a late call is refused with 410"), "{steps}");
    world.run_until(at(700));
    let (verdict, steps) = explained(&world, CUSTOMER, &dials);
    assert_eq!(verdict, Verdict::NoBinding);
    assert!(steps.contains("an earlier binding gave this pair back"), "{steps}");
    told += &steps;
    for party in [CUSTOMER, AGENT] {
        assert!(!told.contains(&party[1..]), "{told}");
    }
}

/// With an IVR and an announcement on the PBX.
fn with_services() -> Config {
    let mut config = config();
    let target = |user| {
        let uri = Uri::parse(&format!("sip:{user}@192.0.2.1")).unwrap();
        Some(Target { trunk: PBX, uri })
    };
    config.services.ivr = target("callback");
    config.services.announcement = target("ended");
    config
}

fn diverted(decision: Decision) -> Diverted {
    match decision {
        Decision::Divert(diverted) => diverted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn late_callers_meet_what_their_tenant_and_kind_say() {
    let (_, mut world, dials, agent_dials) = joined();
    let id = world.directory.bindings_of(&number(CUSTOMER)).next().unwrap();
    world.ask(at(2), AdminRequest::BindClose { id });
    let mut config = with_services();
    let life = |on_tombstone| Life { on_tombstone, ..config.bindings.usual };
    let [connect, reopen, ivr, announcement] =
        [OnTombstone::Connect, OnTombstone::Reopen, OnTombstone::Ivr, OnTombstone::Announcement].map(life);
    let decide = |config: &Config| {
        let late = decide(config, &world.directory, &call(&dials.to_string(), CUSTOMER));
        let back = decide(config, &world.directory, &call(&agent_dials.to_string(), AGENT));
        (late, back)
    };
    for (usual, of_kind, of_tenant, expected) in [
        (connect, None, None, 200),
        (ivr, None, None, 300),
        (announcement, None, None, 301),
        (ivr, Some(connect), None, 200),
        (ivr, Some(reopen), None, 200),
        (connect, Some(ivr), Some(announcement), 301),
    ] {
        config.bindings.usual = usual;
        config.bindings.kinds = [of_kind, None, None, None];
        config.bindings.tenants = of_tenant.into_iter().map(|life| ("acme".into(), [life; 4])).collect();
        let (late, back) = decide(&config);
        assert_eq!((status(&late), status(&back)), (expected, expected));
        if let Decision::Divert(diverted) = back {
            assert_eq!((diverted.about, diverted.caller), (Some(About::Pair(id)), LegName::B));
            assert_eq!(diverted.from, Some(number(AGENT)));
        }
    }
    config.services.announcement = None;
    assert_eq!(status(&decide(&config).0), 300, "the IVR tells as well");
    config.services.ivr = None;
    assert_eq!(status(&decide(&config).0), 410);
}

#[test]
fn strangers_and_the_anonymous_go_to_the_ivr_and_to_nobody_else() {
    let (_, mut world, dials, agent_dials) = joined();
    let config = with_services();
    let id = world.directory.bindings_of(&number(CUSTOMER)).next().unwrap();
    let reason = |because| Diversion { to: Service::Ivr, because };
    let at_agents = agent_dials.to_string();
    let stranger = call(&at_agents, "+12125551299");
    let found = diverted(decide(&config, &world.directory, &stranger));
    assert_eq!((found.diversion, found.about), (reason(Reason::Unknown), None));
    let known = diverted(decide(&config, &world.directory, &call(&at_agents, CUSTOMER)));
    assert_eq!((known.diversion, known.about), (reason(Reason::Unknown), Some(About::Caller(id))));
    let anonymous = Incoming { from: None, ..stranger };
    let found = diverted(decide(&config, &world.directory, &anonymous));
    assert_eq!((found.diversion, found.about, found.from), (reason(Reason::Anonymous), None, None));
    world.bind(at(3), wanted("other", CUSTOMER, "+13105550148"));
    let third = crate::engine::directory::tests::new_number("+14155550102");
    world.ask(at(4), AdminRequest::Pool(crate::engine::directory::PoolRequest::Add { numbers: vec![third] }));
    let known = diverted(decide(&config, &world.directory, &call("+14155550102", CUSTOMER)));
    assert_eq!(known.about, None, "of two bindings neither is guessed");
    let elsewhere = call("+14155550199", CUSTOMER);
    assert_eq!(status(&decide(&config, &world.directory, &elsewhere)), 404, "no number of ours");
    let disable = crate::engine::directory::PoolRequest::SetState {
        numbers: vec![dials],
        to: crate::engine::directory::NumberState::Disabled,
    };
    world.ask(at(5), AdminRequest::Pool(disable));
    assert_eq!(status(&decide(&config, &world.directory, &call(&dials.to_string(), CUSTOMER))), 404);
}

#[test]
fn a_binding_admits_calls_as_it_may_be_used() {
    let mut world = World::new(&POOL);
    let minute = Some(Duration::from_mins(1));
    let usage = UsageWish {
        direction: Some(Direction::ToAgent),
        max_calls: Some(1),
        max_call: minute,
        ..UsageWish::default()
    };
    let bound = world.bind(at(1), NewBinding { usage, ..wanted("k", CUSTOMER, AGENT) });
    let (dials, back) = (bound.customer.proxy.to_string(), bound.agent.proxy.to_string());
    let config = config();
    let Decision::Bridge(bridge) = decide(&config, &world.directory, &call(&dials, CUSTOMER)) else {
        panic!()
    };
    assert_eq!(bridge.max_call, minute);
    let refused = |world: &World, dialled, who| match decide(&config, &world.directory, &call(dialled, who)) {
        Decision::Reject(rejection) => (rejection.status, rejection.cause, rejection.binding),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&world, &back, AGENT), (403, Cause::NotAllowed, Some(bound.id)));
    let (verdict, steps) = explained(&world, AGENT, &bound.agent.proxy);
    assert_eq!(verdict, Verdict::NotAllowed);
    assert!(
        steps.contains("this side may not call on this binding: the call is refused with 403"),
        "{steps}"
    );
    world.directory.hold(bound.id);
    assert_eq!(refused(&world, &dials, CUSTOMER), (486, Cause::TooManyCalls, Some(bound.id)));
    world.directory.release(at(2), bound.id);
    assert_eq!(status(&decide(&config, &world.directory, &call(&dials, CUSTOMER))), 200);
}

/// What a caller met at a time that is over.
fn explained_then(world: &World, caller: &str, dialled: &ProxyNumber, then: u64) -> (Verdict, String) {
    let caller = crate::engine::number::Typed(caller.into());
    let (then, now) = (Some(at(then).wall), at(5_000).wall);
    let resolution = resolve(&config(), &world.directory, (&caller, dialled), then, now).unwrap();
    let steps: Vec<String> = resolution.steps.into_iter().map(|step| step.what).collect();
    (resolution.verdict, steps.join("\n"))
}

#[test]
fn a_time_that_is_over_is_explained_by_what_is_remembered_of_it() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(100), wanted("k", CUSTOMER, AGENT));
    let dials = bound.customer.proxy;
    world.ask(at(200), AdminRequest::BindClose { id: bound.id });
    let met = |world: &World, who, then| explained_then(world, who, &dials, then).0;
    for (then, verdict) in [(99, Verdict::NoBinding), (150, Verdict::Connects), (200, Verdict::Ended)] {
        assert_eq!(met(&world, CUSTOMER, then), verdict, "{then}");
        assert_eq!(met(&world, "+12125551299", then), Verdict::NoBinding, "a stranger is one at {then}");
    }
    let (_, steps) = explained_then(&world, CUSTOMER, &dials, 150);
    assert!(steps.contains("where +14155550101 is shown") && !steps.contains("2125551200"), "{steps}");
    // The tombstone is over at 800: then the pair tells when it was freed, and no more.
    world.run_until(at(900));
    for (then, verdict) in [(150, Verdict::Forgotten), (700, Verdict::Forgotten), (850, Verdict::NoBinding)] {
        assert_eq!(met(&world, CUSTOMER, then), verdict, "{then}");
    }
    let typed = crate::engine::number::Typed(CUSTOMER.into());
    let later = resolve(&config(), &world.directory, (&typed, &dials), Some(at(901).wall), at(900).wall);
    assert!(later.unwrap_err().what.contains("yet to come"));
}

/// What is explained is what calls meet.
#[test]
fn explanations_agree_with_decisions() {
    for services in [config().services, with_services().services] {
        explanations_agree(&services);
    }
}

fn explanations_agree(services: &Services) {
    let (mut config, mut world, dials, agent_dials) = joined();
    config.services = services.clone();
    let disabled = crate::engine::directory::PoolRequest::SetState {
        numbers: vec![agent_dials],
        to: crate::engine::directory::NumberState::Disabled,
    };
    let id = world.directory.bindings_of(&number(CUSTOMER)).next().unwrap();
    for round in 0..5 {
        if round == 1 {
            config.routes.clear();
        }
        if round == 2 {
            world.ask(at(3), AdminRequest::BindClose { id });
        }
        if round == 3 {
            config.bindings.usual.on_tombstone = OnTombstone::Connect;
        }
        if round == 4 {
            world.ask(at(5), AdminRequest::Pool(disabled.clone()));
        }
        for caller in [CUSTOMER, AGENT, "+12125551299"] {
            for dialled in [dials, agent_dials] {
                let typed = crate::engine::number::Typed(caller.into());
                let verdict =
                    resolve(&config, &world.directory, (&typed, &dialled), None, at(0).wall).unwrap().verdict;
                let expected = match verdict {
                    Verdict::Connects => 200,
                    Verdict::Ended => 410,
                    Verdict::NotAllowed => 403,
                    Verdict::Ivr => 300,
                    Verdict::Announcement => 301,
                    Verdict::NoRoute | Verdict::NoBinding | Verdict::NotOurs => 404,
                    Verdict::Forgotten => panic!("the present is known"),
                };
                let decision = decide(&config, &world.directory, &call(&dialled.to_string(), caller));
                assert_eq!(status(&decision), expected, "round {round}: {caller} dials {dialled}");
            }
        }
    }
}
