//! How a command ends.

use std::process::ExitCode;

use crate::engine::admin::RefusalKind;

/// The exit codes, stable for scripts. `vizard --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed in a way that has no code of its own; also a doctor that found
    /// something broken.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The configuration has errors.
    Config = 3,
    /// The daemon cannot be reached.
    Unreachable = 4,
    /// There is no such thing.
    NotFound = 5,
    /// It contradicts what is there.
    Conflict = 6,
    /// No number is free, or a limit is reached.
    Exhausted = 7,
    /// The store failed; trying again may help.
    Unavailable = 8,
    /// This user may not do it.
    Forbidden = 9,
}

impl Exit {
    /// Every code, in order.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::Config,
        Self::Unreachable,
        Self::NotFound,
        Self::Conflict,
        Self::Exhausted,
        Self::Unavailable,
        Self::Forbidden,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failure => "failed, or doctor found something broken",
            Self::Usage => "the command line makes no sense",
            Self::Config => "the configuration has errors",
            Self::Unreachable => "the daemon cannot be reached",
            Self::NotFound => "there is no such binding, call or number",
            Self::Conflict => "it contradicts what is there",
            Self::Exhausted => "no number is free, or a limit is reached",
            Self::Unavailable => "the store failed; trying again may help",
            Self::Forbidden => "this user may not do it",
        }
    }
}

impl From<RefusalKind> for Exit {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Invalid => Self::Usage,
            RefusalKind::NotFound => Self::NotFound,
            RefusalKind::Conflict => Self::Conflict,
            RefusalKind::Exhausted => Self::Exhausted,
            RefusalKind::Unavailable => Self::Unavailable,
            RefusalKind::Forbidden => Self::Forbidden,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
