//! From one epoch of keys to the next, while calls go on.
//!
//! A new epoch begins with its data key in the store; from then on what is new
//! is sealed under it. What is old is sealed anew piece by piece, a turn's work at
//! a time and one piece at a time in the store, in the order of the slots. When a
//! walk over all of them has found nothing, the daemon looks into the store itself
//! before anything is destroyed, so that a mistake here costs a second look and no
//! number.
//!
//! Nothing of this is stored: a process that starts with more than one epoch in
//! its vault walks.

use std::sync::Arc;

use super::Directory;
use super::parties::Resealed;
use super::proposal::Proposal;
use crate::engine::admin::VaultCount;
use crate::engine::io::{Output, RekeyStep};
use crate::engine::privacy::{Epoch, NewEpoch, Vault};
use crate::engine::time::{Instant, Now};

/// Parties in one transaction: about a millisecond of sealing.
const AT_ONCE: usize = 256;
/// Slots that one turn looks at.
const LOOK: usize = 16_384;

/// Where the walk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rekey {
    /// Everything is sealed under the newest epoch.
    #[default]
    Rest,
    /// A new epoch has begun, and nothing is sealed anew before somebody is erased.
    Hold,
    /// From this slot on, what is old is to be sealed anew; `found` says whether
    /// there was anything since the first slot.
    Walk { next: usize, found: bool },
    /// The same, when the store has the piece before.
    Wait { next: usize, found: bool },
}

impl Directory {
    /// A walk that a process before this one began or should have.
    pub(super) fn go_on_rekeying(&mut self) {
        let vault = self.parties.vault();
        if vault.epochs().count() > 1 {
            let newest = vault.newest();
            self.walk_to(newest);
        } else {
            self.certify();
        }
    }

    /// Seals what is new under a new epoch, and what is old as well.
    pub(in crate::engine) fn begin_epoch(&mut self, now: Now, epoch: Arc<NewEpoch>) {
        self.clock = now;
        self.propose(Proposal::BeginEpoch { epoch });
    }

    /// Forgets the data keys of every epoch before this one.
    pub(in crate::engine) fn end_epochs(&mut self, now: Now, before: Epoch) {
        self.clock = now;
        self.propose(Proposal::EndEpochs { before });
    }

    pub(super) fn epoch_began(&mut self, vault: Arc<Vault>) {
        let newest = vault.newest();
        self.parties.set_vault(vault);
        self.walk_to(newest);
    }

    fn walk_to(&mut self, newest: Epoch) {
        self.outputs.push_back(Output::Rekey(RekeyStep::Began(newest)));
        self.answer_rotation(newest);
        self.rekey = match self.rekey {
            _ if self.erasing.is_some() => Rekey::Hold,
            // The piece that is under way comes back, and finds the walk begun anew.
            Rekey::Wait { .. } => Rekey::Wait { next: 0, found: true },
            Rekey::Rest | Rekey::Hold | Rekey::Walk { .. } => Rekey::Walk { next: 0, found: false },
        };
    }

    /// Begins the walk that was held.
    pub(super) fn start_walk(&mut self) {
        if self.rekey == Rekey::Hold {
            self.rekey = Rekey::Walk { next: 0, found: false };
        }
    }

    /// One turn of the walk.
    pub(super) fn reseal_some(&mut self) {
        let Rekey::Walk { next, found } = self.rekey else { return };
        let (parties, end) = self.parties.reseal(next, LOOK, AT_ONCE);
        let found = found || !parties.is_empty();
        let onward = match end {
            Some(next) => Rekey::Walk { next, found },
            None if found => Rekey::Walk { next: 0, found: false },
            None => {
                self.outputs.push_back(Output::Rekey(RekeyStep::Resealed(self.parties.vault().newest())));
                Rekey::Rest
            }
        };
        self.rekey = match onward {
            Rekey::Walk { next, found } if !parties.is_empty() => Rekey::Wait { next, found },
            Rekey::Rest | Rekey::Hold | Rekey::Walk { .. } | Rekey::Wait { .. } => onward,
        };
        if !parties.is_empty() {
            self.propose(Proposal::Reseal { parties });
        }
    }

    pub(super) fn resealed(&mut self, parties: Vec<Resealed>) {
        for party in parties {
            self.parties.take_resealed(party);
        }
        if let Rekey::Wait { next, found } = self.rekey {
            self.rekey = Rekey::Walk { next, found };
        }
    }

    pub(super) fn epochs_ended(&mut self, before: Epoch) {
        // A newer epoch may have begun meanwhile, so it is today's vault that loses them.
        let vault = self.parties.vault().without_before(before);
        self.parties.set_vault(Arc::new(vault));
        self.outputs.push_back(Output::Rekey(RekeyStep::Ended(before)));
        self.certify();
    }

    pub(super) fn vault_count(&self) -> VaultCount {
        VaultCount {
            epoch: self.parties.vault().newest().0,
            parties: self.parties.len(),
            erasures: self.erasures.len(),
            left: match self.rekey {
                Rekey::Rest => 0,
                Rekey::Hold | Rekey::Walk { .. } | Rekey::Wait { .. } => self.parties.count_old(),
            },
        }
    }

    pub(super) fn rekey_deadline(&self) -> Option<(Instant, &'static str)> {
        let walk = matches!(self.rekey, Rekey::Walk { .. });
        let walk = walk.then_some((self.clock.mono, "parties under an old key"));
        [walk, self.erasure_deadline()].into_iter().flatten().min_by_key(|&(at, _)| at)
    }
}
