//! What a peer is going to do in one call.

use std::time::Duration;

use crate::dice::Dice;

/// The caller's part.
#[derive(Clone, Debug)]
pub(crate) struct CallerScript {
    /// Whether the INVITE carries an offer; otherwise the ACK answers one.
    pub(crate) offers: bool,
    /// Gives up after so long.
    pub(crate) cancel: Option<Duration>,
    /// Whether it ever acknowledges a 200.
    pub(crate) acknowledges: bool,
    /// What it does once the call is up.
    pub(crate) talk: Talk,
}

/// The called end's part.
#[derive(Clone, Debug)]
pub(crate) struct CalleeScript {
    /// In order of their delays from the INVITE.
    pub(crate) provisionals: Vec<Provisional>,
    /// How long after the INVITE it decides.
    pub(crate) decides: Duration,
    /// What it decides.
    pub(crate) decision: Decision,
    /// A second telephone answers too, under a tag of its own.
    pub(crate) forks: bool,
    /// What it does once the call is up.
    pub(crate) talk: Talk,
}

/// A provisional response.
#[derive(Clone, Debug)]
pub(crate) struct Provisional {
    /// How long after the INVITE.
    pub(crate) after: Duration,
    /// 180, 181 or 183.
    pub(crate) status: u16,
    /// With early media.
    pub(crate) sdp: bool,
    /// From another telephone of a fork than the one that will answer.
    pub(crate) forked: bool,
}

/// What the called end decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// 200.
    Answer,
    /// A final failure.
    Refuse(u16),
    /// Rings until somebody gives up.
    RingOn,
    /// Says nothing at all, not even 100.
    Mute,
}

/// What either end does once the call is up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Talk {
    /// Hangs up after so long.
    pub(crate) hangup: Option<Duration>,
    /// Sends these re-INVITEs, each after so long.
    pub(crate) changes: Vec<(Duration, Change)>,
    /// Answers a re-INVITE with this failure.
    pub(crate) refuses_change: Option<u16>,
    /// Wants RTCP on the port of RTP.
    pub(crate) mux: bool,
    /// Falls silent for good after so long, counted from the INVITE.
    pub(crate) dies: Option<Duration>,
}

/// What a re-INVITE is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Puts the other side on hold.
    Hold,
    /// Takes it from hold.
    Resume,
    /// Media goes to another address.
    Move,
    /// No offer: the 200 makes it.
    AskOffer,
    /// The same again.
    Refresh,
}

impl CallerScript {
    /// Chosen from the seed; `calm` means an ordinary call.
    pub(crate) fn roll(dice: &mut Dice, calm: bool) -> Self {
        if calm {
            let hangup = Some(Duration::from_secs(8));
            let talk = Talk { hangup, mux: dice.chance(400), ..Talk::default() };
            return Self { offers: true, cancel: None, acknowledges: true, talk };
        }
        let cancel = match dice.below(10) {
            0 => Some(dice.millis(0, 400)),
            1 => Some(dice.millis(400, 6000)),
            _ => None,
        };
        Self { offers: !dice.chance(80), cancel, acknowledges: !dice.chance(20), talk: Talk::roll(dice) }
    }
}

impl CalleeScript {
    /// Chosen from the seed; `calm` means an ordinary call.
    pub(crate) fn roll(dice: &mut Dice, calm: bool) -> Self {
        let ringing =
            Provisional { after: Duration::from_millis(50), status: 180, sdp: false, forked: false };
        if calm {
            let (decides, decision) = (Duration::from_secs(1), Decision::Answer);
            let provisionals = vec![ringing];
            return Self {
                provisionals,
                decides,
                decision,
                forks: false,
                talk: Talk { mux: dice.chance(400), ..Talk::default() },
            };
        }
        let decides = dice.millis(20, 6000);
        let provisionals = (0..dice.below(4))
            .map(|_| Provisional {
                after: dice.millis(0, 4000),
                status: *dice.pick(&[180, 180, 183, 181]),
                sdp: dice.chance(300),
                forked: dice.chance(150),
            })
            .collect();
        let decision = match dice.below(20) {
            0 => Decision::Refuse(486),
            1 => Decision::Refuse(603),
            2 => Decision::Refuse(*dice.pick(&[302, 404, 480, 488, 500, 503])),
            3 => Decision::RingOn,
            4 if dice.chance(400) => Decision::Mute,
            _ => Decision::Answer,
        };
        Self { provisionals, decides, decision, forks: dice.chance(40), talk: Talk::roll(dice) }
    }
}

impl Talk {
    fn roll(dice: &mut Dice) -> Self {
        // Both ends draw from the same few seconds, so that BYEs, re-INVITEs
        // and CANCELs often cross.
        let hangup = match dice.below(8) {
            0 => None,
            1 => Some(Duration::from_secs(4)),
            _ => Some(dice.millis(0, 12_000)),
        };
        let kinds = [Change::Hold, Change::Move, Change::AskOffer, Change::Refresh];
        let mut changes = match dice.below(4) {
            0 => vec![(Duration::from_secs(2), *dice.pick(&kinds))],
            1 => vec![(dice.millis(0, 6000), *dice.pick(&kinds))],
            _ => Vec::new(),
        };
        if let Some(&(held, Change::Hold)) = changes.first()
            && dice.chance(700)
        {
            changes.push((held + dice.millis(100, 3000), Change::Resume));
        }
        let refuses_change = dice.chance(150).then(|| *dice.pick(&[488, 491, 500, 481]));
        let dies = dice.chance(50).then(|| dice.millis(0, 12_000));
        Self { hangup, changes, refuses_change, mux: dice.chance(400), dies }
    }
}
