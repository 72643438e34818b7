//! What is asked about unmasking, and what is answered.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::engine::ids::{BindingId, IdError, PartyId, SessionId};
use crate::engine::number::{ProxyNumber, Typed};
use crate::engine::privacy::Asker;
use crate::engine::time::Timestamp;

/// Whose parties are to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A call's, in progress or recorded.
    Session(SessionId),
    /// A binding's.
    Binding(BindingId),
}

impl Subject {
    /// Itself, and its binding where that is another thing.
    #[must_use]
    pub fn with(self, binding: BindingId) -> String {
        match self {
            Self::Session(session) => format!("{session} {binding}"),
            Self::Binding(_) => binding.to_string(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => session.fmt(f),
            Self::Binding(binding) => binding.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.starts_with("bind_") {
            text.parse().map(Self::Binding)
        } else {
            text.parse().map(Self::Session)
        }
    }
}

/// A request about unmasking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "unmask")]
pub enum UnmaskRequest {
    /// Show the numbers of the parties, or ask a second person to let them be
    /// shown.
    Show {
        /// Whose.
        of: Subject,
        /// Why.
        reason: String,
        /// The binding that the call's record names; whoever reads records fills
        /// it in, the asker cannot.
        #[serde(skip)]
        recorded: Option<BindingId>,
    },
    /// Requests that wait.
    List,
    /// Let somebody else's request be shown to them.
    Approve {
        /// Which.
        id: u64,
    },
    /// End a request; whoever made it may, too.
    Reject {
        /// Which.
        id: u64,
    },
    /// Show what an approved request of one's own asks for, once.
    Fetch {
        /// Which.
        id: u64,
    },
}

/// The answer to an [`UnmaskRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "unmask", content = "is")]
pub enum UnmaskReply {
    /// To [`UnmaskRequest::Show`] and [`UnmaskRequest::Fetch`].
    Parties(Unmasked),
    /// To [`UnmaskRequest::Show`] under the two-person rule.
    Waiting(WaitingView),
    /// To [`UnmaskRequest::List`].
    Requests(Vec<WaitingView>),
    /// To [`UnmaskRequest::Approve`].
    Approved(WaitingView),
    /// To [`UnmaskRequest::Reject`].
    Rejected(WaitingView),
}

/// Parties in clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmasked {
    /// What was asked about.
    pub of: Subject,
    /// The binding.
    pub binding: BindingId,
    /// Its customer.
    pub customer: Revealed,
    /// Its agent.
    pub agent: Revealed,
}

/// A party in clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revealed {
    /// Its pseudonym.
    pub party: PartyId,
    /// The number that it dials and sees.
    pub proxy: ProxyNumber,
    /// `+14155550100`, or `extension@trunk`. Never prints of itself.
    pub address: Typed,
}

/// A request that waits for a second person, or for whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingView {
    /// The number of the audit entry that it was made with.
    pub id: u64,
    /// Whose parties are to be shown.
    pub of: Subject,
    /// The binding.
    pub binding: BindingId,
    /// Who made it.
    pub asker: Asker,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub since: Timestamp,
    /// When it expires.
    pub until: Timestamp,
    /// Who let it be shown.
    pub approved_by: Option<Asker>,
}
