//! The guard of the signalling sockets, where no program stands before them: the
//! rules and buckets of `relay_ebpf::bucket` over what was read from a socket.
//!
//! On the socket path it is the guard. Beside XDP it is a second line, for
//! signalling that arrives on an interface without the program (loopback among
//! them): the program has decided on all else, so only what this one drops is
//! counted there, and nothing is counted twice.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ipnet::IpNet;
use relay_ebpf::abi::{self, Address, BUCKET_SETS, Family};
use relay_ebpf::bucket::{self, Bucket, BucketSet, Rate};
use relay_ebpf::verdict::Verdict;

use super::{DatapathError, VerdictCount};
use crate::engine::guard::{MAX_AUTOMATIC_RULES, MAX_OPERATOR_RULES, MAX_TRUNK_RULES, Rule, Treatment};

const _: () = assert!(MAX_TRUNK_RULES + MAX_OPERATOR_RULES + MAX_AUTOMATIC_RULES <= abi::MAX_RULES as usize);

/// Signalling sockets at most.
pub const MAX_SIGNALLING: usize = abi::MAX_SIGNALLING;

/// What the guard is told at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// The signalling sockets.
    pub listen: Vec<SocketAddr>,
    /// Packets a second that a source may send; zero for no limit.
    pub rate: u32,
    /// Packets that it may send at once.
    pub burst: u32,
}

/// Polices what is sent to the signalling sockets, per source.
pub trait Guard {
    /// Replaces all rules. Those that stay keep their counts; on an error some
    /// may not be in force.
    fn set_rules(&mut self, rules: &[Rule]) -> Result<(), DatapathError>;

    /// Whether a datagram that was read from a signalling socket may be looked at.
    fn admits(&mut self, source: IpAddr) -> bool;

    /// The packets that each rule has decided, in the order of networks.
    fn hits(&self) -> Vec<(IpNet, u64)>;
}

/// Which packets a filter counts under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// All that a rule decides.
    All,
    /// Those that it drops: the program has counted the others.
    Drops,
}

/// Rules and buckets in this process.
pub(super) struct Filter {
    counts: Counts,
    rate: Rate,
    key: u64,
    clock: Instant,
    rules: BTreeMap<IpNet, Placed>,
    /// The widths of rules' networks, the narrowest network first: IPv4, IPv6.
    widths: [Vec<u8>; 2],
    buckets: Vec<BucketSet>,
    denied: u64,
    limited: u64,
}

struct Placed {
    treatment: Treatment,
    packets: u64,
}

impl Filter {
    /// Without rules; `None` limits nobody.
    pub(super) fn new(config: Option<&GuardConfig>, key: u64, counts: Counts) -> Self {
        Self {
            counts,
            rate: config.map_or(Rate::NONE, rate),
            key,
            clock: Instant::now(),
            rules: BTreeMap::new(),
            widths: [Vec::new(), Vec::new()],
            buckets: vec![BucketSet::default(); if config.is_some() { BUCKET_SETS as usize } else { 0 }],
            denied: 0,
            limited: 0,
        }
    }

    /// Adds what was dropped here to the datapath's counts.
    pub(super) fn add_to(&self, verdicts: &mut [VerdictCount]) {
        for (verdict, packets) in [(Verdict::GuardDenied, self.denied), (Verdict::GuardLimited, self.limited)]
        {
            if let Some(count) = verdicts.get_mut(verdict as usize) {
                count.packets += packets;
            }
        }
    }

    /// The packets that a rule has decided here.
    pub(super) fn packets(&self, net: IpNet) -> u64 {
        self.rules.get(&net).map_or(0, |rule| rule.packets)
    }

    fn rule(&mut self, source: IpAddr) -> Option<&mut Placed> {
        let widths = &self.widths[usize::from(source.is_ipv6())];
        let mut nets = widths.iter().filter_map(|&width| IpNet::new(source, width).ok());
        let net = nets.find(|net| self.rules.contains_key(&net.trunc()))?.trunc();
        self.rules.get_mut(&net)
    }

    fn takes_from_bucket(&mut self, source: IpAddr, now: u64) -> bool {
        let (address, family) = address(source);
        let tag = bucket::tag(bucket::source(&address, family), self.key);
        let index = tag & u64::from(BUCKET_SETS - 1);
        let Some(set) = usize::try_from(index).ok().and_then(|index| self.buckets.get_mut(index)) else {
            return true;
        };
        let (way, fresh) = bucket::choose(set, tag, now);
        let Some(bucket) = set.ways.get_mut(way) else { return true };
        if fresh {
            *bucket = Bucket { tag, full: 0 };
        }
        self.rate.take(bucket.full, now).map(|full| bucket.full = full).is_some()
    }

    fn admits_at(&mut self, source: IpAddr, now: u64) -> bool {
        let counts = self.counts;
        let treatment = self.rule(source).map(|rule| {
            if counts == Counts::All || rule.treatment == Treatment::Deny {
                rule.packets += 1;
            }
            rule.treatment
        });
        match treatment {
            Some(Treatment::Exempt) => true,
            Some(Treatment::Deny) => {
                self.denied += 1;
                false
            }
            Some(Treatment::Limit) | None => {
                let admitted = self.takes_from_bucket(source, now);
                self.limited += u64::from(!admitted);
                admitted
            }
        }
    }
}

