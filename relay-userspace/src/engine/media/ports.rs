//! Port pairs: an even port for RTP and the next one for RTCP.
//!
//! Pairs are drawn at random, so that a port cannot be guessed from another
//! call's, and rest after use, so that late packets of one call never meet the
//! next.
//!
//! What rests is not journaled. After a restart the pairs of every journaled call are
//! claimed, and rest as ever when it turns out that the call cannot go on; those whose
//! flows the datapath still had for calls that nobody knows any more rest from then on.
//! Those of calls that had ended in the seconds before may be drawn again at once, one
//! among all that are free. The alternatives, a write to the store per call that ends or
//! no new calls until all pairs have rested, cost more than a late packet that meets
//! another call's source check.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::{Rng, RngExt};

use crate::engine::config::Media;
use crate::engine::time::Instant;

/// A pair of ports on one of our media addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortPair {
    /// Which of [`Media::addresses`].
    address: usize,
    local: IpAddr,
    even: u16,
}

impl PortPair {
    /// Where RTP arrives.
    pub(crate) const fn rtp(self) -> SocketAddr {
        SocketAddr::new(self.local, self.even)
    }

    /// Where RTCP arrives.
    pub(crate) const fn rtcp(self) -> SocketAddr {
        SocketAddr::new(self.local, self.even | 1)
    }
}

/// The port pairs of every media address.
#[derive(Debug)]
pub(crate) struct Ports {
    pools: Vec<Pool>,
    quarantine: Duration,
}

#[derive(Debug)]
struct Pool {
    local: IpAddr,
    free: Free,
    /// In the order of when they have rested.
    resting: VecDeque<(Instant, u16)>,
}

/// A set of even ports that gives out a random one, or a given one, in no more time
/// when there are many.
#[derive(Clone, Debug)]
struct Free {
    ports: Vec<u16>,
    /// Where in `ports` each pair stands, by half of its port's number.
    places: Vec<Option<u16>>,
}

impl Free {
    fn new(range: RangeInclusive<u16>) -> Self {
        let last = *range.end();
        let mut free = Self { ports: Vec::new(), places: vec![None; usize::from(last / 2) + 1] };
        range.filter(|port| port % 2 == 0 && *port < last).for_each(|even| free.insert(even));
        free
    }

    fn insert(&mut self, even: u16) {
        if let Some(place) = self.places.get_mut(usize::from(even / 2)) {
            // There are half as many pairs as ports, so places are numbers of ports too.
            *place = u16::try_from(self.ports.len()).ok();
            self.ports.push(even);
        }
    }

    fn take_random(&mut self, random: &mut impl Rng) -> Option<u16> {
        if self.ports.is_empty() {
            return None;
        }
        let place = random.random_range(0..self.ports.len());
        Some(self.take_at(place))
    }

    fn take(&mut self, even: u16) -> Option<u16> {
        let place = (*self.places.get(usize::from(even / 2))?)?;
        even.is_multiple_of(2).then(|| self.take_at(usize::from(place)))
    }

    fn take_at(&mut self, place: usize) -> u16 {
        let even = self.ports.swap_remove(place);
        if let Some(moved) = self.ports.get(place) {
            self.places[usize::from(moved / 2)] = u16::try_from(place).ok();
        }
        self.places[usize::from(even / 2)] = None;
        even
    }
}

impl Ports {
    /// All pairs of the configured range, on every address.
    pub(crate) fn new(media: &Media) -> Self {
        let free = Free::new(media.ports.clone());
        let pools = media
            .addresses
            .iter()
            .map(|address| Pool { local: address.local, free: free.clone(), resting: VecDeque::new() })
            .collect();
        Self { pools, quarantine: media.quarantine }
    }

    /// A free pair on this address; `None` when all are used or resting.
    pub(crate) fn draw(&mut self, address: usize, now: Instant, random: &mut impl Rng) -> Option<PortPair> {
        let pool = self.pools.get_mut(address)?;
        while let Some(&(rested, even)) = pool.resting.front()
            && rested <= now
        {
            pool.resting.pop_front();
            pool.free.insert(even);
        }
        let even = pool.free.take_random(random)?;
        Some(PortPair { address, local: pool.local, even })
    }

    /// The pair whose RTP arrives here, for a call that had it before a restart;
    /// `None` when it is not free or not ours.
    pub(crate) fn claim(&mut self, rtp: SocketAddr) -> Option<PortPair> {
        let (address, pool) = self.pools.iter_mut().enumerate().find(|(_, pool)| pool.local == rtp.ip())?;
        let even = pool.free.take(rtp.port())?;
        Some(PortPair { address, local: pool.local, even })
    }

    /// Has the pair that this address is of rest, if nothing uses it.
    pub(crate) fn rest(&mut self, at: SocketAddr, now: Instant) {
        let rtp = SocketAddr::new(at.ip(), at.port() & !1);
        if let Some(pair) = self.claim(rtp) {
            self.release(pair, now);
        }
    }

