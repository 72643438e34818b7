//! How a path is chosen, and what is said of those that cannot be.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use harness::namespace::{self, ip};
use vizard::datapath::xdp::load;
use vizard::datapath::{self, Datapath, DatapathConfig, Mode};
use vizard::engine::flow::MediaPath;

use crate::rig::{self, Family, config, peers, rtp};

fn opened(config: &DatapathConfig) -> Box<dyn Datapath> {
    datapath::open(config).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(config: &DatapathConfig) -> String {
    match datapath::open(config) {
        Ok(datapath) => panic!("opened {}", datapath.choice()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_fastest_is_the_driver_where_it_can() {
    rig::on(Mode::Auto, |rig| {
        assert_eq!(rig.datapath.choice().reason, "the driver runs the program");
        assert_eq!(rig.datapath.choice().interfaces, [rig.customer.outer.clone(), rig.agent.outer.clone()]);
        let call = rig.call(Family::V4, Family::V4);
        call.customer.send_to(&rtp(0, 1), call.there.local).unwrap();
        assert_eq!(rig::receive(&call.agent).1, rtp(0, 1));
    });
}

/// A driver without native XDP, and one that refuses it because packets may be
/// too long for it: XDP in the stack serves, and what failed is said.
#[test]
fn the_stack_serves_where_the_driver_cannot() {
    if !namespace::enter_own().unwrap() {
        return;
    }
    let mut loopback = config(Mode::Auto);
    loopback.addresses = vec!["127.0.0.1".parse().unwrap()];
    let datapath = opened(&loopback);
    let said = datapath.choice().reason.as_str();
    assert_eq!(datapath.choice().path, MediaPath::XdpGeneric, "{said}");
    assert!(said.contains("native XDP failed") && said.contains("lo has no native XDP"), "{said}");

    let (customer, _agent) = peers();
    // A virtual pair's driver looks at what the other end may send.
    ip(&format!("-n {} link set {} mtu 9000", customer.name, customer.inner)).unwrap();
    ip(&format!("link set {} mtu 9000", customer.outer)).unwrap();
    let datapath = opened(&config(Mode::Auto));
    let said = datapath.choice().reason.as_str();
    assert_eq!(datapath.choice().path, MediaPath::XdpGeneric, "{said}");
    for word in ["native XDP failed", customer.outer.as_str(), "MTU", "here 9000"] {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    drop(datapath);
    let demanded = refusal(&config(Mode::XdpNative));
    assert!(demanded.contains("here 9000"), "{demanded}");
}

/// A signal to the thread that loads the program makes the kernel's verifier give up,
/// which says nothing about the program: it is loaded all the same.
#[test]
fn signals_do_not_keep_the_program_from_loading() {
    /// Fewer than tries, each at most one try's end.
    const SIGNALS: u32 = 8;
    static HEARD: AtomicU32 = AtomicU32::new(0);
    extern "C" fn heard(_: libc::c_int) {
        HEARD.fetch_add(1, Ordering::Relaxed);
    }
    if !namespace::enter_own().unwrap() {
        return;
    }
    let handler: extern "C" fn(libc::c_int) = heard;
    // SAFETY: the handler only counts, and nothing else here uses this signal.
    assert_ne!(unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) }, libc::SIG_ERR);
    // SAFETY: always succeeds.
    let loader = unsafe { libc::pthread_self() };
    let layout = load::layout(&config(Mode::XdpNative)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..SIGNALS {
                std::thread::sleep(Duration::from_millis(2));
                if done.load(Ordering::Acquire) {
                    return;
                }
                // SAFETY: the loader outlives this scope.
                unsafe { libc::pthread_kill(loader, libc::SIGUSR1) };
            }
        });
        let loaded = load::load(&layout, false);
        done.store(true, Ordering::Release);
        assert!(loaded.is_ok(), "{:?}", loaded.err());
    });
    assert!(HEARD.load(Ordering::Relaxed) > 1, "it was not disturbed");
}

/// Another's program is on the interface: no XDP of ours, so sockets.
#[test]
fn sockets_serve_where_xdp_cannot() {
    if !namespace::enter_own().unwrap() {
        return;
    }
    let (customer, _agent) = peers();
    let first = opened(&config(Mode::XdpNative));
    let second = opened(&config(Mode::Auto));
    let said = second.choice().reason.as_str();
    assert_eq!(second.choice().path, MediaPath::Sockets, "{said}");
    for word in ["native XDP", "generic XDP", "already has XDP program", "(relay", customer.outer.as_str()] {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    drop(first);
    assert_eq!(opened(&config(Mode::Auto)).choice().path, MediaPath::XdpNative, "it left nothing behind");
}
