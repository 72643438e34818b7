//! Port pairs: an even port for RTP and the next one for RTCP.
//!
//! Pairs are drawn at random, so that a port cannot be guessed from another
//! call's, and rest after use, so that late packets of one call never meet the
//! next.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
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
    free: Vec<u16>,
    /// In the order of when they have rested.
    resting: VecDeque<(Instant, u16)>,
}

impl Ports {
    /// All pairs of the configured range, on every address.
    pub(crate) fn new(media: &Media) -> Self {
        let last = *media.ports.end();
        let pairs = media.ports.clone().filter(|port| port % 2 == 0 && *port < last);
        let free: Vec<u16> = pairs.collect();
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
            pool.free.push(even);
        }
        if pool.free.is_empty() {
            return None;
        }
        let even = pool.free.swap_remove(random.random_range(0..pool.free.len()));
        Some(PortPair { address, local: pool.local, even })
    }

    /// The pair whose RTP arrives here, for a call that had it before a restart;
    /// `None` when it is not free or not ours.
    pub(crate) fn claim(&mut self, rtp: SocketAddr) -> Option<PortPair> {
        let (address, pool) = self.pools.iter_mut().enumerate().find(|(_, pool)| pool.local == rtp.ip())?;
        let place = pool.free.iter().position(|&even| even == rtp.port())?;
        let even = pool.free.swap_remove(place);
        Some(PortPair { address, local: pool.local, even })
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

    fn media(ports: std::ops::RangeInclusive<u16>) -> Media {
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
    fn a_range_at_the_end_of_the_port_space_works() {
        let mut random = ChaCha8Rng::from_seed([1; 32]);
        let mut ports = Ports::new(&media(65534..=65535));
        let pair = ports.draw(0, Instant::ORIGIN, &mut random).unwrap();
        assert_eq!((pair.rtp().port(), pair.rtcp().port()), (65534, 65535));
        assert!(Ports::new(&media(65535..=65535)).draw(0, Instant::ORIGIN, &mut random).is_none());
    }
}
