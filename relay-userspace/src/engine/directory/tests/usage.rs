//! How bindings may be used, and which ones a list shows.

use super::*;

fn with_usage(key: &str, usage: UsageWish) -> NewBinding {
    NewBinding { usage, ..wanted(key, CUSTOMER, AGENT) }
}

#[test]
fn a_binding_is_used_as_its_request_its_tenant_and_its_kind_say() {
    let mut config = config();
    let hour = Duration::from_hours(1);
    config.bindings.usual.usage = Usage { max_calls: Some(3), mode: Mode::Voice, ..Usage::default() };
    let of_tenant = Usage { max_call: Some(hour), ..config.bindings.usual.usage };
    let life = Life { usage: of_tenant, ..config.bindings.usual };
    config.bindings.tenants = BTreeMap::from([("acme".to_owned(), [life; 4])]);
    let mut world = World::with(config, &POOL);
    let wish = UsageWish { max_calls: Some(1), recording: Some(Recording::On), ..UsageWish::default() };
    let bound = world.bind(at(1), with_usage("k", wish));
    let expected = Usage { max_calls: Some(1), recording: Recording::On, ..of_tenant };
    assert_eq!(bound.usage, expected);
    assert_eq!(world.directory.binding(bound.id).unwrap().usage, expected);
    let other = NewBinding { tenant: "other".into(), ..wanted("k", CUSTOMER, AGENT) };
    assert_eq!(world.bind(at(1), other).usage.max_call, None);
    let again = AdminRequest::BindCreate(with_usage("k", UsageWish::default()));
    assert!(matches!(world.ask(at(2), again), AdminReply::Bound { reused: true, .. }));
    let differs = UsageWish { mode: Some(Mode::Both), ..UsageWish::default() };
    let refused = world.refused(at(2), AdminRequest::BindCreate(with_usage("k", differs)));
    assert_eq!(refused.kind, RefusalKind::Conflict);
}

#[test]
fn calls_are_admitted_by_mode_direction_and_number() {
    let usage = |mode, direction, max_calls| Usage { mode, direction, max_calls, ..Usage::default() };
    let (a, b) = (LegName::A, LegName::B);
    for (usage, caller, calls, verdict) in [
        (Usage::default(), a, 1_000, Ok(())),
        (usage(Mode::Text, Direction::Both, None), a, 0, Err(Forbidden::NoVoice)),
        (usage(Mode::Voice, Direction::ToAgent, None), a, 0, Ok(())),
        (usage(Mode::Voice, Direction::ToAgent, None), b, 0, Err(Forbidden::Direction)),
        (usage(Mode::Both, Direction::ToCustomer, None), a, 0, Err(Forbidden::Direction)),
        (usage(Mode::Both, Direction::ToCustomer, Some(1)), b, 0, Ok(())),
        (usage(Mode::Both, Direction::Both, Some(2)), a, 1, Ok(())),
        (usage(Mode::Both, Direction::Both, Some(2)), a, 2, Err(Forbidden::Calls)),
    ] {
        assert_eq!(usage.admits_call(caller, calls), verdict, "{usage:?}");
    }
}

#[test]
fn an_idle_binding_ends_and_a_used_one_does_not() {
    let mut world = World::new(&POOL);
    let idle = UsageWish { idle: Some(Duration::from_mins(5)), ..UsageWish::default() };
    let (unused, used) = (world.bind(at(0), with_usage("a", idle)), world.bind(at(0), with_usage("b", idle)));
    world.run_until(at(200));
    assert!(world.directory.hold(used.id));
    world.run_until(at(1000));
    let state = |world: &World, id| world.directory.binding(id).map(|binding| binding.state);
    assert!(matches!(state(&world, unused.id), None | Some(BindingState::Entombed { .. })));
    let look = |world: &World| world.directory.lookup(&used.customer.proxy, &number(CUSTOMER));
    assert!(matches!(look(&world), Lookup::Live(_)), "a call is use, however long it is");
    world.directory.release(at(1000), used.id);
    world.run_until(at(1299));
    assert!(matches!(look(&world), Lookup::Live(_)));
    world.run_until(at(1301));
    assert!(matches!(look(&world), Lookup::Entombed(_)));
}

#[test]
fn tags_are_kept_in_order_and_hide_nobody() {
    let mut world = World::new(&POOL);
    let tagged = |tags: &[&str]| NewBinding {
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..wanted("k", CUSTOMER, AGENT)
    };
    assert_eq!(world.bind(at(1), tagged(&["vip", "eu", "vip"])).tags, ["eu", "vip"]);
    let mut refused = |tags: &[&str]| {
        let wanted = NewBinding { key: "other".into(), ..tagged(tags) };
        world.refused(at(2), AdminRequest::BindCreate(wanted)).what
    };
    assert!(refused(&["call 212-555-1200"]).contains("the tag contains a party's real number"));
    assert!(refused(&[""]).contains("the tag is empty"));
    assert!(refused(&["x"; 17]).contains("17 tags are too many"));
}

#[test]
fn a_list_shows_what_its_filter_asks_for_page_by_page() {
    let mut world = World::new(&POOL);
    let mut bind = |n: usize, kind, tenant: &str, tag: &str| {
        let new = NewBinding {
            kind,
            tenant: tenant.into(),
            tags: vec![tag.into()],
            ..wanted(&format!("k{n}"), &format!("+1212555120{n}"), &format!("+1310555014{n}"))
        };
        world.bind(at(u64::try_from(n).unwrap() * 100), new)
    };
    let first = bind(0, BindingKind::Case, "acme", "vip");
    let all = [
        first.clone(),
        bind(1, BindingKind::Case, "acme", "eu"),
        bind(2, BindingKind::Session, "acme", "vip"),
        bind(3, BindingKind::Case, "other", "vip"),
    ];
    let proxy = first.customer.proxy;
    let with_proxy =
        all.iter().filter(|bound| [bound.customer.proxy, bound.agent.proxy].contains(&proxy)).count();
    world.ask(at(400), AdminRequest::BindClose { id: first.id });
    let any = BindFilter { state: Shown::All, ..BindFilter::default() };
    let kind = Some(BindingKind::Case);
    for (filter, count) in [
        (BindFilter::default(), 3),
        (BindFilter { state: Shown::Entombed, ..any.clone() }, 1),
        (any.clone(), 4),
        (BindFilter { tenant: Some("acme".into()), ..any.clone() }, 3),
        (BindFilter { project: Some("none".into()), ..any.clone() }, 0),
        (BindFilter { tag: Some("vip".into()), kind, ..any.clone() }, 2),
        (BindFilter { proxy: Some(proxy), ..any.clone() }, with_proxy),
        (BindFilter { proxy: Some("+14155550199".parse().unwrap()), ..any.clone() }, 0),
        (BindFilter { older_than: Some(Duration::from_secs(250)), ..any.clone() }, 2),
        (BindFilter { newer_than: Some(Duration::from_secs(250)), ..any.clone() }, 2),
        (BindFilter { key: Some("k2".into()), ..any.clone() }, 1),
    ] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = world.directory.bind_list(&filter, after, 1);
            assert!(page.bindings.len() <= 1);
            found.extend(page.bindings.into_iter().map(|binding| binding.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), count, "{filter:?}");
        assert!(found.is_sorted());
    }
}
