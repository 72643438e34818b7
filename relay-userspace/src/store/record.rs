//! What a stored record looks like, apart from what the engine's types look
//! like today.
//!
//! A record is one byte of version and a postcard encoding of a struct here
//! that never changes once it has shipped; a new shape is a new struct and a
//! new version of that record, and the old one stays readable. What a version of
//! the whole store before today's had in clear is read by `older` alone.

mod audit;
mod call;
mod cdr;
mod number;
mod vault;

pub(super) use vault::WrappedBytes;

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::engine::config::Encryption;
use crate::engine::directory::{
    AgentNumber, Binding, BindingKind, BindingState, Direction, Mode, PairRest, Party, Prompt, Recording,
    Ring, Usage,
};
use crate::engine::guard::{GuardAction, GuardEntry};
use crate::engine::ids::BindingId;
use crate::engine::number::ProxyNumber;
use crate::engine::privacy::VaultId;
use crate::engine::time::Timestamp;

/// A type that can be stored.
pub(super) trait Stored: Sized {
    /// The version of its shape today.
    const VERSION: u8 = 1;
    /// Its shape today.
    type Shape: Serialize + DeserializeOwned;

    fn to_shape(&self) -> Self::Shape;
    fn from_shape(record: Self::Shape) -> Result<Self, String>;

    /// A record of a version before today's; `None` when there was none such.
    fn from_older(_version: u8, _record: &[u8]) -> Option<Result<Self, String>> {
        None
    }
}

/// Version and record.
pub(super) fn encode<T: Stored>(value: &T) -> Result<Vec<u8>, String> {
    postcard::to_extend(&value.to_shape(), vec![T::VERSION]).map_err(|error| error.to_string())
}

/// The value of a record of any version.
pub(super) fn decode<T: Stored>(bytes: &[u8]) -> Result<T, String> {
    let (&version, record) = bytes.split_first().ok_or("it is empty")?;
    if version == T::VERSION {
        return T::from_shape(read(record)?);
    }
    T::from_older(version, record).unwrap_or_else(|| {
        let known = T::VERSION;
        Err(format!("its version is {version}, and this program reads up to {known}; start a newer Vizard"))
    })
}

pub(super) fn read<T: DeserializeOwned>(record: &[u8]) -> Result<T, String> {
    postcard::from_bytes(record).map_err(|error| error.to_string())
}

#[derive(Serialize, Deserialize)]
pub(super) struct BindingV3 {
    id: u128,
    tenant: String,
    project: String,
    kind: u8,
    key: String,
    /// Who, and the number that it sees.
    customer: (u128, String),
    agent: (u128, String),
    created: i64,
    state: StateV1,
    /// Whether the parties may encrypt.
    encryption: Option<EncryptionV2>,
    usage: UsageV3,
    tags: Vec<String>,
    /// Further addresses of the customer and of the agent.
    also: [Vec<u128>; 2],
}

/// Choices by their words, times in microseconds.
#[derive(Serialize, Deserialize)]
struct UsageV3 {
    mode: String,
    direction: String,
    max_call: Option<u64>,
    max_calls: Option<u32>,
    idle: Option<u64>,
    recording: String,
    prompt: String,
    ring: String,
}

impl From<&Usage> for UsageV3 {
    fn from(usage: &Usage) -> Self {
        let time =
            |time: Option<Duration>| time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        Self {
            mode: usage.mode.as_str().to_owned(),
            direction: usage.direction.as_str().to_owned(),
            max_call: time(usage.max_call),
            max_calls: usage.max_calls,
            idle: time(usage.idle),
            recording: usage.recording.as_str().to_owned(),
            prompt: usage.prompt.as_str().to_owned(),
            ring: usage.ring.as_str().to_owned(),
        }
    }
}

impl TryFrom<UsageV3> for Usage {
    type Error = String;

