//! The keeper of the keys: changes the key file while calls go on.
//!
//! ```text
//! wanted:  a new epoch in the key file -> its data key in the store
//!          -> everything sealed under it -> a look into the store itself
//!          -> the old data keys out of the store -> the old epochs out of the key file
//!          -> the certificates of those who were erased
//! ```
//!
//! Each arrow waits until what is before it is durable, so that a process which
//! dies on the way leaves every number readable and the next one goes on: with
//! more than one epoch in the key file, there is something to finish. An old
//! epoch is destroyed last, when nothing that is stored needs it; copies of the
//! key file and of the store are beyond the keeper's reach.
//!
//! It has a thread of its own, since it reads the whole store and waits for disks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tracing::{error, info, warn};

use super::certificate::{self, CertificateError, Destroyed};
use super::key_file::{self, KeyFileError, KeySource};
use super::random::random;
use super::waker::Waker;
use crate::api::local::RotationPhase;
use crate::engine::admin::{Refusal, RefusalKind};
use crate::engine::io::{Input, RekeyStep};
use crate::engine::privacy::{Epoch, Erasure, Keyring, Vault, VaultError};
use crate::store::{StoreError, VaultReader};

/// Before the store or the key file is tried again.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What the keeper is asked or told.
enum Task {
    Step(RekeyStep),
    Certify(Vec<Erasure>),
    Stop,
}

/// The way to the keeper.
#[derive(Clone)]
pub(super) struct KeeperDoor {
    tasks: Sender<Task>,
    phase: Arc<Mutex<RotationPhase>>,
}

impl KeeperDoor {
    /// What the engine says.
    pub(super) fn tell(&self, step: RekeyStep) {
        // Without a keeper the daemon is going down, and the next one goes on.
        let _gone = self.tasks.send(Task::Step(step));
    }

    /// Certificates that are wanted.
    pub(super) fn certify(&self, erasures: Vec<Erasure>) {
        let _gone = self.tasks.send(Task::Certify(erasures));
    }

    /// Where a rotation is.
    pub(super) fn phase(&self) -> RotationPhase {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is to be done when nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    None,
    /// Look whether the store needs an epoch before this one.
    Look(Epoch),
    /// Take every epoch before this one out of the key file.
    Destroy(Epoch),
}

/// The thread that keeps the keys.
pub(super) struct Keeper {
    source: KeySource,
    vault: Arc<Vault>,
    reader: Box<dyn VaultReader>,
    inputs: Sender<Input>,
    waker: Waker,
    phase: Arc<Mutex<RotationPhase>>,
    certificates: PathBuf,
    uncertified: Vec<Erasure>,
    duty: Duty,
    pause: Duration,
}

/// The thread, and what ends it.
pub(super) struct KeeperThread {
    tasks: Sender<Task>,
    thread: JoinHandle<()>,
}

impl KeeperThread {
    /// Waits until the keeper has put its pen down.
    pub(super) fn close(self) {
        let _ended = self.tasks.send(Task::Stop);
        let _its_panic_was_printed = self.thread.join();
    }
}

/// What the keeper works with.
pub(super) struct Tools {
    pub(super) source: KeySource,
    pub(super) vault: Arc<Vault>,
    pub(super) reader: Box<dyn VaultReader>,
    /// Where certificates are written.
    pub(super) certificates: PathBuf,
    pub(super) inputs: Sender<Input>,
    pub(super) waker: Waker,
}

impl Keeper {
    pub(super) fn start(tools: Tools) -> io::Result<(KeeperDoor, KeeperThread)> {
        let Tools { source, vault, reader, certificates, inputs, waker } = tools;
        let (tasks, waiting) = channel();
        let phase = Arc::new(Mutex::new(RotationPhase::None));
        let door = KeeperDoor { tasks: tasks.clone(), phase: Arc::clone(&phase) };
        // What a process before this one did not come to.
        let duty = vault.epochs().next().map_or(Duty::None, Duty::Destroy);
        let keeper = Self {
            source,
            vault,
            reader,
            certificates,
            uncertified: Vec::new(),
            inputs,
            waker,
            phase,
            duty,
            pause: Duration::ZERO,
        };
        let thread =
            thread::Builder::new().name("vizard-keeper".into()).spawn(move || keeper.run(&waiting))?;
        Ok((door, KeeperThread { tasks, thread }))
    }

