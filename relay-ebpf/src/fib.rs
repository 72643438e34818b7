//! The kernel's own routes and neighbours, for packets whose next hop the
//! control plane has not resolved yet.

use core::mem::zeroed;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED,
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_PROHIBIT, BPF_FIB_LKUP_RET_SUCCESS,
    BPF_FIB_LKUP_RET_UNREACHABLE, BPF_FIB_LKUP_RET_UNSUPP_LWT, bpf_fib_lookup,
};
use aya_ebpf::helpers::bpf_fib_lookup as lookup;
use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::{Family, Hop};
use relay_ebpf::header::PROTOCOL_UDP;
use relay_ebpf::verdict::Verdict;

use crate::forward::Exit;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The way of a packet of `length` bytes that came in on `ingress`. A VLAN
/// device that the tables name is none of ours: its tag would be missing.
#[inline(always)]
pub(crate) fn way(context: &XdpContext, exit: &Exit, length: u16, ingress: u32) -> Result<Hop, Verdict> {
    let (from, to) = (exit.from.address.words(), exit.to.address.words());
    // SAFETY: a structure of integers, for which zero is a value.
    let mut query: bpf_fib_lookup = unsafe { zeroed() };
    query.l4_protocol = PROTOCOL_UDP;
    query.ifindex = ingress;
    query.__bindgen_anon_1.tot_len = length;
    match exit.family {
        Family::V4 => {
            query.family = AF_INET;
            query.__bindgen_anon_3.ipv4_src = from[0];
            query.__bindgen_anon_4.ipv4_dst = to[0];
        }
        Family::V6 => {
            query.family = AF_INET6;
            query.__bindgen_anon_3.ipv6_src = from;
            query.__bindgen_anon_4.ipv6_dst = to;
        }
    }
    // SAFETY: the context of this invocation, and a query that the helper may
    // read and write for its whole size.
    let code = unsafe { lookup(context.as_ptr(), &raw mut query, size_of::<bpf_fib_lookup>() as i32, 0) };
    outcome(code)?;
    Ok(Hop::new(query.ifindex, u16::MAX, query.smac, query.dmac))
}

/// Every code that the helper returns. Without `BPF_FIB_LOOKUP_SRC` it never
/// says `NO_SRC_ADDR`, and its errors need a family or an interface that does
/// not exist; they join `NOT_FWDED`, whose meaning they share: no way.
#[inline(always)]
fn outcome(code: i64) -> Result<(), Verdict> {
    const SUCCESS: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
    const BLACKHOLE: i64 = BPF_FIB_LKUP_RET_BLACKHOLE as i64;
    const UNREACHABLE: i64 = BPF_FIB_LKUP_RET_UNREACHABLE as i64;
    const PROHIBIT: i64 = BPF_FIB_LKUP_RET_PROHIBIT as i64;
    const FORWARDING_OFF: i64 = BPF_FIB_LKUP_RET_FWD_DISABLED as i64;
    const TUNNEL: i64 = BPF_FIB_LKUP_RET_UNSUPP_LWT as i64;
    const NO_NEIGHBOUR: i64 = BPF_FIB_LKUP_RET_NO_NEIGH as i64;
    const TOO_LARGE: i64 = BPF_FIB_LKUP_RET_FRAG_NEEDED as i64;
    match code {
        SUCCESS => Ok(()),
        BLACKHOLE => Err(Verdict::FibBlackhole),
        UNREACHABLE => Err(Verdict::FibUnreachable),
        PROHIBIT => Err(Verdict::FibProhibited),
        FORWARDING_OFF => Err(Verdict::FibForwardingOff),
        TUNNEL => Err(Verdict::FibTunnel),
        NO_NEIGHBOUR => Err(Verdict::FibNoNeighbour),
        TOO_LARGE => Err(Verdict::ExceedsMtu),
        _ => Err(Verdict::FibNotForwarded),
    }
}
