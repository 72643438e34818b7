//! Every reason to pass, drop or forward a packet.
//!
//! Each packet gets exactly one verdict, which is its index into the per-CPU
//! counters; [`Verdict::action`] is the only place where a reason becomes an
//! action. Outside our media addresses and ports the host's own traffic passes
//! whatever it looks like, but for what the guard of our signalling sockets drops.
//! Inside them nothing passes but STUN where a call agreed on ICE.

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// On to the kernel's stack.
    Pass,
    /// Dropped.
    Drop,
    /// Out of the interface that it came in on.
    Transmit,
    /// Out of another interface.
    Redirect,
}

impl Action {
    /// The word that tables show.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Transmit => "transmit",
            Self::Redirect => "redirect",
        }
    }
}

macro_rules! verdicts {
    ($($(#[$doc:meta])* $verdict:ident = $name:literal,)*) => {
        /// Why a packet passed, was dropped or was forwarded.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Verdict {
            $($(#[$doc])* $verdict,)*
        }

        impl Verdict {
            /// All of them, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$verdict,)*];
            /// How many counters there are.
            #[allow(clippy::cast_possible_truncation, reason = "a few dozen")]
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The name that operators see.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$verdict => $name,)*
                }
            }
        }
    };
}

verdicts! {
    /// Media, out of another interface.
    Redirected = "redirected",
    /// Media, out of the interface that it came in on.
    Transmitted = "transmitted",
    /// As `redirected`; the way came from the kernel's tables, since ours was
    /// not known yet.
    FibRedirected = "fib-redirected",
    /// As `transmitted`, likewise.
    FibTransmitted = "fib-transmitted",

    /// The frame ends within a header.
    Truncated = "truncated",
    /// Neither IPv4 nor IPv6 (ARP, LLDP, more than two VLAN tags).
    NotIp = "not-ip",
    /// Sent to a group or broadcast MAC address.
    NotUnicast = "not-unicast",
    /// The IP version or header length contradicts itself.
    BadIpHeader = "bad-ip-header",
    /// The IP length is more than the frame holds, or less than a header.
    BadIpLength = "bad-ip-length",
    /// Not UDP.
    NotUdp = "not-udp",
    /// IPv4 options: the stack's slow path.
    IpOptions = "ip-options",
    /// A fragment: only the stack can reassemble it.
    Fragment = "fragment",
    /// IPv6 extension headers.
    Ipv6Extension = "ipv6-extension",
    /// UDP to an address that is none of ours.
    NotOurAddress = "not-our-address",
    /// UDP to a media address, outside the media ports.
    NotOurPort = "not-our-port",

    /// STUN to a port where the session description agreed on ICE: for the
    /// daemon's own socket, which answers.
    LocalStun = "local-stun",

    /// Media under VLAN tags, or without any, that none of the media interfaces
    /// has.
    OtherVlan = "other-vlan",
    /// No call uses this address and port.
    NoFlow = "no-flow",
    /// The flow was replaced twice while the packet was looking at it, or the one
    /// beside it, by whose exit its RTCP leaves, is not there.
    FlowChanging = "flow-changing",
    /// The UDP length contradicts the IP length.
    BadUdpLength = "bad-udp-length",
    /// UDP over IPv6 without a checksum (RFC 8200 section 8.1), or UDP over IPv4
    /// that has none, leaves as IPv6, and is too long to compute it.
    NoUdpChecksum = "no-udp-checksum",
    /// Shorter than the header of its class.
    TooShort = "too-short",
    /// An opaque datagram (UDPTL) that is longer than any may be.
    TooLong = "too-long",
    /// Neither version 2 of RTP nor of any class that shares a port with it
    /// (first byte, RFC 7983).
    NotRtp = "not-rtp",
    /// STUN to a flow without ICE.
    UnexpectedStun = "unexpected-stun",
    /// DTLS to a flow that did not agree on it.
    UnexpectedDtls = "unexpected-dtls",
    /// ZRTP, whose keys nobody here agreed on.
    Zrtp = "zrtp",
    /// A channel of TURN, which nobody here allocated.
    TurnChannel = "turn-channel",
    /// Sources or a header extension that RTP announces do not fit the packet.
    BadRtpHeader = "bad-rtp-header",
    /// The padding that RTP announces does not fit the packet.
    BadRtpPadding = "bad-rtp-padding",
    /// A payload type that the session description did not agree on.
    PayloadType = "payload-type",
    /// Not one of RTCP's packet types (192 to 223, RFC 5761 section 4).
    NotRtcp = "not-rtcp",
    /// RTCP whose lengths do not add up, so that it cannot be searched for
    /// identity.
    RtcpMalformed = "rtcp-malformed",
    /// RTCP that is too long to be searched for identity.
    RtcpTooLong = "rtcp-too-long",
    /// The first source, but not from where signalling allows media.
    SourceNotAllowed = "source-not-allowed",
    /// Another source than the one that the flow is locked to.
    WrongSource = "wrong-source",
    /// RTP to a flow that has turned into a fax and has no source yet.
    LateRtp = "late-rtp",
    /// Another CPU is learning the source at this moment.
    SourceLearning = "source-learning",
    /// The time-to-live or hop limit is used up.
    TtlExpired = "ttl-expired",
    /// Larger, as it would leave, than the interface can send or than the frame
    /// can grow.
    ExceedsMtu = "exceeds-mtu",
    /// The way leaves on an interface that Vizard is not attached to.
    NoDevice = "no-device",
    /// The kernel's table: a blackhole route.
    FibBlackhole = "fib-blackhole",
    /// The kernel's table: an unreachable route.
    FibUnreachable = "fib-unreachable",
    /// The kernel's table: a prohibited route.
    FibProhibited = "fib-prohibited",
    /// The kernel's table: a local or otherwise not forwarded destination.
    FibNotForwarded = "fib-not-forwarded",
    /// The kernel looks nothing up for interfaces that do not forward
    /// (`net.ipv4.conf.*.forwarding`, `net.ipv6.conf.*.forwarding`).
    FibForwardingOff = "fib-forwarding-off",
    /// The kernel's table: a tunnel, which XDP cannot write.
    FibTunnel = "fib-tunnel",
    /// The kernel's table: a neighbour whose MAC address is not known yet.
    FibNoNeighbour = "fib-no-neighbour",

    /// To a signalling socket, from a network that the guard denies.
    GuardDenied = "guard-denied",
    /// To a signalling socket, from a source that sends faster than it may.
    GuardLimited = "guard-limited",
}

