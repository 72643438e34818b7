//! Handover: another party takes one side of a live binding.
//!
//! The other side sees no change: its number, and what it dials, stay. The new party
//! keeps the proxy of the one before if that pair is free, and gets another one
//! otherwise. The pair of the one before rests at once and for at least the callback
//! window: a late call on it connects nobody, and nobody else answers there.

use super::allocate::Wanted;
use super::bindings::{BindingIx, Change, Side, Stage};
use super::model::BindingState::{Entombed, Live};
use super::numbers::NumberIx;
use super::proposal::Proposal;
use super::rests::Rest;
use super::{BindingId, Directory, PartyAddress, headroom, refusal};
use crate::engine::admin::{AdminRequest, NumberWish, Refusal, RefusalKind};
use crate::engine::ids::LegName;
use crate::engine::io::RequestId;
use crate::engine::number::Typed;
use crate::engine::time::Timestamp;

/// Who takes which side of a binding.
#[derive(Clone, Copy)]
pub(super) struct Handover {
    pub(super) binding: BindingIx,
    pub(super) leg: LegName,
    /// Who comes, and the number.
    pub(super) to: Side,
    /// When the pairs of who leaves are freed.
    pub(super) since: Timestamp,
}

impl Directory {
    pub(super) fn bind_handover(&mut self, id: RequestId, binding: BindingId, leg: LegName, to: Typed) {
        if let Err(refusal) = self.hand_over(id, binding, leg, to) {
            self.refuse_request(id, refusal);
        }
    }

    fn hand_over(
        &mut self,
        id: RequestId,
        binding: BindingId,
        leg: LegName,
        to: Typed,
    ) -> Result<(), Refusal> {
        let who = match leg {
            LegName::A => "customer",
            LegName::B => "agent",
        };
        let address = self.party_of(who, &to)?;
        let ix = self.visible(binding)?;
        self.admits_party(&address)?;
        self.admits_return(ix)?;
        let Some(record) = self.bindings.get(ix) else { return Ok(()) };
        match (record.change, record.state) {
            (Change::Committing, _) => {
                self.wait(ix, id, AdminRequest::BindHandover { id: binding, leg, to });
                return Ok(());
            }
            (Change::Doubtful, _) => return Err(super::binding_requests::in_doubt()),
            (Change::None, Live { .. }) if record.stage == Stage::Settled => {}
            (Change::None, Live { .. } | Entombed { .. }) => {
                return Err(refusal(
                    RefusalKind::Conflict,
                    format!("{binding} has ended"),
                    "bring it back with `vizard bind reopen` first",
                ));
            }
        }
        let (state, from, other) = (record.state, record.side(leg), record.side(leg.other()));
        let known = self.parties.find(&address);
        if known == Some(from.party) && record.also(leg).is_empty() {
            self.reply_binding(id, ix);
            return Ok(());
        }
        if let Some((of, _)) = record.pairs().find(|(_, side)| known == Some(side.party)) {
            let what = if of == leg { "is on that side of" } else { "is the other party of" };
            return Err(refusal(
                RefusalKind::Invalid,
                format!("the new {who} {what} {binding} already"),
                "give another address",
            ));
        }
        self.admits_commit()?;
        let number = self.number_for(who, &address, from, other)?;
        let since = self.clock.wall
            + self
                .life_of(self.bindings.get(ix).ok_or_else(super::binding_requests::in_doubt)?)
                .callback_window
                .saturating_sub(self.config.bindings.cool_off);
        let party = self.acquire(&address);
        let to = Side { party, number };
        self.pairs.insert(to, ix);
        // From now on, so that nobody removes the number meanwhile.
        self.numbers.set_load(number, |load| load.count(state, 1));
        self.propose(Proposal::HandOver { request: id, change: Handover { binding: ix, leg, to, since } });
        Ok(())
    }

    /// The number of the one before if it can be kept, or another one.
    fn number_for(
        &mut self,
        who: &'static str,
        address: &PartyAddress,
        from: Side,
        other: Side,
    ) -> Result<NumberIx, Refusal> {
        let known = self.parties.find(address);
        let free = known.is_none_or(|party| {
            !self.pairs.contains(Side { party, ..from }) && !self.is_cooling(party, from.number)
        });
        if free {
            return Ok(from.number);
        }
        let wish = NumberWish::default();
        let other = Some(other.number);
        self.allocate_or_tell(&Wanted { who, party: address, also: &[], wish: &wish, other })
    }

    /// The store has a handover.
    pub(super) fn handed_over(&mut self, change: &Handover) {
        let Handover { binding, leg, to, since } = *change;
        let wall = self.clock.wall;
        let Some(record) = self.bindings.get_mut(binding) else { return };
        let (state, from) = (record.state, record.side(leg));
        let leaving: Vec<Side> = record.pairs().filter(|(of, _)| *of == leg).map(|(_, side)| side).collect();
        let at = match leg {
            LegName::A => {
                record.customer = to;
                0
            }
            LegName::B => {
                record.agent = to;
                1
            }
        };
        if let Some(special) = &mut record.special {
            special.also[at] = Box::default();
        }
        self.parties.set_stored(to.party);
        self.numbers.set_load(from.number, |load| load.count(state, -1));
        for side in leaving {
            self.pairs.remove(side);
            self.rest(Rest { since, party: side.party, number: side.number });
            self.headroom.give(wall, side.party, leg);
            self.parties.release(side.party);
        }
        self.headroom.take(wall, to.party, headroom::one(leg));
        // What was acquired for the new one stays as the binding's own use.
        self.settle(binding);
    }

    /// The store has nothing of a handover.
    pub(super) fn not_handed_over(&mut self, change: &Handover) {
        let Handover { binding, to, .. } = *change;
        if let Some(record) = self.bindings.get(binding) {
            let state = record.state;
            self.numbers.set_load(to.number, |load| load.count(state, -1));
        }
        self.pairs.remove(to);
        self.parties.release(to.party);
        self.settle(binding);
    }
}
