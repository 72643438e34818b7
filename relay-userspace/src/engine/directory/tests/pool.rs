//! The pool as operators change it.

use super::*;
use crate::engine::directory::pool::{ImportCounts, ImportLine, LineProblem};

fn ask(world: &mut World, now: Now, request: PoolRequest) -> PoolReply {
    match world.ask(now, AdminRequest::Pool(request)) {
        AdminReply::Pool(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn refused(world: &mut World, now: Now, request: PoolRequest) -> Refusal {
    world.refused(now, AdminRequest::Pool(request))
}

fn set(world: &mut World, now: Now, numbers: &[&str], to: NumberState) -> (usize, usize) {
    let numbers = numbers.iter().map(|number| number.parse().unwrap()).collect();
    match ask(world, now, PoolRequest::SetState { numbers, to }) {
        PoolReply::StateSet { changed, known, .. } => (changed, known),
        other => panic!("{other:?}"),
    }
}

fn remove(number: &str) -> PoolRequest {
    PoolRequest::Remove { numbers: vec![number.parse().unwrap()] }
}

#[test]
fn a_draining_number_is_kept_and_not_given_away() {
    let mut world = World::new(&POOL[..2]);
    let bound = world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    assert_eq!(set(&mut world, at(2), &POOL[..2], NumberState::Draining), (2, 0));
    assert!(matches!(world.directory.lookup(&bound.customer.proxy, &number(CUSTOMER)), Lookup::Live(_)));
    let refusal = world.refused(at(3), AdminRequest::BindCreate(wanted("b", "+12125551299", AGENT)));
    assert_eq!(refusal.kind, RefusalKind::Exhausted);
    assert!(refusal.what.contains("of 2 in the pool"), "{refusal:?}");
    assert!(refusal.what.ends_with("and 2 are draining, quarantined or disabled"), "{refusal:?}");
    assert_eq!(set(&mut world, at(4), &POOL[..2], NumberState::Active), (2, 0));
    world.bind(at(5), wanted("b", "+12125551299", AGENT));
}

#[test]
fn a_disabled_number_connects_nobody() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    let proxy = bound.customer.proxy.to_string();
    assert_eq!(set(&mut world, at(2), &[&proxy], NumberState::Disabled), (1, 0));
    assert_eq!(set(&mut world, at(2), &[&proxy], NumberState::Disabled), (0, 1));
    for (proxy, party) in [(bound.customer.proxy, CUSTOMER), (bound.agent.proxy, AGENT)] {
        assert_eq!(world.directory.lookup(&proxy, &number(party)), Lookup::Unknown);
    }
    let again = world.refused(at(3), AdminRequest::BindCreate(wanted("a", CUSTOMER, AGENT)));
    assert_eq!(again.kind, RefusalKind::Conflict);
    set(&mut world, at(4), &[&proxy], NumberState::Active);
    assert!(matches!(world.directory.lookup(&bound.agent.proxy, &number(AGENT)), Lookup::Live(_)));
}

#[test]
fn a_number_leaves_only_when_nothing_holds_it_and_its_rests_outlive_it() {
    let mut world = World::new(&POOL[..2]);
    let bound = world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    let proxy = bound.customer.proxy.to_string();
    let refusal = refused(&mut world, at(2), remove(&proxy));
    assert_eq!(refusal.kind, RefusalKind::Conflict);
    assert!(refusal.what.contains("1 live bindings and 0 tombstones"), "{refusal:?}");
    world.ask(at(2), AdminRequest::BindClose { id: bound.id });
    assert_eq!(refused(&mut world, at(3), remove(&proxy)).kind, RefusalKind::Conflict, "a tombstone has it");
    world.run_until(at(700));
    assert_eq!(ask(&mut world, at(701), remove(&proxy)), PoolReply::Removed(1));
    assert!(!world.directory.is_proxy(&bound.customer.proxy));
    assert_eq!(refused(&mut world, at(702), remove(&proxy)).kind, RefusalKind::NotFound);
    // It comes back: in cool-off for the party that had it, free for others.
    let numbers = vec![new_number(&proxy)];
    ask(&mut world, at(703), PoolRequest::Add { numbers });
    let kept = bound.agent.proxy.to_string();
    set(&mut world, at(703), &[&kept], NumberState::Quarantined);
    world.refused(at(704), AdminRequest::BindCreate(wanted("b", CUSTOMER, AGENT)));
    world.bind(at(705), wanted("c", "+12125551299", "+13105550199"));
}

fn begin(world: &mut World, now: Now, update: bool) -> u64 {
    match ask(world, now, PoolRequest::ImportBegin { update }) {
        PoolReply::ImportBegun(import) => import,
        other => panic!("{other:?}"),
    }
}

fn line(line: u64, number: NewNumber) -> ImportLine {
    ImportLine { line, country: None, state: None, number }
}

fn check(world: &mut World, now: Now, import: u64, lines: Vec<ImportLine>) -> Vec<LineProblem> {
    match ask(world, now, PoolRequest::ImportLines { import, lines }) {
        PoolReply::ImportChecked(problems) => problems,
        other => panic!("{other:?}"),
    }
}

fn end(world: &mut World, now: Now, import: u64, keep: bool) -> ImportCounts {
    match ask(world, now, PoolRequest::ImportEnd { import, keep }) {
        PoolReply::Imported(counts) => counts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_bad_line_is_named_and_nothing_is_there_before_the_end() {
    let mut world = World::new(&POOL[..1]);
    world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    let import = begin(&mut world, at(2), false);
    let lines = vec![
        line(2, new_number("+12125550123")),
        line(3, new_number("+12125550123")),
        line(4, new_number("+99955512345")),
        line(5, with("+12125550124", |traits| traits.region = Some("CA".into()))),
        line(6, with(POOL[0], |traits| traits.sms = true)),
        line(7, new_number(POOL[0])),
        line(8, new_number(AGENT)),
        ImportLine { country: Some("CA".parse().unwrap()), ..line(9, new_number("+12125550125")) },
        line(10, with("+12125550126", |traits| traits.tags = vec!["a b".into()])),
        line(11, with("+493055500199", |traits| traits.region = Some("BE".into()))),
    ];
    let problems = check(&mut world, at(3), import, lines);
    let named: Vec<_> = problems.iter().map(|problem| (problem.line, problem.what.as_str())).collect();
    let [(3, twice), (4, plan), (5, state), (6, other), (8, party), (9, country), (10, tag)] = named[..]
    else {
        panic!("{problems:?}")
    };
    assert_eq!(twice, "+12125550123 stands in line 2 already");
    assert_eq!(plan, "no country's numbering plan has +99955512345");
    assert_eq!(state, "+12125550124 is not of \"CA\": its area code belongs to NY");
    assert_eq!(other, format!("{} is in the pool with other properties", POOL[0]));
    assert_eq!(party, "it cannot be a proxy: it is the real number of a party");
    assert_eq!(country, "+12125550125 is of US, not of CA");
    assert!(tag.contains("is not a tag"), "{tag}");
    let arriving = "+12125550123".parse().unwrap();
    assert!(!world.directory.is_proxy(&arriving));
    // Nobody becomes a party with a number that is about to be a proxy.
    let party = world.refused(at(3), AdminRequest::BindCreate(wanted("b", "+12125550123", AGENT)));
    assert_eq!(party.kind, RefusalKind::Invalid);
    assert_eq!(end(&mut world, at(4), import, true), ImportCounts { added: 2, updated: 0, known: 1 });
    assert!(world.directory.is_proxy(&arriving));
    assert_eq!(world.committed.len(), 3, "pool, binding, and one transaction for the import");
}

#[test]
fn a_dropped_import_leaves_nothing_and_an_interrupted_one_gives_way() {
    let mut world = World::new(&POOL[..1]);
    let import = begin(&mut world, at(1), false);
    check(&mut world, at(1), import, vec![line(2, new_number("+12125550123"))]);
    assert_eq!(
        refused(&mut world, at(2), PoolRequest::ImportBegin { update: false }).kind,
        RefusalKind::Conflict
    );
    assert_eq!(end(&mut world, at(3), import, false), ImportCounts::default());
    assert!(!world.directory.is_proxy(&"+12125550123".parse().unwrap()));
    let interrupted = begin(&mut world, at(4), false);
    let next = begin(&mut world, at(20), false);
    let late = PoolRequest::ImportEnd { import: interrupted, keep: true };
    assert_eq!(refused(&mut world, at(21), late).kind, RefusalKind::NotFound);
    world.run_until(at(20 + 300));
    let late = PoolRequest::ImportEnd { import: next, keep: true };
    assert_eq!(
        refused(&mut world, at(321), late).kind,
        RefusalKind::NotFound,
        "five silent minutes are enough"
    );
    assert!(world.directory.poll_timeout().is_none());
}

#[test]
fn an_update_changes_properties_and_leaves_the_state_alone() {
    let mut world = World::new(&POOL[..2]);
    set(&mut world, at(1), &POOL[..1], NumberState::Draining);
    let import = begin(&mut world, at(2), true);
    let dearer = with(POOL[0], |traits| traits.monthly_cost = Some("2.50 USD".parse().unwrap()));
    let rested = ImportLine { state: Some(NumberState::Disabled), ..line(3, new_number(POOL[1])) };
    assert_eq!(check(&mut world, at(2), import, vec![line(2, dearer), rested]), []);
    assert_eq!(end(&mut world, at(3), import, true), ImportCounts { added: 0, updated: 2, known: 0 });
    let rows = world.directory.pool_list(&PoolFilter::default(), None, 0).rows;
    let states: Vec<_> = rows.iter().map(|row| row.number.traits.state).collect();
    assert_eq!(states, [NumberState::Draining, NumberState::Disabled]);
    assert_eq!(rows[0].number.traits.monthly_cost, Some("2.5 USD".parse().unwrap()));
}

#[test]
fn a_long_import_joins_the_pool_turn_by_turn() {
    let mut world = World::new(&[]);
    let import = begin(&mut world, at(1), false);
    for chunk in 0..3 {
        let number = |n| line(n, new_number(&format!("+1212555{n:04}")));
        let lines = (chunk * 500..(chunk + 1) * 500).map(number).collect();
        assert_eq!(check(&mut world, at(1), import, lines), []);
    }
    let request = AdminRequest::Pool(PoolRequest::ImportEnd { import, keep: true });
    world.directory.handle_admin(at(2), RequestId(77), request);
    assert_eq!(world.settle(at(2)), []);
    assert_eq!(world.directory.numbers.len(), 500);
    assert_eq!(world.directory.poll_timeout(), Some((at(2).mono, "numbers that join the pool")));
    assert_eq!(world.directory.pending_commits(), 1);
    world.directory.handle_timeout(at(2));
    assert_eq!(world.settle(at(2)), []);
    world.directory.handle_timeout(at(2));
    let counts = ImportCounts { added: 1500, updated: 0, known: 0 };
    assert_eq!(world.settle(at(2)), [(RequestId(77), AdminReply::Pool(PoolReply::Imported(counts)))]);
    assert_eq!(world.directory.numbers.len(), 1500);
    assert!(world.directory.import.is_none());
}

#[test]
fn lists_filter_and_page() {
    let mut world = World::new(&POOL);
    let more = vec![
        with("+12125550123", |traits| traits.tags = vec!["vip".into()]),
        with("+16045550123", |traits| (traits.sms, traits.locality) = (true, Some("Vancouver".into()))),
    ];
    ask(&mut world, at(1), PoolRequest::Add { numbers: more });
    let list = |world: &World, filter, after, limit| {
        let page = world.directory.pool_list(&filter, after, limit);
        (page.rows.iter().map(|row| row.number.number.to_string()).collect::<Vec<_>>(), page.next)
    };
    let of = |change: fn(&mut PoolFilter)| {
        let mut filter = PoolFilter::default();
        change(&mut filter);
        filter
    };
    for (filter, found) in [
        (of(|f| f.country = Some("CA".parse().unwrap())), vec!["+16045550123"]),
        (of(|f| f.region = Some("ny".into())), vec!["+12125550123"]),
        (of(|f| f.locality = Some("VANCOUVER".into())), vec!["+16045550123"]),
        (of(|f| f.sms = true), vec!["+16045550123"]),
        (of(|f| f.tag = Some("vip".into())), vec!["+12125550123"]),
        (of(|f| f.state = Some(NumberState::Draining)), vec![]),
        (of(|f| f.trunk = Some("carrier".into())), vec![]),
    ] {
        assert_eq!(list(&world, filter, None, 0), (found.into_iter().map(str::to_owned).collect(), None));
    }
    let (first, next) = list(&world, PoolFilter::default(), None, 2);
    assert_eq!((first.len(), next.unwrap().to_string()), (2, first[1].clone()));
    assert_eq!(list(&world, PoolFilter::default(), next, 5).0.len(), 3);
}

#[test]
fn what_an_import_holds_is_not_added_beside_it() {
    let mut world = World::new(&POOL[..1]);
    let import = begin(&mut world, at(1), false);
    assert_eq!(check(&mut world, at(1), import, vec![line(2, new_number(POOL[1]))]), []);
    let add = PoolRequest::Add { numbers: vec![new_number(POOL[1])] };
    let refusal = refused(&mut world, at(2), add.clone());
    assert_eq!(refusal.kind, RefusalKind::Conflict);
    assert!(refusal.what.ends_with("being changed by another request or import"), "{refusal:?}");
    assert_eq!(end(&mut world, at(3), import, true).added, 1);
    assert_eq!(ask(&mut world, at(4), add), PoolReply::Added { added: 0, known: 1 });
}
