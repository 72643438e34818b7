//! One INVITE on its way through a call: from one leg to the other, and the
//! offer and answer that travel with it.
//!
//! The first INVITE of a call and every re-INVITE are the same exchange. At
//! most one is under way per call, so both legs always agree on what was agreed
//! last; whoever comes second is told 491 (RFC 3261 section 14.2).

use std::net::{IpAddr, SocketAddr};

use super::reliable::Reliable;
use crate::engine::config::TrunkId;
use crate::engine::ids::LegName;
use crate::engine::sip::message::Message;
use crate::engine::sip::sdp::Description;
use crate::engine::sip::transaction::{ServerKey, SuccessRetransmitter};
use crate::engine::sip::transport::Way;

/// A request that waits for our response.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) transaction: ServerKey,
    pub(super) request: Message,
    /// How it came.
    pub(super) way: Way,
    /// Where it came from.
    pub(super) source: SocketAddr,
    /// Whose address that is.
    pub(super) trunk: TrunkId,
}

/// An INVITE that is being relayed.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The leg it came on.
    pub(super) from: LegName,
    pub(super) invite: Arrival,
    /// What its sender offered; without an offer the other side makes it
    /// (RFC 3264 section 4, RFC 3261 section 13.2.1).
    pub(super) offer: Option<Description>,
    /// What its forks have answered so far.
    pub(super) early: EarlyAnswers,
    /// What its sender was told reliably so far.
    pub(super) reliable: Reliable,
    pub(super) stage: Stage,
}

/// A description and where its message came from.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) description: Description,
    pub(super) from: IpAddr,
}

/// Answers in provisional responses, by the tag of the fork that gave them: each
/// fork's is its own (RFC 6337 section 2.1), and a 2xx without a description
/// repeats that of its own fork, never another's.
#[derive(Debug, Default)]
pub(super) struct EarlyAnswers(Vec<(String, Said)>);

impl EarlyAnswers {
    /// Forks of one INVITE that may answer early; a hunt group larger than that
    /// rings, and is heard once somebody accepts.
    const MOST: usize = 16;

    /// The latest answer of a fork; `false` when there are too many of them.
    pub(super) fn note(&mut self, tag: &str, said: &Said) -> bool {
        if let Some((_, answer)) = self.0.iter_mut().find(|(of, _)| of == tag) {
            *answer = said.clone();
            return true;
        }
        let has_room = self.0.len() < Self::MOST;
        if has_room {
            self.0.push((tag.to_owned(), said.clone()));
        }
        has_room
    }

    /// The answer of a fork, if it has given one.
    pub(super) fn of(&self, tag: &str) -> Option<&Said> {
        self.0.iter().find(|(of, _)| of == tag).map(|(_, answer)| answer)
    }
}

/// How far an exchange is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The other leg has not answered finally.
    Relayed,
    /// Our 2xx waits for its ACK.
    Accepted {
        retransmitter: Box<SuccessRetransmitter>,
        /// The other side's offer, which that ACK answers; only then is the
        /// other side's own 2xx acknowledged.
        late_offer: Option<Said>,
    },
}

impl Exchange {
    /// The `CSeq` number of the INVITE.
    pub(super) fn cseq(&self) -> Option<u32> {
        self.invite.request.cseq().ok().map(|cseq| cseq.number)
    }

    /// Whether our 2xx waits for its ACK.
    pub(super) const fn is_accepted(&self) -> bool {
        match self.stage {
            Stage::Accepted { .. } => true,
            Stage::Relayed => false,
        }
    }
}
