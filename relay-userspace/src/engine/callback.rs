//! Where a call goes that no live binding connects: words that the
//! configuration, the policy and the records share.
//!
//! A number that was shown to somebody is dialled long after its conversation
//! ended. Such a late call, one of a caller whom nobody knows, and one without an
//! identity go to services of the operator's, where they are configured: the
//! callback IVR, which asks, or an announcement, which tells. Never to a guess.

use serde::{Deserialize, Serialize};

use super::config::TrunkId;
use super::sip::uri::Uri;

/// What late callers of an ended binding meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTombstone {
    /// The other party, as before.
    Connect,
    /// The other party, and the binding lives again.
    Reopen,
    /// The callback IVR.
    #[default]
    Ivr,
    /// The announcement.
    Announcement,
}

/// A service that takes calls in place of a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The callback IVR.
    Ivr,
    /// The announcement.
    Announcement,
}

impl Service {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ivr => "ivr",
            Self::Announcement => "announcement",
        }
    }
}

/// Why a call does not reach a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The binding has ended.
    Ended,
    /// The caller has no binding at this number.
    Unknown,
    /// The caller shows no identity.
    Anonymous,
}

impl Reason {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Unknown => "unknown",
            Self::Anonymous => "anonymous",
        }
    }
}

/// A call that goes to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diversion {
    /// Which.
    pub to: Service,
    /// Why.
    pub because: Reason,
}

impl std::fmt::Display for Diversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.to.as_str(), self.because.as_str())
    }
}

/// Where the services are.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// The callback IVR; without one its callers are refused.
    pub ivr: Option<Target>,
    /// The announcement; the IVR in its place where there is none.
    pub announcement: Option<Target>,
}

/// Where a service is.
#[derive(Clone, Debug)]
pub struct Target {
    /// The trunk that leads to it.
    pub trunk: TrunkId,
    /// The Request-URI.
    pub uri: Uri,
}

impl Services {
    /// The target of a service, and which one it is after all.
    #[must_use]
    pub fn find(&self, service: Service) -> Option<(Service, &Target)> {
        let ivr = || self.ivr.as_ref().map(|target| (Service::Ivr, target));
        match service {
            Service::Ivr => ivr(),
            Service::Announcement => {
                let announcement = self.announcement.as_ref();
                announcement.map(|target| (Service::Announcement, target)).or_else(ivr)
            }
        }
    }
}