impl Verdict {
    /// The counter's index.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// The verdict whose counter has this index.
    #[inline(always)]
    #[must_use]
    pub const fn of_index(index: u32) -> Option<Self> {
        if index >= Self::COUNT {
            return None;
        }
        // SAFETY: the verdicts are numbered from zero, and there are `COUNT`.
        Some(unsafe { core::mem::transmute::<u32, Self>(index) })
    }

    /// What becomes of the packet.
    #[inline(always)]
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Redirected | Self::FibRedirected => Action::Redirect,
            Self::Transmitted | Self::FibTransmitted => Action::Transmit,
            Self::Truncated
            | Self::NotIp
            | Self::NotUnicast
            | Self::BadIpHeader
            | Self::BadIpLength
            | Self::NotUdp
            | Self::IpOptions
            | Self::Fragment
            | Self::Ipv6Extension
            | Self::NotOurAddress
            | Self::NotOurPort
            | Self::LocalStun => Action::Pass,
            Self::OtherVlan
            | Self::NoFlow
            | Self::FlowChanging
            | Self::BadUdpLength
            | Self::NoUdpChecksum
            | Self::TooShort
            | Self::TooLong
            | Self::NotRtp
            | Self::UnexpectedStun
            | Self::UnexpectedDtls
            | Self::Zrtp
            | Self::TurnChannel
            | Self::BadRtpHeader
            | Self::BadRtpPadding
            | Self::PayloadType
            | Self::NotRtcp
            | Self::RtcpMalformed
            | Self::RtcpTooLong
            | Self::SourceNotAllowed
            | Self::WrongSource
            | Self::LateRtp
            | Self::SourceLearning
            | Self::TtlExpired
            | Self::ExceedsMtu
            | Self::NoDevice
            | Self::FibBlackhole
            | Self::FibUnreachable
            | Self::FibProhibited
            | Self::FibNotForwarded
            | Self::FibForwardingOff
            | Self::FibTunnel
            | Self::FibNoNeighbour
            | Self::GuardDenied
            | Self::GuardLimited => Action::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_in_the_order_of_the_verdicts() {
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(verdict.index() as usize, index);
            assert_eq!(Verdict::of_index(verdict.index()), Some(*verdict));
        }
        assert_eq!(Verdict::of_index(Verdict::COUNT), None);
    }

    #[test]
    fn names_are_kebab_case_and_unique() {
        let mut names: Vec<_> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
        for name in &names {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Verdict::ALL.len());
    }
}
