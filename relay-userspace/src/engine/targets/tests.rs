use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::directory::tests::config;

const TRUNK: TrunkId = TrunkId(0);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 5060))
}

fn target(host: u8, priority: u16, weight: u16) -> Target {
    Target { address: address(host), priority, weight }
}

fn at(seconds: u64) -> Now {
    let start = Now { mono: Instant::ORIGIN, wall: Timestamp::default() };
    let passed = Duration::from_secs(seconds);
    Now { mono: start.mono + passed, wall: start.wall + passed }
}

/// A trunk with these targets.
fn world(targets: Vec<Target>, probe: Option<Duration>) -> (Arc<Config>, Reachability, ChaCha8Rng) {
    let mut config = config();
    config.trunks.truncate(1);
    (config.trunks[0].targets, config.trunks[0].probe) = (Targets::of(targets).unwrap(), probe);
    let reachability = Reachability::new(&config, at(0));
    (Arc::new(config), reachability, ChaCha8Rng::seed_from_u64(1))
}

#[test]
fn priorities_come_first_and_weights_share_what_is_alike() {
    let (config, all, mut random) =
        world(vec![target(3, 20, 0), target(1, 10, 30), target(2, 10, 10), target(4, 20, 0)], None);
    assert_eq!(config.trunks[0].targets.first(), address(1));
    let mut first = 0;
    for _ in 0..4_000 {
        let order = all.order(&config, TRUNK, &mut random);
        assert_eq!(order.len(), 4);
        assert!(order[..2].contains(&address(1)) && order[..2].contains(&address(2)), "{order:?}");
        first += u32::from(order[0] == address(1));
    }
    assert!((2_850..3_150).contains(&first), "three of four: {first}");
}

#[test]
fn what_fails_is_tried_last_until_it_answers() {
    let probe = Some(Duration::from_secs(10));
    let (config, mut all, mut random) = world(vec![target(1, 10, 0), target(2, 20, 0)], probe);
    let key = (TRUNK, address(1));
    // Everybody is probed at the start.
    assert_eq!((all.pop(&config, at(0)), all.pop(&config, at(0))), (Some(key), Some((TRUNK, address(2)))));
    assert_eq!((all.pop(&config, at(0)), all.deadline()), (None, Some(at(10).mono)));
    assert_eq!(all.answered(&config, at(0), key), Turn::None);
    assert_eq!(all.failed(&config, at(1), key, "503"), Turn::Down);
    assert_eq!(all.failed(&config, at(2), key, "no answer"), Turn::None);
    assert_eq!(all.order(&config, TRUNK, &mut random), [address(2), address(1)]);
    let view = &all.view(&config, |_| 3)[0];
    assert_eq!((view.legs, view.targets[0].health, view.targets[0].since), (3, Health::Down, at(1).wall));
    assert_eq!((view.targets[0].problem.as_deref(), all.down()), (Some("no answer"), 1));
    assert_eq!(all.pop(&config, at(10)), Some((TRUNK, address(2))));
    assert_eq!(all.pop(&config, at(12)), Some(key));
    assert_eq!(all.answered(&config, at(12), key), Turn::Up);
    assert_eq!(all.order(&config, TRUNK, &mut random), [address(1), address(2)]);
}

#[test]
fn without_probes_a_failure_is_forgotten_by_itself() {
    let (config, mut all, mut random) = world(vec![target(1, 10, 0), target(2, 20, 0)], None);
    assert_eq!((all.pop(&config, at(0)), all.deadline()), (None, None));
    assert_eq!(all.failed(&config, at(5), (TRUNK, address(1)), "503"), Turn::Down);
    assert_eq!(all.order(&config, TRUNK, &mut random)[0], address(2));
    assert_eq!(all.deadline(), Some(at(5).mono + REST));
    assert_eq!(all.pop(&config, at(35)), None);
    assert_eq!((all.order(&config, TRUNK, &mut random)[0], all.down()), (address(1), 0));
}
