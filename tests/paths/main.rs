//! One suite over all three datapaths: XDP in the driver, XDP in the stack, plain
//! sockets. Each is opened as the daemon opens it, with real sockets at both ends,
//! and every case runs on each: `native::…`, `generic::…`, `sockets::…`.
//!
//! `rig` is the datapath with its peers; `cases` what must be so; `choice` how a
//! path is chosen, and what is said when one cannot be.
//!
//! # Where plain sockets differ
//!
//! Each is asserted in its case, none is left out:
//!
//! - a media port without a flow is closed: the kernel answers for it (port
//!   unreachable) and no verdict is counted, where XDP drops and counts;
//! - a far end without a route is found out when the first packet leaves, by its
//!   verdict, where XDP refuses the flow.

#![allow(clippy::unwrap_used, reason = "everything here is a test: a panic is a failure")]

mod cases;
mod choice;
mod rig;

use vizard::datapath::Mode;

macro_rules! on_every_path {
    ($($file:ident: $($case:ident),+;)+) => {
        on_every_path! { @path native XdpNative $($($file $case)+)+ }
        on_every_path! { @path generic XdpGeneric $($($file $case)+)+ }
        on_every_path! { @path sockets Sockets $($($file $case)+)+ }
    };
    (@path $name:ident $mode:ident $($file:ident $case:ident)+) => {
        mod $name {
            $(
                #[test]
                fn $case() {
                    crate::rig::on(crate::Mode::$mode, crate::cases::$file::$case);
                }
            )+
        }
    };
}

on_every_path! {
    relaying: both_ways_over_ipv4, both_ways_over_ipv6, from_ipv4_to_ipv6_and_back, from_ipv6_to_ipv4_and_back, rtcp_beside_rtp, rtcp_apart_on_one_side, turning_round_on_one_interface,
        every_length, too_long_for_the_way_out, a_port_without_a_flow;
    sources: the_first_is_kept, only_the_allowed_is_learned, only_valid_media_is_learned_from,
        a_new_generation_learns_anew, late_packets_do_not_shut_out_who_moved, an_update_keeps_what_was_learned, answers_follow_what_was_learned;
    content: what_is_no_media_is_refused_by_name, what_is_no_rtcp_is_refused_by_name,
        what_is_cut_short_is_refused_by_name,
        rtcp_shares_a_port_where_agreed, dtls_crosses_where_agreed, stun_is_for_the_daemon_alone,
        nothing_that_names_a_party_crosses,
        opaque_datagrams_cross_up_to_their_limit;
    quality: loss_and_order_are_counted_as_they_were, jitter_is_measured_where_the_clock_is_known;
    changes: updates_under_load_lose_nothing, a_moved_far_end_misses_nothing, removal_is_final,
        one_call_ends_beside_another, without_a_route, outside_the_configured_range;
}
