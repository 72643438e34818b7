//! One entry, and what is proven about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::privacy::notary::{SIGNATURE_BYTES, bytes, hex};
use crate::engine::privacy::{Asker, Digest, Notary, Role};
use crate::engine::time::Timestamp;

/// What tags of entries are for.
const TAG: &[u8] = b"vizard audit entry";
/// What signatures of seals are for.
const SEAL: &[u8] = b"vizard audit seal";

/// Declares acts, their words and what people read, in one place.
macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Act {
            $($(#[$doc])* $name,)*
        }

        impl Act {
            /// Every act.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word for it, which never changes: digests hold it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

acts! {
    /// A call's packets were copied, far ends masked.
    Capture = "capture",
    /// A call's packets were copied with real addresses.
    CaptureUnmasked = "capture-unmasked",
    /// A binding got more time.
    BindExtend = "bind-extend",
    /// A binding that had ended was brought back.
    BindReopen = "bind-reopen",
    /// A binding was ended.
    BindClose = "bind-close",
    /// Another party took a side of a binding.
    BindHandover = "bind-handover",
    /// An agent got a number.
    AgentOpen = "agent-open",
    /// An agent's number was taken back.
    AgentClose = "agent-close",
    /// A call was hung up.
    CallHangup = "call-hangup",
    /// New calls are refused from then on.
    DrainOn = "drain-on",
    /// New calls are taken again.
    DrainOff = "drain-off",
    /// Numbers joined the pool.
    PoolAdd = "pool-add",
    /// Numbers left the pool.
    PoolRemove = "pool-remove",
    /// Numbers became active, draining, quarantined or disabled.
    PoolSetState = "pool-set-state",
    /// A file of numbers joined the pool.
    PoolImport = "pool-import",
    /// A network was allowed.
    GuardAllow = "guard-allow",
    /// A network was denied.
    GuardDeny = "guard-deny",
    /// What was decided about a network is forgotten.
    GuardRemove = "guard-remove",
    /// Keys were changed.
    VaultRotate = "vault-rotate",
    /// The store was copied.
    Backup = "backup",
    /// The store was made of a copy.
    Restore = "restore",
    /// What is held about a person was shown.
    PrivacyExport = "privacy-export",
    /// A person was erased.
    PrivacyErase = "privacy-erase",
    /// What its time was over for was dropped.
    PrivacyRetain = "privacy-retain",
    /// The numbers of parties were shown.
    Unmask = "unmask",
    /// A second person was asked to let them be shown.
    UnmaskRequest = "unmask-request",
    /// A second person lets them be shown.
    UnmaskApprove = "unmask-approve",
    /// Such a request was ended.
    UnmaskReject = "unmask-reject",
    /// Nobody answered such a request in time.
    UnmaskExpire = "unmask-expire",
    /// Somebody asked for something that they may not.
    Denied = "denied",
    /// Everything before was signed.
    Seal = "seal",
    /// A start found that the log did not end where it should.
    Mend = "mend",
}

impl Act {
    /// The act that has this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|act| act.as_str() == word)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Vizard, of itself.
    Vizard,
    /// Somebody at the local socket.
    User(Asker),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vizard => f.write_str("vizard"),
            Self::User(asker) => match &asker.name {
                Some(name) => write!(f, "{name} ({})", asker.user),
                None => write!(f, "{}", asker.user),
            },
        }
    }
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from one.
    pub seq: u64,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Who did it.
    pub who: Who,
    /// What was done.
    pub act: Act,
    /// To what: an id, a network, a number of things. Never a party's number.
    pub on: String,
    /// Why, as whoever did it said.
    pub reason: String,
    /// The digest of the entry before.
    pub before: Digest,
    /// What proves it.
    pub proof: Proof,
}

/// What proves that an entry is Vizard's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ProofText", into = "ProofText")]
pub struct Proof {
    /// Takes the keys to make and to check.
    pub tag: [u8; 16],
    /// A seal's, over the entry and thereby over everything before it.
    pub signature: Option<[u8; SIGNATURE_BYTES]>,
}

/// A proof in hexadecimal.
#[derive(Serialize, Deserialize)]
struct ProofText {
    tag: String,
    signature: Option<String>,
}

impl From<Proof> for ProofText {
    fn from(proof: Proof) -> Self {
        Self { tag: hex(&proof.tag), signature: proof.signature.map(|signature| hex(&signature)) }
    }
}

impl TryFrom<ProofText> for Proof {
    type Error = &'static str;

    fn try_from(text: ProofText) -> Result<Self, Self::Error> {
        let malformed = "a proof is hexadecimal digits";
        let signature = text.signature.map(|signature| bytes(&signature).ok_or(malformed)).transpose()?;
        Ok(Self { tag: bytes(&text.tag).ok_or(malformed)?, signature })
    }
}

impl Entry {
    /// What the next entry holds of this one. Every field counts, each behind its
    /// length, so that no two entries have the same bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut text = b"vizard audit entry 1\0".to_vec();
        let mut put = |field: &[u8]| {
            let length = u64::try_from(field.len()).unwrap_or(u64::MAX);
            text.extend_from_slice(&length.to_be_bytes());
            text.extend_from_slice(field);
        };
        put(&self.seq.to_be_bytes());
        put(&self.at.unix_microseconds().to_be_bytes());
        match &self.who {
            Who::Vizard => put(b"vizard"),
            Who::User(Asker { user, name, role }) => {
                put(&user.to_be_bytes());
                put(name.as_ref().map_or(b"-", |_| b"+"));
                put(name.as_deref().unwrap_or_default().as_bytes());
                put(role.map_or("", Role::as_str).as_bytes());
            }
        }
        put(self.act.as_str().as_bytes());
        put(self.on.as_bytes());
        put(self.reason.as_bytes());
        put(&self.before.0);
        Digest::of(&text)
    }

    /// With its proof; a seal's has a signature.
    pub(super) fn proven(mut self, notary: &Notary) -> Self {
        let digest = self.digest();
        let signature = (self.act == Act::Seal).then(|| notary.sign(SEAL, &digest));
        self.proof = Proof { tag: notary.tag(TAG, &digest), signature };
        self
    }

    /// Whether its tag is the notary's.
    #[must_use]
    pub fn is_genuine(&self, notary: &Notary) -> bool {
        notary.is_tag(TAG, &self.digest(), &self.proof.tag)
    }

    /// Whether it is signed as a seal must be, and nothing else is.
    #[must_use]
    pub fn is_well_sealed(&self, notary: &Notary) -> bool {
        match &self.proof.signature {
            Some(signature) => self.act == Act::Seal && notary.is_signed(SEAL, &self.digest(), signature),
            None => self.act != Act::Seal,
        }
    }
}