impl Guard for Filter {
    fn set_rules(&mut self, rules: &[Rule]) -> Result<(), DatapathError> {
        let mut before = std::mem::take(&mut self.rules);
        let mut place = |rule: &Rule| {
            let packets = before.remove(&rule.net).map_or(0, |old| old.packets);
            (rule.net, Placed { treatment: rule.treatment, packets })
        };
        self.rules = rules.iter().map(&mut place).collect();
        for (family, widths) in self.widths.iter_mut().enumerate() {
            let nets = self.rules.keys().filter(|net| usize::from(net.addr().is_ipv6()) == family);
            *widths = nets.map(IpNet::prefix_len).collect();
            widths.sort_unstable_by(|a, b| b.cmp(a));
            widths.dedup();
        }
        Ok(())
    }

    fn admits(&mut self, source: IpAddr) -> bool {
        let now = u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.admits_at(source, now)
    }

    fn hits(&self) -> Vec<(IpNet, u64)> {
        self.rules.iter().map(|(net, rule)| (*net, rule.packets)).collect()
    }
}

/// What the program is told of the guard.
pub(super) fn global(config: Option<&GuardConfig>, key: u64) -> Result<abi::Guard, DatapathError> {
    let Some(config) = config else { return Ok(abi::Guard::NONE) };
    config.listen.iter().try_fold(abi::Guard::new(rate(config), key), |guard, socket| {
        let (address, family) = address(socket.ip());
        let address = (!socket.ip().is_unspecified()).then_some(address);
        guard.with(address, family, socket.port()).ok_or_else(|| DatapathError::System {
            doing: "laying out the guard".into(),
            problem: format!("at most {} signalling sockets are possible", abi::MAX_SIGNALLING),
        })
    })
}

/// What hides which sources share buckets.
pub(super) fn random_key() -> Result<u64, DatapathError> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(|error| {
        DatapathError::System { doing: "asking for random numbers".into(), problem: error.to_string() }
    })?;
    Ok(u64::from_ne_bytes(bytes))
}

/// An address as the program has it.
pub(super) fn address(address: IpAddr) -> (Address, Family) {
    match address {
        IpAddr::V4(address) => (Address::v4(address.octets()), Family::V4),
        IpAddr::V6(address) => (Address::v6(address.octets()), Family::V6),
    }
}

fn rate(config: &GuardConfig) -> Rate {
    Rate::per_second(config.rate, config.burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn filter(counts: Counts) -> Filter {
        let config = GuardConfig { listen: Vec::new(), rate: 10, burst: 5 };
        Filter::new(Some(&config), 7, counts)
    }

    fn rules(list: &[(&str, Treatment)]) -> Vec<Rule> {
        let rule = |&(net, treatment): &(&str, Treatment)| Rule { net: net.parse().unwrap(), treatment };
        list.iter().map(rule).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_narrowest_network_decides_in_both_families() {
        let mut filter = filter(Counts::All);
        let list = [
            ("192.0.2.0/24", Treatment::Deny),
            ("192.0.2.64/26", Treatment::Exempt),
            ("192.0.2.77/32", Treatment::Deny),
            ("2001:db8::/32", Treatment::Deny),
            ("2001:db8:1::/48", Treatment::Exempt),
        ];
        filter.set_rules(&rules(&list)).unwrap();
        for (source, passes) in [
            ("192.0.2.1", false),
            ("192.0.2.65", true),
            ("192.0.2.77", false),
            ("198.51.100.1", true),
            ("2001:db8:2::1", false),
            ("2001:db8:1::1", true),
        ] {
            assert_eq!(filter.admits_at(ip(source), SECOND), passes, "{source}");
        }
        assert_eq!(filter.hits().iter().map(|(_, packets)| packets).sum::<u64>(), 5);
        assert_eq!((filter.denied, filter.limited), (3, 0));
    }

    #[test]
    fn a_source_has_its_rate_and_exempt_ones_have_none() {
        let mut filter = filter(Counts::All);
        filter
            .set_rules(&rules(&[("10.0.0.0/8", Treatment::Exempt), ("10.1.0.0/16", Treatment::Limit)]))
            .unwrap();
        let mut passed = |source, now| (0..100).filter(|_| filter.admits_at(ip(source), now)).count();
        assert_eq!(passed("10.0.0.1", SECOND), 100);
        assert_eq!(passed("10.1.0.1", SECOND), 5, "a limited network within an exempt one");
        assert_eq!(passed("192.0.2.1", SECOND), 5);
        assert_eq!(passed("192.0.2.2", SECOND), 5, "another source has a bucket of its own");
        assert_eq!(passed("192.0.2.1", 2 * SECOND), 5);
        assert_eq!(passed("2001:db8::1", SECOND), 5);
        assert_eq!(passed("2001:db8::2", SECOND), 0, "one network of 64 bits is one source");
        assert_eq!(filter.limited, 95 * 5 + 100);
    }

    #[test]
    fn rules_that_stay_keep_their_counts() {
        let mut filter = filter(Counts::Drops);
        let list = [("192.0.2.0/24", Treatment::Deny), ("10.0.0.0/8", Treatment::Exempt)];
        filter.set_rules(&rules(&list)).unwrap();
        filter.admits_at(ip("192.0.2.1"), SECOND);
        filter.admits_at(ip("10.0.0.1"), SECOND);
        filter.set_rules(&rules(&list[..1])).unwrap();
        assert_eq!(filter.packets(rules(&list)[0].net), 1);
        assert_eq!(filter.packets(rules(&list)[1].net), 0, "the second line counts drops alone");
        assert!(filter.admits_at(ip("10.0.0.1"), SECOND));
    }
}
