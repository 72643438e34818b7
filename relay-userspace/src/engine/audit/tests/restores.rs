//! A store that was made of a backup: its log says so, and nothing else looks like it.

use super::*;

const MADE: &str = "2026-11-25T14:30:00Z";

/// A log of so many acts whose store is lost, and made of a backup of when it had fewer.
fn restored_log(acts: u64, kept: u64, anchor_moved: bool) -> World {
    let mut world = World::of(acts);
    world.stored.split_off(&(kept + 1));
    let log = Snapshot { anchor: Some(world.anchor), ..world.snapshot() };
    let entry = restored(vault().notary(), at(9).wall, Who::User(asker()), MADE, &log);
    assert!(!world.stored.contains_key(&entry.seq), "nothing is written over");
    world.stored.insert(entry.seq, entry.clone());
    if anchor_moved {
        world.anchor = Anchor::at(&entry);
    }
    world
}

#[test]
fn a_restored_log_goes_on_and_says_what_the_backup_did_not_have() {
    for anchor_moved in [true, false] {
        for (acts, kept) in [(10, 6), (10, 10), (10, 0), (0, 0), (300, 280)] {
            let mut world = restored_log(acts, kept, anchor_moved);
            let snapshot = world.snapshot();
            world.restart(&snapshot);
            world.take();
            world.ask();
            world.take();
            assert!(world.stored.values().all(|entry| entry.act != Act::Mend), "there is nothing to mend");
            let verification = world.verify();
            assert_eq!(verification.found, 0, "{acts} {kept} {anchor_moved}: {verification:?}");
            let gaps: Vec<_> = verification.explained.iter().map(|gap| (gap.first, gap.last)).collect();
            let last = World::of(acts).anchor.seq;
            assert_eq!(gaps, if last > kept { vec![(kept + 1, last)] } else { vec![] });
            assert!(verification.explained.iter().all(|gap| gap.reason == format!("backup of {MADE}")));
        }
    }
}

#[test]
fn another_gap_than_its_own_is_not_explained_by_a_restore() {
    let world = restored_log(10, 6, true);
    for (gone, first) in [(6, 6), (5, 5), (1, 1)] {
        let mut log = world.stored.clone();
        log.remove(&gone);
        let found = verify(log, world.anchor).findings;
        assert!(matches!(found[0], Finding::Missing { first: at, .. } if at == first), "{found:?}");
    }
    // Entries cannot be put behind it, nor the entry itself be written without keys.
    let mut moved = world.stored.clone();
    let restore = moved.remove(&11).unwrap();
    moved.insert(14, restore.clone());
    assert!(verify(moved, world.anchor).found > 0);
    let mut forged = world.stored.clone();
    forged.remove(&6);
    forged.insert(11, Entry { on: "entry 5".to_owned(), ..restore });
    let found = verify(forged, world.anchor).findings;
    assert!(found.contains(&Finding::Missing { first: 6, last: 10 }), "{found:?}");
    assert!(found.contains(&Finding::Changed { seq: 11 }), "{found:?}");
    // A number in a manifest that somebody wrote is not noted.
    let log = Snapshot { anchor: None, ..world.snapshot() };
    let entry = restored(vault().notary(), at(9).wall, Who::Vizard, "+13105550142", &log);
    assert!(!entry.reason.contains("5550142"), "{}", entry.reason);
}
