//! The kernel's own routes and neighbours, for packets whose next hop the
//! control plane has not resolved yet.

use core::mem::MaybeUninit;
use core::ptr::write_volatile;

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED,
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_PROHIBIT, BPF_FIB_LKUP_RET_SUCCESS,
    BPF_FIB_LKUP_RET_UNREACHABLE, BPF_FIB_LKUP_RET_UNSUPP_LWT, bpf_fib_lookup, xdp_md,
};
use aya_ebpf::helpers::bpf_fib_lookup as lookup;
use relay_ebpf::abi::{Attachment, Family, Hop, Tag};
use relay_ebpf::header::PROTOCOL_UDP;
use relay_ebpf::verdict::Verdict;

use crate::apart;
use crate::maps;
use crate::reshape::Shape;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Finds the way of a packet of `length` bytes that came in on the interface `arrived_on`.
/// Where the tables name an interface with VLAN tags, the way is that of what it is
/// made of. Out of line, since a query takes its share of the stack.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn find_route(
    context: *mut xdp_md,
    shape: *mut Shape,
    way: *mut Hop,
    length: u32,
    arrived_on: u32,
) -> u32 {
    apart::ended(find(context, shape, way, length as u16, arrived_on))
}

#[inline(always)]
fn find(
    context: *mut xdp_md,
    shape: *mut Shape,
    way: *mut Hop,
    length: u16,
    arrived_on: u32,
) -> Result<(), Verdict> {
    let (shape, way) = (apart::given(shape)?, apart::given(way)?);
    let (from, to) = (shape.from.words(), shape.to.words());
    let mut query = MaybeUninit::uninit();
    let query = cleared(&mut query);
    query.l4_protocol = PROTOCOL_UDP;
    query.ifindex = arrived_on;
    query.__bindgen_anon_1.tot_len = length;
    match shape.family {
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
    let code = unsafe { lookup(context.cast(), &raw mut *query, size_of::<bpf_fib_lookup>() as i32, 0) };
    outcome(code)?;
    let Attachment { interface, tags } =
        maps::vlan(query.ifindex).unwrap_or(Attachment { interface: query.ifindex, tags: [Tag::NONE; 2] });
    *way = Hop::new(interface, u16::MAX, query.smac, query.dmac).tagged(tags);
    Ok(())
}

/// Makes a query of zeros. They are written one by one, since the compiler calls a function
/// to write them at once, whose frame is one too many for the stack by Linux 6.1's count.
#[inline(always)]
fn cleared(query: &mut MaybeUninit<bpf_fib_lookup>) -> &mut bpf_fib_lookup {
    let words = query.as_mut_ptr().cast::<u32>();
    for word in 0..size_of::<bpf_fib_lookup>() / size_of::<u32>() {
        // SAFETY: a word of the query, which is aligned to words.
        unsafe { write_volatile(words.add(word), 0) };
    }
    // SAFETY: a structure of integers that is as long as the words, all of which were written.
    unsafe { query.assume_init_mut() }
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