    /// Gives a pair back.
    pub(crate) fn release(&mut self, pair: PortPair, now: Instant) {
        if let Some(pool) = self.pools.get_mut(pair.address) {
            pool.resting.push_back((now + self.quarantine, pair.even));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::engine::config::{MediaAddress, Patience, Permissions};

    fn media(ports: RangeInclusive<u16>) -> Media {
        let address = |last| MediaAddress {
            name: format!("m{last}"),
            local: IpAddr::from([10, 0, 0, last]),
            advertised: IpAddr::from([192, 0, 2, last]),
        };
        Media {
            addresses: vec![address(1), address(2)],
            ports,
            quarantine: Duration::from_secs(10),
            dscp: 46,
            patience: Patience::default(),
            permissions: Permissions::default(),
        }
    }

    #[test]
    fn every_pair_is_given_once_and_rests_after_use() {
        let mut random = ChaCha8Rng::from_seed([1; 32]);
        let mut ports = Ports::new(&media(40001..=40020));
        let start = Instant::ORIGIN;
        let mut drawn = Vec::new();
        while let Some(pair) = ports.draw(0, start, &mut random) {
            drawn.push(pair);
        }
        let evens: BTreeSet<u16> = drawn.iter().map(|pair| pair.rtp().port()).collect();
        assert_eq!(evens.into_iter().collect::<Vec<_>>(), (40002..=40018).step_by(2).collect::<Vec<_>>());
        assert!(drawn.iter().all(|pair| pair.rtcp().port() == pair.rtp().port() + 1));
        assert!(ports.draw(1, start, &mut random).is_some(), "another address has its own");

        ports.release(drawn[3], start);
        assert_eq!(ports.draw(0, start + Duration::from_secs(9), &mut random), None, "it rests");
        assert_eq!(ports.draw(0, start + Duration::from_secs(10), &mut random), Some(drawn[3]));
    }

    #[test]
    fn what_is_swept_rests_and_what_is_used_stays_so() {
        let mut random = ChaCha8Rng::from_seed([1; 32]);
        let mut ports = Ports::new(&media(40_000..=40_003));
        let at = |port| SocketAddr::new([10, 0, 0, 1].into(), port);
        let start = Instant::ORIGIN;
        let used = ports.claim(at(40_000)).unwrap();
        for local in
            [at(40_003), at(40_002), at(40_001), at(9), SocketAddr::new([10, 0, 0, 9].into(), 40_000)]
        {
            ports.rest(local, start);
        }
        assert_eq!(ports.draw(0, start, &mut random), None);
        let rested = start + Duration::from_secs(10);
        assert_eq!(ports.draw(0, rested, &mut random).map(PortPair::rtp), Some(at(40_002)));
        assert_eq!(ports.draw(0, rested, &mut random), None, "one pair is used, and the other one once");
        ports.release(used, rested);
    }

    /// Over any sequence of draws, claims and releases every pair is in one place: used,
    /// resting or free.
    #[test]
    fn draws_and_claims_agree_with_a_plain_set() {
        for seed in 0..50 {
            let mut random = ChaCha8Rng::from_seed([seed; 32]);
            let mut ports = Ports::new(&media(40_000..=40_063));
            let mut now = Instant::ORIGIN;
            let mut used: Vec<PortPair> = Vec::new();
            let mut resting: Vec<(Instant, PortPair)> = Vec::new();
            for _ in 0..500 {
                match random.random_range(0..4) {
                    0 => {
                        let pair = ports.draw(0, now, &mut random);
                        resting.retain(|(rested, _)| *rested > now);
                        assert_eq!(pair.is_none(), used.len() + resting.len() == 32);
                        used.extend(pair);
                    }
                    1 => {
                        let wanted = random.random_range(39_990..=40_070_u16);
                        let known = |pair: &PortPair| pair.rtp().port() == wanted;
                        let is_free = wanted % 2 == 0
                            && (40_000..=40_063).contains(&wanted)
                            && !used.iter().any(known)
                            && !resting.iter().any(|(_, pair)| known(pair));
                        let pair = ports.claim(SocketAddr::new([10, 0, 0, 1].into(), wanted));
                        assert_eq!(pair.map(|pair| pair.rtp().port()), is_free.then_some(wanted));
                        used.extend(pair);
                    }
                    2 if !used.is_empty() => {
                        let pair = used.swap_remove(random.random_range(0..used.len()));
                        ports.release(pair, now);
                        resting.push((now + Duration::from_secs(10), pair));
                    }
                    _ => now = now + Duration::from_secs(random.random_range(0..5)),
                }
                let drawn: BTreeSet<u16> = used.iter().map(|pair| pair.rtp().port()).collect();
                assert_eq!(drawn.len(), used.len(), "seed {seed}: no pair is used twice");
            }
        }
    }

    #[test]
    fn a_range_at_the_end_of_the_port_space_works() {
        let mut random = ChaCha8Rng::from_seed([1; 32]);
        let mut ports = Ports::new(&media(65534..=65535));
        let pair = ports.draw(0, Instant::ORIGIN, &mut random).unwrap();
        assert_eq!((pair.rtp().port(), pair.rtcp().port()), (65534, 65535));
        assert!(Ports::new(&media(65535..=65535)).draw(0, Instant::ORIGIN, &mut random).is_none());
    }
}
