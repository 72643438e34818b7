//! Importing numbers: checked chunk by chunk, kept aside, then made durable in
//! one transaction or not at all.
//!
//! A chunk is small enough for one turn of the loop, and so is each piece in
//! which the numbers join the pool when the store has them: calls go on beside
//! an import of any length. There is one import at a time; one whose asker has
//! gone away gives way to the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::model::NumberState;
use super::pool::{IMPORT_LINES, ImportCounts, ImportLine, LineProblem, PoolReply};
use super::proposal::{NumberChange, Proposal};
use super::{Directory, PoolNumber, refusal};
use crate::engine::admin::{Refusal, RefusalKind};
use crate::engine::io::RequestId;
use crate::engine::number::ProxyNumber;
use crate::engine::time::Instant;

/// After so long without a line another import may take an open one's place.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so long without a line an open import is forgotten.
const ABANDONED: Duration = Duration::from_mins(5);

/// An import that is not over.
pub(super) struct Import {
    id: u64,
    update: bool,
    /// Whether all its lines have come.
    ended: bool,
    touched: Instant,
    /// The number of every good line, and where it stands.
    pub(super) lines: BTreeMap<ProxyNumber, u64>,
    /// What joins the pool, as it came.
    put: Vec<Arc<[PoolNumber]>>,
    pub(super) counts: ImportCounts,
}

impl Import {
    /// Whether these numbers are its own: it has ended, and no other change can
    /// touch them.
    pub(super) fn holds(&self, numbers: &[ProxyNumber]) -> bool {
        self.ended && numbers.first().is_some_and(|number| self.lines.contains_key(number))
    }
}

/// Numbers that the store has and that join the pool piece by piece.
pub(super) struct Landing {
    request: RequestId,
    put: VecDeque<Arc<[PoolNumber]>>,
    reply: PoolReply,
}

impl Directory {
    pub(super) fn import_begin(&mut self, id: RequestId, update: bool) -> Result<(), Refusal> {
        let waits = |import: &Import| import.ended || self.clock.mono < import.touched + PATIENCE;
        if self.import.as_ref().is_some_and(waits) {
            return Err(refusal(
                RefusalKind::Conflict,
                "another import is under way",
                "try again when it is over, or in ten seconds if it was interrupted",
            ));
        }
        let import = self.next;
        self.next += 1;
        self.import = Some(Import {
            id: import,
            update,
            ended: false,
            touched: self.clock.mono,
            lines: BTreeMap::new(),
            put: Vec::new(),
            counts: ImportCounts::default(),
        });
        self.reply_pool(id, PoolReply::ImportBegun(import));
        Ok(())
    }

    pub(super) fn import_lines(
        &mut self,
        id: RequestId,
        import: u64,
        lines: Vec<ImportLine>,
    ) -> Result<(), Refusal> {
        if lines.len() > IMPORT_LINES {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("{} lines are too many for one chunk", lines.len()),
                format!("send at most {IMPORT_LINES} at a time"),
            ));
        }
        let mut import = self.open_import(import)?;
        import.touched = self.clock.mono;
        let (mut problems, mut put) = (Vec::new(), Vec::new());
        for line in lines {
            let at = line.line;
            match self.import_line(&mut import, line) {
                Ok(number) => put.extend(number),
                Err(Refusal { what, remedy, .. }) => problems.push(LineProblem { line: at, what, remedy }),
            }
        }
        if !put.is_empty() {
            import.put.push(put.into());
        }
        self.import = Some(import);
        self.reply_pool(id, PoolReply::ImportChecked(problems));
        Ok(())
    }

    /// Judges a line: what it changes in the pool, if anything.
    fn import_line(&mut self, import: &mut Import, line: ImportLine) -> Result<Option<PoolNumber>, Refusal> {
        let ImportLine { line, country, state, mut number } = line;
        if let Some(first) = import.lines.get(&number.number) {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("{} stands in line {first} already", number.number),
                "leave one of the two lines out",
            ));
        }
        let there = self.numbers.find(&number.number).map(|ix| self.numbers.get(ix));
        let before = there.map_or(NumberState::Active, |number| number.traits.state);
        number.traits.state = state.unwrap_or(before);
        let there = there.cloned();
        let number = self.checked(number)?;
        if let Some(country) = country.filter(|&country| country != number.country) {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("{} is of {}, not of {country}", number.number, number.country),
                "correct the number or leave its country out",
            ));
        }
        let change = match there {
            None => {
                self.admits_numbers(import.counts.added + 1)?;
                import.counts.added += 1;
                Some(number.clone())
            }
            Some(same) if same == number => {
                import.counts.known += 1;
                None
            }
            Some(_) if import.update => {
                import.counts.updated += 1;
                Some(number.clone())
            }
            Some(_) => {
                return Err(refusal(
                    RefusalKind::Conflict,
                    format!("{} is in the pool with other properties", number.number),
                    "leave it out, or give it those of the file with --update",
                ));
            }
        };
        import.lines.insert(number.number, line);
        Ok(change)
    }

    pub(super) fn import_end(&mut self, id: RequestId, import: u64, keep: bool) -> Result<(), Refusal> {
        if keep {
            self.admits_commit()?;
        }
        let mut import = self.open_import(import)?;
        let (put, counts) = (std::mem::take(&mut import.put), import.counts);
        if !keep || put.is_empty() {
            self.reply_pool(id, PoolReply::Imported(if keep { counts } else { ImportCounts::default() }));
            return Ok(());
        }
        import.ended = true;
        self.import = Some(import);
        let change = Box::new(NumberChange { put, remove: Vec::new(), reply: PoolReply::Imported(counts) });
        self.propose(Proposal::ChangeNumbers { request: id, change });
        Ok(())
    }

    /// Takes the import out if lines may still come.
    fn open_import(&mut self, id: u64) -> Result<Import, Refusal> {
        self.import.take_if(|import| import.id == id && !import.ended).ok_or_else(|| {
            refusal(
                RefusalKind::NotFound,
                "this import is over, or another one took its place while it was silent",
                "begin again",
            )
        })
    }

    /// The store has a change of numbers: they join the pool turn by turn.
    pub(super) fn begin_landing(&mut self, request: RequestId, change: NumberChange) {
        let NumberChange { put, remove, reply } = change;
        for number in remove {
            self.numbers.remove(&number);
            self.changing.remove(&number);
        }
        self.landing.push_back(Landing { request, put: put.into(), reply });
        self.land_some();
    }

    /// One piece of what is to join the pool.
    pub(super) fn land_some(&mut self) {
        let Some(mut landing) = self.landing.pop_front() else { return };
        if let Some(piece) = landing.put.pop_front() {
            for number in &*piece {
                self.changing.remove(&number.number);
                self.numbers.put(number.clone());
            }
        }
        if !landing.put.is_empty() {
            return self.landing.push_front(landing);
        }
        if matches!(landing.reply, PoolReply::Imported(_)) {
            self.import = None;
        }
        self.reply_pool(landing.request, landing.reply);
    }

    /// When an import whose asker is silent is forgotten.
    pub(super) fn import_deadline(&self) -> Option<Instant> {
        self.import.as_ref().filter(|import| !import.ended).map(|import| import.touched + ABANDONED)
    }

    pub(super) fn forget_abandoned_import(&mut self) {
        if self.import_deadline().is_some_and(|due| due <= self.clock.mono) {
            self.import = None;
        }
    }
}
