//! How a binding may be used: by voice or text, by whom, for how long, how often at
//! once, and what is said and kept of it.
//!
//! What a request leaves open comes from its tenant and kind. The engine holds
//! calls to it; recording and prompts are kept and shown for whoever does them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::cdr::Cause;
use crate::engine::ids::LegName;

/// How a binding may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// What it carries.
    pub mode: Mode,
    /// Who may begin.
    pub direction: Direction,
    /// How long a call may last, if shorter than every call may.
    pub max_call: Option<Duration>,
    /// Calls at a time.
    pub max_calls: Option<u32>,
    /// It ends when it was not used for so long.
    pub idle: Option<Duration>,
    /// Whether its calls are to be recorded.
    pub recording: Recording,
    /// What its parties are to be told at the beginning.
    pub prompt: Prompt,
    /// How the addresses of one party ring.
    pub ring: Ring,
}

/// Declares a choice of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$of])* $word,)*
        }

        impl $name {
            /// Every choice and its word.
            pub const WORDS: &[(&str, Self)] = &[$(($text, Self::$word),)*];

            /// Its word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }
        }
    };
}

words! {
    /// What a binding carries.
    Mode {
        /// Calls.
        Voice = "voice",
        /// Texts.
        Text = "text",
        /// Calls and texts.
        #[default]
        Both = "both",
    }
}

words! {
    /// Who may begin a conversation.
    Direction {
        /// Either side.
        #[default]
        Both = "both",
        /// The customer alone.
        ToAgent = "to-agent",
        /// The agent alone.
        ToCustomer = "to-customer",
    }
}

words! {
    /// Whether calls are to be recorded.
    Recording {
        /// No.
        #[default]
        Off = "off",
        /// Yes.
        On = "on",
    }
}

words! {
    /// What parties are to be told at the beginning of a call.
    Prompt {
        /// Nothing.
        #[default]
        Off = "off",
        /// That the call is masked or recorded.
        Notice = "notice",
        /// The same, and they have to agree.
        Consent = "consent",
    }
}

words! {
    /// How a party with several addresses is called.
    Ring {
        /// One after the other.
        #[default]
        InOrder = "in-order",
        /// One after the other, each call beginning with the next one.
        InTurn = "in-turn",
        /// All at once, as far as they share a media address.
        Together = "together",
    }
}

/// What a request, a tenant or a kind says of usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageWish {
    /// [`Usage::mode`].
    pub mode: Option<Mode>,
    /// [`Usage::direction`].
    pub direction: Option<Direction>,
    /// [`Usage::max_call`].
    pub max_call: Option<Duration>,
    /// [`Usage::max_calls`].
    pub max_calls: Option<u32>,
    /// [`Usage::idle`].
    pub idle: Option<Duration>,
    /// [`Usage::recording`].
    pub recording: Option<Recording>,
    /// [`Usage::prompt`].
    pub prompt: Option<Prompt>,
    /// [`Usage::ring`].
    pub ring: Option<Ring>,
}

impl UsageWish {
    /// What this says, and `other` where it says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            mode: self.mode.or(other.mode),
            direction: self.direction.or(other.direction),
            max_call: self.max_call.or(other.max_call),
            max_calls: self.max_calls.or(other.max_calls),
            idle: self.idle.or(other.idle),
            recording: self.recording.or(other.recording),
            prompt: self.prompt.or(other.prompt),
            ring: self.ring.or(other.ring),
        }
    }

    /// The same, as it counts.
    #[must_use]
    pub fn over(self, usage: Usage) -> Usage {
        Usage {
            mode: self.mode.unwrap_or(usage.mode),
            direction: self.direction.unwrap_or(usage.direction),
            max_call: self.max_call.or(usage.max_call),
            max_calls: self.max_calls.or(usage.max_calls),
            idle: self.idle.or(usage.idle),
            recording: self.recording.unwrap_or(usage.recording),
            prompt: self.prompt.unwrap_or(usage.prompt),
            ring: self.ring.unwrap_or(usage.ring),
        }
    }
}

/// Why a call is not allowed on a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// It carries texts alone.
    NoVoice,
    /// This side may not begin.
    Direction,
    /// There are as many calls as there may be.
    Calls,
}

impl Forbidden {
    /// The SIP status, and the cause for the record.
    #[must_use]
    pub const fn refusal(self) -> (u16, Cause) {
        match self {
            Self::NoVoice | Self::Direction => (403, Cause::NotAllowed),
            Self::Calls => (486, Cause::TooManyCalls),
        }
    }

    /// What to tell people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoVoice => "the binding is for texts alone",
            Self::Direction => "this side may not call on this binding",
            Self::Calls => "the binding has as many calls as it may",
        }
    }
}

impl Usage {
    /// Whether `caller` may call now that there are so many calls.
    pub fn admits_call(&self, caller: LegName, calls: u32) -> Result<(), Forbidden> {
        let may_begin = match (self.direction, caller) {
            (Direction::Both, _) | (Direction::ToAgent, LegName::A) | (Direction::ToCustomer, LegName::B) => {
                true
            }
            (Direction::ToAgent, LegName::B) | (Direction::ToCustomer, LegName::A) => false,
        };
        match self.mode {
            Mode::Text => Err(Forbidden::NoVoice),
            Mode::Voice | Mode::Both if !may_begin => Err(Forbidden::Direction),
            Mode::Voice | Mode::Both if self.max_calls.is_some_and(|most| calls >= most) => {
                Err(Forbidden::Calls)
            }
            Mode::Voice | Mode::Both => Ok(()),
        }
    }
}
