//! The program stays well within what a verifier looks at before it gives up.
//!
//! That is a million instructions, counted along every way that it cannot tell to be
//! like another; how many ways those are depends on the kernel, so the bound here
//! leaves room for kernels that are worse at it than the one at hand.

use aya::programs::Xdp;
use relay_ebpf::abi::{Guard, MAX_ADDRESSES};
use vizard::datapath::xdp::load;
use vizard::datapath::{DatapathConfig, Mode};

use crate::world::enter_own_namespace;

/// A fifth of what is allowed.
const MOST: u32 = 200_000;

#[test]
fn the_verifier_is_soon_done() {
    if !enter_own_namespace() {
        return;
    }
    let mut over = Vec::new();
    for addresses in [1, MAX_ADDRESSES] {
        for (guard, vlans, log) in
            [(Guard::NONE, false, false), (Guard::NONE, true, false), (crate::guard::sockets(), true, true)]
        {
            let verified = verified(addresses, &guard, vlans, log);
            if verified > MOST {
                let guard = guard.is_on();
                over.push(format!(
                    "{addresses} addresses, guard {guard}, tags {vlans}, log {log}: {verified}"
                ));
            }
        }
    }
    assert!(over.is_empty(), "over {MOST} instructions: {over:#?}");
}

fn verified(addresses: usize, guard: &Guard, vlans: bool, log: bool) -> u32 {
    let config = DatapathConfig {
        mode: Mode::XdpNative,
        interfaces: Vec::new(),
        addresses: (0..addresses)
            .map(
                |index| {
                    if index % 2 == 0 { format!("192.0.2.{index}") } else { format!("2001:db8::{index}") }
                },
            )
            .map(|text| text.parse().expect("an address"))
            .collect(),
        ports: 20_000..=20_099,
        guard: None,
        pin: None,
        discard_calls: false,
    };
    let layout = load::layout(&config).expect("a layout");
    let mut object = load::load_guarding(&layout, guard, vlans, log).expect("the program loads");
    let program: &mut Xdp = load::program(&mut object).expect("the program");
    program.info().expect("what the kernel knows").verified_instruction_count().expect("Linux 5.16")
}
