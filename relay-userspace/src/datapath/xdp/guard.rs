//! The guard's rules in the program's tries.
//!
//! What is in the tries is known from the tries themselves at the start, so that
//! rules that an earlier process has left are replaced like any others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr::{read_volatile, write_volatile};

use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, MapData, MapError};
use ipnet::IpNet;
use relay_ebpf::abi::{self, GuardRule};

use super::load::{failed, missing};
use super::table::Mapped;
use crate::datapath::guard::{Counts, Filter, Guard, GuardConfig};
use crate::datapath::{DatapathError, VerdictCount};
use crate::engine::guard::{Rule, Treatment};

/// The guard in the kernel, and the second line behind it.
pub(super) struct KernelGuard {
    v4: LpmTrie<MapData, [u8; 4], GuardRule>,
    v6: LpmTrie<MapData, [u8; 16], GuardRule>,
    hits: Mapped<u64>,
    placed: BTreeMap<IpNet, GuardRule>,
    /// Counts that no rule uses.
    free: Vec<u32>,
    second: Filter,
}

impl KernelGuard {
    /// Over the program's maps.
    pub(super) fn new(
        program: &mut Ebpf,
        config: Option<&GuardConfig>,
        key: u64,
    ) -> Result<Self, DatapathError> {
        let v4 = LpmTrie::try_from(program.take_map(abi::GUARD_V4).ok_or_else(|| missing(abi::GUARD_V4))?);
        let v6 = LpmTrie::try_from(program.take_map(abi::GUARD_V6).ok_or_else(|| missing(abi::GUARD_V6))?);
        let hits = super::take(program, abi::GUARD_HITS, Mapped::<u64>::new)?;
        let (v4, v6) = (v4.map_err(|error| refused(&error))?, v6.map_err(|error| refused(&error))?);
        let placed = found(&v4, &v6).map_err(|error| refused(&error))?;
        let used: Vec<u32> = placed.values().map(|rule| rule.hits).collect();
        let free = (0..hits.length()).rev().filter(|index| !used.contains(index)).collect();
        let second = Filter::new(config, key, Counts::Drops);
        Ok(Self { v4, v6, hits, placed, free, second })
    }

    /// Adds what the second line dropped.
    pub(super) fn add_to(&self, verdicts: &mut [VerdictCount]) {
        self.second.add_to(verdicts);
    }

    fn place(&mut self, rule: &Rule) -> Result<(), DatapathError> {
        let old = self.placed.get(&rule.net).copied();
        let index = old.map(|old| old.hits).or_else(|| self.free.pop()).ok_or_else(|| {
            failed("adding a rule of the guard", format!("{} rules are the limit", abi::MAX_RULES))
        })?;
        let value = GuardRule::new(treatment(rule.treatment), index);
        if old == Some(value) {
            return Ok(());
        }
        if old.is_none()
            && let Some(count) = self.hits.at(index)
        {
            // SAFETY: within the mapping; the program counts here only for a rule that is placed.
            unsafe { write_volatile(count, 0) };
        }
        let inserted = match rule.net {
            IpNet::V4(net) => {
                self.v4.insert(&Key::new(net.prefix_len().into(), net.addr().octets()), value, 0)
            }
            IpNet::V6(net) => {
                self.v6.insert(&Key::new(net.prefix_len().into(), net.addr().octets()), value, 0)
            }
        };
        if let Err(error) = inserted {
            if old.is_none() {
                self.free.push(index);
            }
            return Err(refused(&error));
        }
        self.placed.insert(rule.net, value);
        Ok(())
    }

    fn displace(&mut self, net: IpNet) -> Result<(), DatapathError> {
        match net {
            IpNet::V4(net) => self.v4.remove(&Key::new(net.prefix_len().into(), net.addr().octets())),
            IpNet::V6(net) => self.v6.remove(&Key::new(net.prefix_len().into(), net.addr().octets())),
        }
        .map_err(|error| refused(&error))?;
        self.free.extend(self.placed.remove(&net).map(|rule| rule.hits));
        Ok(())
    }
}

impl Guard for KernelGuard {
    fn set_rules(&mut self, rules: &[Rule]) -> Result<(), DatapathError> {
        let wanted: BTreeMap<IpNet, ()> = rules.iter().map(|rule| (rule.net, ())).collect();
        let gone: Vec<IpNet> = self.placed.keys().filter(|net| !wanted.contains_key(net)).copied().collect();
        let second = self.second.set_rules(rules);
        // What can be done is done, whatever else fails.
        let removed: Vec<_> = gone.into_iter().map(|net| self.displace(net)).collect();
        let added: Vec<_> = rules.iter().map(|rule| self.place(rule)).collect();
        removed.into_iter().chain(added).chain([second]).collect()
    }

    fn admits(&mut self, source: IpAddr) -> bool {
        self.second.admits(source)
    }

    fn hits(&self) -> Vec<(IpNet, u64)> {
        let count = |rule: &GuardRule| {
            // SAFETY: within the mapping; an aligned word is read whole.
            self.hits.at(rule.hits).map_or(0, |count| unsafe { read_volatile(count) })
        };
        self.placed.iter().map(|(net, rule)| (*net, count(rule) + self.second.packets(*net))).collect()
    }
}

/// The rules that the tries hold.
fn found(
    v4: &LpmTrie<MapData, [u8; 4], GuardRule>,
    v6: &LpmTrie<MapData, [u8; 16], GuardRule>,
) -> Result<BTreeMap<IpNet, GuardRule>, MapError> {
    let net =
        |address: IpAddr, width: u32| u8::try_from(width).ok().and_then(|w| IpNet::new(address, w).ok());
    let mut rules = BTreeMap::new();
    for entry in v4 {
        let (key, rule) = entry?;
        rules.extend(net(Ipv4Addr::from(key.data()).into(), key.prefix_len()).map(|net| (net, rule)));
    }
    for entry in v6 {
        let (key, rule) = entry?;
        rules.extend(net(Ipv6Addr::from(key.data()).into(), key.prefix_len()).map(|net| (net, rule)));
    }
    Ok(rules)
}

fn treatment(treatment: Treatment) -> abi::Treatment {
    match treatment {
        Treatment::Exempt => abi::Treatment::Exempt,
        Treatment::Limit => abi::Treatment::Limit,
        Treatment::Deny => abi::Treatment::Deny,
    }
}

fn refused(error: &MapError) -> DatapathError {
    failed("changing the guard's rules", error.to_string())
}