    fn run(mut self, waiting: &Receiver<Task>) {
        loop {
            let task = match self.duty {
                Duty::None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Duty::Look(_) | Duty::Destroy(_) => waiting.recv_timeout(self.pause),
            };
            match task {
                Ok(Task::Step(step)) => self.step(step),
                Ok(Task::Certify(erasures)) => self.certify(erasures),
                Ok(Task::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.work(),
            }
        }
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        let KeySource::File(path) = &self.source else {
            return Err(Refusal {
                kind: RefusalKind::Conflict,
                what: format!("the keys are in the environment variable {}", key_file::KEYS_VARIABLE),
                remedy: "put them into the file of vault.key_file, mode 0600, unset the variable, and \
                         restart"
                    .into(),
            });
        };
        let mut keyring = key_file::read_own(path).map_err(|error| unreadable(&error))?;
        if keyring.epochs().count() > 1 || self.vault.epochs().count() > 1 {
            return Err(Refusal {
                kind: RefusalKind::Conflict,
                what: "a rotation is under way".into(),
                remedy: "wait for its end: `vizard vault status`".into(),
            });
        }
        let failed = |problem: String| Refusal {
            kind: RefusalKind::Unavailable,
            what: problem,
            remedy: "nothing was changed; mend that, and ask again".into(),
        };
        if keyring.newest() != self.vault.newest() {
            let (file, open) = (keyring.newest(), self.vault.newest());
            return Err(failed(format!(
                "{} has epoch {file}, and this process runs on epoch {open}: it is another file now",
                path.display()
            )));
        }
        let mut random = random().map_err(|error| failed(format!("{error:#}")))?;
        let epoch = keyring.add_epoch(&mut random).map_err(|problem| failed(problem.to_string()))?;
        let new = self.vault.begin(&keyring, &mut random).map_err(|problem| failed(problem.to_string()))?;
        key_file::replace(path, &keyring).map_err(|problem| failed(problem.to_string()))?;
        info!("key epoch {epoch} begins; everything is being sealed under it");
        self.show(RotationPhase::Beginning { epoch: epoch.0 });
        self.vault = Arc::clone(&new.vault);
        self.send(Input::BeginEpoch(Arc::new(new)));
        Ok(())
    }

    fn step(&mut self, step: RekeyStep) {
        match step {
            RekeyStep::Wanted => {
                if let Err(refusal) = self.begin() {
                    self.send(Input::EpochRefused(refusal));
                }
            }
            RekeyStep::Began(epoch) => self.show(RotationPhase::Sealing { epoch: epoch.0 }),
            RekeyStep::Resealed(epoch) => {
                self.show(RotationPhase::Looking { epoch: epoch.0, left: None });
                self.duty_now(Duty::Look(epoch));
            }
            RekeyStep::Ended(epoch) => {
                self.vault = Arc::new(self.vault.without_before(epoch));
                self.duty_now(Duty::Destroy(epoch));
            }
        }
    }

    /// Old keys are looked for once more first, so that none is left that would open
    /// what a certificate says is gone.
    fn certify(&mut self, erasures: Vec<Erasure>) {
        let oldest = self.vault.epochs().next();
        self.uncertified = erasures;
        self.duty_now(oldest.map_or(Duty::None, Duty::Destroy));
    }

    fn duty_now(&mut self, duty: Duty) {
        (self.duty, self.pause) = (duty, Duration::ZERO);
    }

    fn work(&mut self) {
        let done = match self.duty {
            Duty::None => Ok(true),
            Duty::Look(epoch) => self.look(epoch),
            Duty::Destroy(epoch) => self.destroy(epoch),
        };
        match done {
            Ok(true) => self.duty_now(Duty::None),
            Ok(false) => self.pause = PAUSE,
            Err(problem) => {
                self.pause = (self.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
                error!("the change of keys waits, and is tried again: {problem}");
                self.show(RotationPhase::Waiting { problem: problem.to_string() });
            }
        }
    }

    /// The engine says that nothing is left; the store itself must say so too.
    fn look(&self, epoch: Epoch) -> Result<bool, Trouble> {
        let left = self.reader.sealed_before(epoch)?;
        self.show(RotationPhase::Looking { epoch: epoch.0, left: Some(left) });
        if left == 0 {
            self.send(Input::EndEpochs(epoch));
        }
        Ok(left == 0)
    }

    fn destroy(&mut self, before: Epoch) -> Result<bool, Trouble> {
        if let KeySource::File(path) = &self.source {
            self.destroy_in(path, before)?;
            let destroyed = Destroyed { before, key_file: path, at: SystemTime::now() };
            for erasure in &self.uncertified {
                let path = certificate::write(&self.certificates, erasure, &destroyed)?;
                info!("{} is over; its certificate is {}", erasure.id, path.display());
            }
        }
        let certified: Vec<_> = self.uncertified.drain(..).map(|erasure| erasure.id).collect();
        if !certified.is_empty() {
            self.send(Input::Certified(certified));
        }
        Ok(true)
    }

    fn destroy_in(&self, path: &Path, before: Epoch) -> Result<(), Trouble> {
        key_file::sweep(path)?;
        let mut keyring = key_file::read_own(path)?;
        if keyring.epochs().next().is_some_and(|oldest| oldest < before) {
            keyring.destroy_before(before);
            self.opens(&keyring)?;
            key_file::replace(path, &keyring)?;
            info!(
                "key epochs before {before} are destroyed in {}: copies of that file made before now open \
                 older copies of the store, and backups made before now need them",
                path.display()
            );
            self.show(RotationPhase::Ended { epoch: before.0 });
        }
        Ok(())
    }

    /// Nothing is destroyed that the vault still needs.
    fn opens(&self, keyring: &Keyring) -> Result<(), Trouble> {
        let missing = self.vault.epochs().find(|epoch| !keyring.epochs().any(|held| held == *epoch));
        missing.map_or(Ok(()), |epoch| Err(VaultError::MissingEpoch { epoch }.into()))
    }

    fn show(&self, phase: RotationPhase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn send(&self, input: Input) {
        if self.inputs.send(input).is_err() {
            warn!("the daemon is going down; the change of keys goes on at the next start");
        }
        self.waker.wake();
    }
}

/// What makes the keeper wait.
#[derive(Debug, Error)]
enum Trouble {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    File(#[from] KeyFileError),
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("{0}")]
    Vault(#[from] VaultError),
}

fn unreadable(error: &KeyFileError) -> Refusal {
    Refusal {
        kind: RefusalKind::Unavailable,
        what: error.to_string(),
        remedy: "nothing was changed; mend the key file, and ask again".into(),
    }
}
