//! Everybody's rate without loss, in turn, and what they are of each other.

use anyhow::Result;
use harness::report::Figure;

use crate::nat::Nat;
use crate::relay::{Bare, Vizard};
use crate::rtpengine::Rtpengine;
use crate::search;
use crate::stage::{Relay, Stage};
use crate::{MANY, MOST};

/// Who relays, and how fast in every round.
pub(crate) struct Forwarding {
    rtpengine: Rtpengine,
    found: [Vec<f64>; 8],
}

impl Forwarding {
    /// With whatever takes longer to start than a turn.
    pub(crate) fn start(stage: &Stage) -> Result<Self> {
        Ok(Self { rtpengine: Rtpengine::start(stage, MANY)?, found: Default::default() })
    }

    /// One more round. The limit is measured with the traffic that is held against it.
    pub(crate) fn measure(&mut self, stage: &mut Stage) -> Result<()> {
        let relays: [&dyn Relay; 8] = [
            &Bare { flows: 1 },
            &Vizard { flows: 1 },
            &Bare { flows: MANY },
            &Vizard { flows: MANY },
            &Bare { flows: MOST },
            &Vizard { flows: MOST },
            &Nat,
            &self.rtpengine,
        ];
        for (relay, found) in relays.into_iter().zip(&mut self.found) {
            let turn = relay.enter(stage)?;
            let best = search::highest(stage, relay)?;
            drop(turn);
            found.push(best);
        }
        Ok(())
    }

    /// The rates of everybody, and what they are of each other in every round.
    pub(crate) fn figures(self) -> Vec<Figure> {
        let [limit, one, limit_many, many, limit_most, most, nat, rtpengine] = &self.found;
        let per_round =
            |of: &[f64], to: &[f64]| of.iter().zip(to).map(|(of, to)| of / to).collect::<Vec<_>>();
        vec![
            Figure::median("media.limit_pps", "packets/s", limit),
            Figure::median("media.limit_pps_32k", "packets/s", limit_most),
            Figure::median("media.pps_1", "packets/s", one),
            Figure::median("media.pps_1k", "packets/s", many),
            Figure::median("media.pps_32k", "packets/s", most),
            Figure::median("media.pps_nft", "packets/s", nat),
            Figure::median("media.pps_rtpengine", "packets/s", rtpengine),
            Figure::median("media.ratio_limit_1", "of the limit", &per_round(one, limit)).with_goal(0.85),
            Figure::median("media.ratio_limit_1k", "of the limit", &per_round(many, limit_many)),
            Figure::median("media.ratio_limit_32k", "of the limit", &per_round(most, limit_most))
                .with_goal(0.80),
            Figure::median("media.ratio_nft", "times", &per_round(many, nat)).with_goal(2.5),
            Figure::median("media.ratio_rtpengine", "times", &per_round(many, rtpengine)).with_goal(20.0),
        ]
    }
}
