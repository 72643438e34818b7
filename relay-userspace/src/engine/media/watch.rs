//! Whether far ends are heard: silence of one side, silence of both, and how
//! long a far end may still be learned.
//!
//! The datapath counts; what is here looks at the counts every few seconds and
//! remembers when each of them last moved. Its resolution is that of the looks,
//! which is fine for questions of ten seconds and more.
//!
//! Nobody is blamed for being silent who was not asked to speak: while a call is
//! on hold, time stands still here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::by_leg::ByLeg;
use crate::engine::config::Patience;
use crate::engine::ids::LegName;
use crate::engine::time::Instant;

/// The longest time between two looks at the counts of a call.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// The shortest.
const SHORTEST_LOOK: Duration = Duration::from_millis(250);

/// What is known of who is heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// What each flow had counted when it was last looked at.
    counted: BTreeMap<SocketAddr, (u64, u64)>,
    /// Since when the description has been as it is.
    settled: Instant,
    /// Whether it wants both sides to speak.
    talking: bool,
    /// When anything was last heard.
    alive: Instant,
    /// When each far end last spoke.
    spoke: ByLeg<Instant>,
    /// Whether each is silent now while the other speaks.
    silent: ByLeg<bool>,
    /// Whether it has been so at any time.
    one_way: ByLeg<bool>,
}

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// This leg's far end is not heard while the other one is.
    OneWay(LegName),
    /// Nobody has been heard for too long.
    Dead,
}

impl Watch {
    /// Of a call in which these far ends have not been heard at some time.
    pub(super) fn after(one_way: ByLeg<bool>) -> Self {
        Self { one_way, ..Self::default() }
    }

    /// The description has changed, or the call is answered: whoever has to
    /// speak has only now to begin. `talking` says whether both sides have to.
    pub(super) fn settled(&mut self, now: Instant, talking: bool) {
        self.settled = now;
        self.talking = talking;
        self.alive = now;
        self.spoke = ByLeg { a: now, b: now };
        self.silent = ByLeg::default();
    }

    /// A flow has counted so many packets, and so many of speech where it carries
    /// any: its speakers are heard.
    pub(super) fn counted(
        &mut self,
        now: Instant,
        speakers: &[LegName],
        local: SocketAddr,
        packets: u64,
        speech: Option<u64>,
    ) {
        let speech = speech.unwrap_or(0);
        let (packets_before, speech_before) =
            self.counted.insert(local, (packets, speech)).unwrap_or_default();
        if packets != packets_before {
            self.alive = now;
        }
        if speech != speech_before {
            for &leg in speakers {
                self.spoke[leg] = now;
            }
        }
    }

    /// Forgets a flow that is gone.
    pub(super) fn forget(&mut self, local: SocketAddr) {
        self.counted.remove(&local);
    }

