//! What goes when its time is over.

use super::*;
use crate::engine::io::Change as Stored;

fn drops(world: &World) -> Vec<Timestamp> {
    let changes = world.committed.iter().flat_map(|transaction| &transaction.changes);
    let drop = |change: &Stored| match change {
        Stored::DropCdrs { before, .. } => Some(*before),
        _ => None,
    };
    changes.filter_map(drop).collect()
}

#[test]
fn records_are_dropped_on_schedule_and_when_asked_and_never_where_they_are_kept() {
    let mut config = config();
    config.retention.cdrs = Duration::from_secs(100);
    let mut world = World::with(config, &POOL);
    let mut noted = Vec::new();
    for turn in 0..7 {
        let now = at(turn * 5);
        world.directory.handle_timeout(now);
        noted.extend(world.directory.take_acts().into_iter().map(|note| (turn, note.act, note.reason)));
        world.settle(now);
    }
    let because = "older than 0 days, 0 hours".to_owned();
    assert_eq!(noted, [(0, crate::engine::audit::Act::PrivacyRetain, because)], "before the first one goes");
    let times = [10, 20, 30].map(|seconds| at(seconds).wall - Duration::from_secs(100));
    assert_eq!(drops(&world), times);
    let AdminReply::Retention(view) = world.ask(at(31), AdminRequest::Retain { drop: false }) else {
        panic!()
    };
    assert_eq!(view.cdrs_before, Some(at(31).wall - Duration::from_secs(100)));
    assert_eq!(drops(&world).len(), 3, "a look drops nothing");
    world.ask(at(32), AdminRequest::Retain { drop: true });
    assert_eq!(drops(&world).len(), 4);
    // The next day is another note.
    world.run_until(at(86_400 + 31));
    assert_eq!(world.directory.take_acts().len(), 1);

    let mut world = World::new(&POOL);
    assert!(world.directory.poll_timeout().is_none());
    let AdminReply::Retention(view) = world.ask(at(31), AdminRequest::Retain { drop: true }) else {
        panic!()
    };
    assert_eq!((view.cdrs_before, drops(&world)), (None, Vec::new()));
}

#[test]
fn numbers_seen_are_kept_for_as_long_as_configured() {
    let mut config = config();
    config.retention.numbers_seen = Duration::from_mins(1);
    let mut world = World::with(config, &POOL);
    let bound = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    world.ask(at(2), AdminRequest::BindClose { id: bound.id });
    // Callback window, cool-off, and the minute.
    world.run_until(at(2 + 600 + 1200 + 30));
    let AdminReply::Retention(view) = world.ask(at(1832), AdminRequest::Retain { drop: false }) else {
        panic!()
    };
    assert_eq!((view.numbers_seen_kept, view.tombstones, view.parties), (2, 0, 2));
    world.run_until(at(2 + 600 + 1200 + 61));
    assert!(world.directory.parties.is_empty());
}
