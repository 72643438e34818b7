//! Virtual time: everything that is going to happen, and the network that
//! loses, doubles, delays and reorders what is sent through it.

use std::collections::BTreeMap;
use std::time::Duration;

use vizard::engine::io::{Input, Signal};

use crate::atlas::LegId;
use crate::dice::Dice;
use crate::message::Message;
use crate::peer::Wake;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A message reaches Vizard; whose it is, and what it says, unless nonsense.
    ToEngine(Signal, Option<(LegId, Message)>),
    /// A message reaches a peer.
    ToPeer(LegId, Message),
    /// A peer's timer fires.
    Wake(LegId, Wake),
    /// The platform fills the pool.
    Fill,
    /// Somebody dials.
    Dial(usize),
    /// Somebody talks: both ends of a call send media.
    Media(usize),
    /// The store answers the oldest commit.
    StoreAnswers,
    /// The datapath reports.
    Datapath(Input),
    /// An operator asks for something; an index into the scenario's errands.
    Errand(usize),
    /// Nonsense arrives.
    Noise,
    /// The process is killed and starts again.
    Crash,
    /// The process is asked to stop.
    Shutdown,
}

/// What is going to happen, in order. What is planned for the same moment
/// happens in the order in which it was planned.
#[derive(Default)]
pub(crate) struct Agenda {
    entries: BTreeMap<(Duration, u64), Happening>,
    planned: u64,
}

impl Agenda {
    /// Plans something.
    pub(crate) fn plan(&mut self, at: Duration, happening: Happening) {
        self.entries.insert((at, self.planned), happening);
        self.planned += 1;
    }

    /// When the next thing happens.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.entries.keys().next().map(|&(at, _)| at)
    }

    /// The next thing.
    pub(crate) fn pop(&mut self) -> Option<(Duration, Happening)> {
        self.entries.pop_first().map(|((at, _), happening)| (at, happening))
    }

    /// Forgets everything that `forgotten` says yes to.
    pub(crate) fn forget(&mut self, forgotten: impl Fn(&Happening) -> bool) {
        self.entries.retain(|_, happening| !forgotten(happening));
    }
}

/// How the network treats a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Of a thousand datagrams, how many are lost.
    pub(crate) loss: u32,
    /// Of a thousand datagrams, how many arrive twice.
    pub(crate) duplication: u32,
    /// The longest delay in milliseconds; whatever differs in delay is
    /// reordered.
    pub(crate) delay: u64,
    /// Of a thousand datagrams, how many are held for up to three seconds.
    pub(crate) stray: u32,
}

impl Link {
    /// Loses nothing and keeps the order.
    pub(crate) const PERFECT: Self = Self { loss: 0, duplication: 0, delay: 0, stray: 0 };

    /// The delays after which copies of one datagram arrive.
    pub(crate) fn deliveries(self, dice: &mut Dice) -> Vec<Duration> {
        let copies = if dice.chance(self.loss) { 0 } else { 1 + usize::from(dice.chance(self.duplication)) };
        (0..copies)
            .map(|_| {
                if dice.chance(self.stray) {
                    dice.millis(0, 3000)
                } else if self.delay == 0 {
                    Duration::from_millis(1)
                } else {
                    dice.millis(1, self.delay + 1)
                }
            })
            .collect()
    }
}