    /// What is to be said about the silence by now; each silence is found once.
    pub(super) fn judge(&mut self, now: Instant, patience: &Patience) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.talking {
            return findings;
        }
        let lasts =
            |since: Instant, limit: Duration| !limit.is_zero() && now.saturating_since(since) >= limit;
        let silence = ByLeg {
            a: lasts(self.spoke.a, patience.one_way_after),
            b: lasts(self.spoke.b, patience.one_way_after),
        };
        for leg in [LegName::A, LegName::B] {
            let one_way = silence[leg] && !silence[leg.other()];
            if one_way && !self.silent[leg] {
                findings.push(Finding::OneWay(leg));
                self.one_way[leg] = true;
            }
            self.silent[leg] = one_way;
        }
        if lasts(self.alive, patience.timeout) {
            findings.push(Finding::Dead);
        }
        findings
    }

    /// Whether a far end that was not heard yet has had its time to be learned.
    pub(super) fn learning_is_over(&self, now: Instant, patience: &Patience) -> bool {
        let window = patience.learning_window;
        self.talking && !window.is_zero() && now.saturating_since(self.settled) >= window
    }

    /// How long until the next look.
    pub(super) fn next_look(&self, now: Instant, patience: &Patience) -> Duration {
        let regular = [patience.one_way_after / 2, patience.timeout / 4]
            .into_iter()
            .filter(|pause| !pause.is_zero())
            .fold(LONGEST_LOOK, Duration::min)
            .max(SHORTEST_LOOK);
        let closes = (self.settled + patience.learning_window).saturating_since(now);
        if closes.is_zero() { regular } else { regular.min(closes) }
    }

    /// Whether a leg's far end is silent now while the other one speaks.
    pub(super) const fn silent(&self) -> &ByLeg<bool> {
        &self.silent
    }

    /// Whether it has been so at any time.
    pub(super) const fn one_way(&self) -> &ByLeg<bool> {
        &self.one_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        timeout: Duration::from_mins(1),
        one_way_after: Duration::from_secs(10),
        learning_window: Duration::from_secs(10),
    };

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn port(leg: LegName) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], if leg == LegName::A { 4000 } else { 4002 }))
    }

    /// Looks every five seconds at far ends that speak or do not.
    fn hear(watch: &mut Watch, from: u64, to: u64, speaks: ByLeg<bool>) -> Vec<(u64, Finding)> {
        let mut found = Vec::new();
        for now in (from..to).step_by(5) {
            for leg in [LegName::A, LegName::B] {
                let spoken = if speaks[leg] { now } else { 0 };
                watch.counted(at(now), &[leg], port(leg), spoken, Some(spoken));
            }
            found.extend(watch.judge(at(now), &PATIENCE).into_iter().map(|finding| (now, finding)));
        }
        found
    }

    #[test]
    fn one_silent_side_is_found_once_and_forgiven_when_it_speaks() {
        for silent in [LegName::A, LegName::B] {
            let mut watch = Watch::default();
            watch.settled(at(100), true);
            let one = ByLeg::new(silent, false, true);
            assert_eq!(hear(&mut watch, 105, 300, one), [(110, Finding::OneWay(silent))]);
            assert!(watch.silent()[silent] && !watch.silent()[silent.other()]);
            assert_eq!(hear(&mut watch, 300, 400, ByLeg { a: true, b: true }), []);
            assert!(!watch.silent()[silent] && watch.one_way()[silent], "it was, and the record says so");
        }
    }

    #[test]
    fn silence_of_both_is_no_one_way_audio_and_ends_in_time() {
        let mut watch = Watch::default();
        watch.settled(at(100), true);
        let found = hear(&mut watch, 105, 165, ByLeg::default());
        assert_eq!(found, [(160, Finding::Dead)]);
    }

    #[test]
    fn reports_keep_a_call_alive_and_are_no_speech() {
        let mut watch = Watch::default();
        watch.settled(at(100), true);
        for now in 100..300 {
            watch.counted(at(now), &[LegName::A], port(LegName::A), now, Some(0));
            watch.counted(at(now), &[LegName::B], port(LegName::B), now, Some(now));
            let found = watch.judge(at(now), &PATIENCE);
            assert_eq!(found.contains(&Finding::OneWay(LegName::A)), now == 110, "at {now}");
            assert!(!found.contains(&Finding::Dead));
        }
    }

    #[test]
    fn nobody_is_blamed_for_silence_on_hold() {
        let mut watch = Watch::default();
        watch.settled(at(100), false);
        assert_eq!(hear(&mut watch, 105, 1000, ByLeg { a: true, b: false }), []);
        assert!(!watch.learning_is_over(at(1000), &PATIENCE));
        watch.settled(at(1000), true);
        assert_eq!(hear(&mut watch, 1000, 1010, ByLeg { a: true, b: false }), [], "time begins anew");
        assert!(watch.learning_is_over(at(1010), &PATIENCE));
    }

    #[test]
    fn what_is_switched_off_is_never_found() {
        let off = Patience {
            timeout: Duration::ZERO,
            one_way_after: Duration::ZERO,
            learning_window: Duration::ZERO,
        };
        let mut watch = Watch::default();
        watch.settled(at(0), true);
        assert_eq!(watch.judge(at(100_000), &off), []);
        assert!(!watch.learning_is_over(at(100_000), &off));
        assert_eq!(watch.next_look(at(100_000), &off), LONGEST_LOOK);
    }

    #[test]
    fn looks_are_as_frequent_as_the_limits_need() {
        let mut watch = Watch::default();
        watch.settled(at(0), true);
        assert_eq!(watch.next_look(at(0), &PATIENCE), Duration::from_secs(5));
        assert_eq!(watch.next_look(at(8), &PATIENCE), Duration::from_secs(2), "when learning ends");
        let hasty = Patience { one_way_after: Duration::from_millis(100), ..PATIENCE };
        assert_eq!(watch.next_look(at(20), &hasty), SHORTEST_LOOK);
    }
}
