//! IPv4 and IPv6 as one: what relaying asks of either, and the datagram that
//! goes from stage to stage.

use relay_ebpf::abi::{Address, Family};
use relay_ebpf::checksum::Update;
use relay_ebpf::header::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, PROTOCOL_UDP, Udp, address_v4, address_v6,
    pairs_v4, pairs_v6,
};
use relay_ebpf::verdict::Verdict;

use crate::packet::{Frame, Plain, keep_order, settled};

/// A UDP datagram to a media address and port, unfragmented, in a frame without
/// VLAN tags: `vlan` takes them off before.
pub(crate) struct Datagram<N: 'static> {
    /// The frame that it came in.
    pub(crate) frame: Frame,
    /// Its Ethernet header.
    pub(crate) ethernet: &'static mut Ethernet,
    /// Its IP header.
    pub(crate) network: &'static mut N,
    /// Its UDP header.
    pub(crate) udp: &'static mut Udp,
    /// The interface that it came in on: the one with its VLAN tags, where it had any.
    pub(crate) arrived_on: u32,
    /// The slot of its address and port.
    pub(crate) slot: u32,
}

impl<N: Network> Datagram<N> {
    /// Where its UDP header begins.
    pub(crate) const UDP: usize = size_of::<Ethernet>() + size_of::<N>();
    /// Where its payload begins.
    pub(crate) const PAYLOAD: usize = Self::UDP + size_of::<Udp>();
}

/// What relaying asks of an IP header.
pub(crate) trait Network: Plain {
    /// Its family.
    const FAMILY: Family;
    /// What announces it, in network byte order.
    const ETHERTYPE: u16;
    /// Whether UDP must have a checksum.
    const CHECKSUM_REQUIRED: bool;

    /// Whether it is whole, plain UDP within `room` bytes (header included).
    fn check(&self, room: usize) -> Result<(), Verdict>;
    /// Who sent the packet.
    fn source(&self) -> Address;
    /// Who it is for.
    fn destination(&self) -> Address;
    /// Time-to-live or hop limit.
    fn hops_left(&self) -> u8;
    /// The packet without its IP header, in bytes.
    fn payload_length(&self) -> u16;
    /// Changes addresses and traffic class and takes one hop; the header's own
    /// checksum follows, and the returned update is that of the pseudo-header.
    fn rewrite(&mut self, from: &Address, to: &Address, class: u8, udp: Update) -> Update;
}

impl Network for Ipv4 {
    const FAMILY: Family = Family::V4;
    const ETHERTYPE: u16 = ETHERTYPE_IPV4;
    const CHECKSUM_REQUIRED: bool = false;

    #[inline(always)]
    fn check(&self, room: usize) -> Result<(), Verdict> {
        const WORDS: u8 = (size_of::<Ipv4>() / 4) as u8;
        let words = self.header_words();
        if self.version() != 4 || words < WORDS {
            return Err(Verdict::BadIpHeader);
        }
        let length = self.length();
        if usize::from(length) > room || length < u16::from(words) * 4 {
            return Err(Verdict::BadIpLength);
        }
        if self.protocol != PROTOCOL_UDP {
            return Err(Verdict::NotUdp);
        }
        if words != WORDS {
            return Err(Verdict::IpOptions);
        }
        if self.is_fragment() {
            return Err(Verdict::Fragment);
        }
        Ok(())
    }

    #[inline(always)]
    fn source(&self) -> Address {
        address_v4(self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        address_v4(self.destination)
    }

    #[inline(always)]
    fn hops_left(&self) -> u8 {
        self.ttl
    }

    #[inline(always)]
    fn payload_length(&self) -> u16 {
        self.length().wrapping_sub(size_of::<Self>() as u16)
    }

    #[inline(always)]
    fn rewrite(&mut self, from: &Address, to: &Address, class: u8, udp: Update) -> Update {
        let (old_source, old_destination) = (self.source().words()[0], self.destination().words()[0]);
        let (new_source, new_destination) = (from.words()[0], to.words()[0]);
        let (old_first, old_ttl) = (self.first_word(), self.ttl_word());
        self.traffic_class = class;
        self.ttl = self.ttl.wrapping_sub(1);
        self.source = pairs_v4(from);
        self.destination = pairs_v4(to);
        self.checksum = Update::of(self.checksum)
            .double_word(old_source, new_source)
            .double_word(old_destination, new_destination)
            .word(old_first, self.first_word())
            .word(old_ttl, self.ttl_word())
            .finish();
        udp.double_word(old_source, new_source).double_word(old_destination, new_destination)
    }
}

impl Network for Ipv6 {
    const FAMILY: Family = Family::V6;
    const ETHERTYPE: u16 = ETHERTYPE_IPV6;
    const CHECKSUM_REQUIRED: bool = true;

    #[inline(always)]
    fn check(&self, room: usize) -> Result<(), Verdict> {
        if self.version() != 6 {
            return Err(Verdict::BadIpHeader);
        }
        if usize::from(self.length()) + size_of::<Self>() > room {
            return Err(Verdict::BadIpLength);
        }
        if self.next_header != PROTOCOL_UDP {
            return Err(if self.has_extension() { Verdict::Ipv6Extension } else { Verdict::NotUdp });
        }
        Ok(())
    }

    #[inline(always)]
    fn source(&self) -> Address {
        address_v6(self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        address_v6(self.destination)
    }

    #[inline(always)]
    fn hops_left(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn payload_length(&self) -> u16 {
        self.length()
    }

    // One address after the other: all four at once in registers are more than the
    // program's stack has room for.
    #[inline(always)]
    fn rewrite(&mut self, from: &Address, to: &Address, class: u8, udp: Update) -> Update {
        self.set_traffic_class(class);
        self.hop_limit = self.hop_limit.wrapping_sub(1);
        let udp = replaced(udp, &self.source(), from);
        self.source = pairs_v6(from);
        keep_order();
        let udp = replaced(udp, &self.destination(), to);
        self.destination = pairs_v6(to);
        udp
    }
}

/// An address in the pseudo-header changes, be it to one of the other family:
/// the words that IPv4 has not are zeros and add nothing.
#[inline(always)]
pub(crate) fn replaced(update: Update, old: &Address, new: &Address) -> Update {
    let (old, new) = (old.words(), new.words());
    let update = update
        .double_word(old[0], new[0])
        .double_word(old[1], new[1])
        .double_word(old[2], new[2])
        .double_word(old[3], new[3]);
    Update::of_sum(settled(update.sum()))
}