    fn try_from(record: UsageV3) -> Result<Self, String> {
        Ok(Self {
            mode: word(Mode::WORDS, &record.mode)?,
            direction: word(Direction::WORDS, &record.direction)?,
            max_call: record.max_call.map(Duration::from_micros),
            max_calls: record.max_calls,
            idle: record.idle.map(Duration::from_micros),
            recording: word(Recording::WORDS, &record.recording)?,
            prompt: word(Prompt::WORDS, &record.prompt)?,
            ring: word(Ring::WORDS, &record.ring)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum EncryptionV2 {
    Strict,
    EndToEnd,
}

impl From<Encryption> for EncryptionV2 {
    fn from(policy: Encryption) -> Self {
        match policy {
            Encryption::Strict => Self::Strict,
            Encryption::EndToEnd => Self::EndToEnd,
        }
    }
}

impl From<EncryptionV2> for Encryption {
    fn from(policy: EncryptionV2) -> Self {
        match policy {
            EncryptionV2::Strict => Self::Strict,
            EncryptionV2::EndToEnd => Self::EndToEnd,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum StateV1 {
    Live { expires: i64 },
    Entombed { since: i64, until: i64 },
}

impl Stored for Binding {
    const VERSION: u8 = 3;
    type Shape = BindingV3;

    fn to_shape(&self) -> BindingV3 {
        let party = |party: &Party| (party.id.to_bits(), party.proxy.to_string());
        BindingV3 {
            id: self.id.to_bits(),
            tenant: self.tenant.clone(),
            project: self.project.clone(),
            kind: kind_byte(self.kind),
            key: self.key.clone(),
            customer: party(&self.customer),
            agent: party(&self.agent),
            created: self.created.unix_microseconds(),
            state: match self.state {
                BindingState::Live { expires } => StateV1::Live { expires: expires.unix_microseconds() },
                BindingState::Entombed { since, until } => {
                    StateV1::Entombed { since: since.unix_microseconds(), until: until.unix_microseconds() }
                }
            },
            encryption: self.encryption.map(EncryptionV2::from),
            usage: (&self.usage).into(),
            tags: self.tags.clone(),
            also: self.also.each_ref().map(|also| also.iter().map(|id| id.to_bits()).collect()),
        }
    }

    fn from_shape(record: BindingV3) -> Result<Self, String> {
        let party = |(id, number): (u128, String)| {
            Ok::<_, String>(Party { id: VaultId::from_bits(id), proxy: proxy(&number)? })
        };
        Ok(Self {
            id: BindingId::from_bits(record.id),
            tenant: record.tenant,
            project: record.project,
            kind: binding_kind(record.kind)?,
            key: record.key,
            customer: party(record.customer)?,
            agent: party(record.agent)?,
            created: time(record.created),
            state: record.state.into(),
            encryption: record.encryption.map(Encryption::from),
            usage: record.usage.try_into()?,
            tags: record.tags,
            also: record.also.map(|also| also.into_iter().map(VaultId::from_bits).collect()),
        })
    }
}

const fn kind_byte(kind: BindingKind) -> u8 {
    match kind {
        BindingKind::Session => 0,
        BindingKind::Case => 1,
        BindingKind::Customer => 2,
        BindingKind::Agent => 3,
    }
}

pub(super) fn binding_kind(kind: u8) -> Result<BindingKind, String> {
    match kind {
        0 => Ok(BindingKind::Session),
        1 => Ok(BindingKind::Case),
        2 => Ok(BindingKind::Customer),
        3 => Ok(BindingKind::Agent),
        other => Err(format!("{other} is no kind of binding")),
    }
}

impl From<StateV1> for BindingState {
    fn from(state: StateV1) -> Self {
        match state {
            StateV1::Live { expires } => Self::Live { expires: time(expires) },
            StateV1::Entombed { since, until } => Self::Entombed { since: time(since), until: time(until) },
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AgentV1 {
    number: String,
    tenant: String,
    project: String,
    key: String,
    agent: u128,
    also: Vec<u128>,
    ring: String,
    created: i64,
}

/// The choice that a word stands for.
fn word<T: Copy>(words: &[(&str, T)], word: &str) -> Result<T, String> {
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|&(_, value)| value).ok_or_else(|| format!("nothing is called '{word}'"))
}

impl Stored for AgentNumber {
    type Shape = AgentV1;

    fn to_shape(&self) -> AgentV1 {
        AgentV1 {
            number: self.number.to_string(),
            tenant: self.tenant.clone(),
            project: self.project.clone(),
            key: self.key.clone(),
            agent: self.agent.to_bits(),
            also: self.also.iter().map(|id| id.to_bits()).collect(),
            ring: self.ring.as_str().to_owned(),
            created: self.created.unix_microseconds(),
        }
    }

    fn from_shape(record: AgentV1) -> Result<Self, String> {
        Ok(Self {
            number: proxy(&record.number)?,
            tenant: record.tenant,
            project: record.project,
            key: record.key,
            agent: VaultId::from_bits(record.agent),
            also: record.also.into_iter().map(VaultId::from_bits).collect(),
            ring: word(Ring::WORDS, &record.ring)?,
            created: time(record.created),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct RestV2 {
    proxy: String,
    party: u128,
    since: i64,
}

impl Stored for PairRest {
    const VERSION: u8 = 2;
    type Shape = RestV2;

    fn to_shape(&self) -> RestV2 {
        RestV2 {
            proxy: self.proxy.to_string(),
            party: self.party.to_bits(),
            since: self.since.unix_microseconds(),
        }
    }

    fn from_shape(record: RestV2) -> Result<Self, String> {
        Ok(Self {
            proxy: proxy(&record.proxy)?,
            party: VaultId::from_bits(record.party),
            since: time(record.since),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct GuardV1 {
    net: String,
    denies: bool,
    reason: String,
    since: i64,
    until: Option<i64>,
}

impl Stored for GuardEntry {
    type Shape = GuardV1;

    fn to_shape(&self) -> GuardV1 {
        GuardV1 {
            net: self.net.to_string(),
            denies: self.action == GuardAction::Deny,
            reason: self.reason.clone(),
            since: self.since.unix_microseconds(),
            until: self.until.map(Timestamp::unix_microseconds),
        }
    }

    fn from_shape(record: GuardV1) -> Result<Self, String> {
        Ok(Self {
            net: record.net.parse().map_err(|_| "its network is not one".to_owned())?,
            action: if record.denies { GuardAction::Deny } else { GuardAction::Allow },
            reason: record.reason,
            since: time(record.since),
            until: record.until.map(time),
        })
    }
}

pub(super) fn proxy(text: &str) -> Result<ProxyNumber, String> {
    text.parse().map_err(|error| format!("its number: {error}"))
}

pub(super) const fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_unix_microseconds(microseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_version_says_so() {
        let rest = PairRest {
            proxy: "+14155550100".parse().unwrap(),
            party: VaultId::from_bits(300),
            since: time(5),
        };
        let mut bytes = encode(&rest).unwrap();
        assert!(decode::<PairRest>(&bytes).is_ok());
        bytes[0] = 77;
        let problem = decode::<PairRest>(&bytes).err().unwrap();
        assert!(problem.contains("version is 77"), "{problem}");
        assert!(decode::<PairRest>(&[]).is_err());
        assert!(decode::<Binding>(&[Binding::VERSION, 1, 2, 3]).is_err());
    }

    /// A shape never changes: these bytes are in files out there.
    #[test]
    fn a_version_keeps_its_bytes() {
        let rest = PairRest {
            proxy: "+14155550100".parse().unwrap(),
            party: VaultId::from_bits(300),
            since: time(5),
        };
        let bytes = b"\x02\x0c+14155550100\xac\x02\x0a";
        assert_eq!(encode(&rest).unwrap(), bytes);
        assert_eq!(decode::<PairRest>(bytes).unwrap(), rest);
    }
}
