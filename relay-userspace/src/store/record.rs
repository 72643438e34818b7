//! What a stored record looks like, apart from what the engine's types look
//! like today.
//!
//! A record is one byte of version and a postcard encoding of a struct here
//! that never changes once it has shipped; a new shape is a new struct and a
//! new version of that record, and the old one stays readable. Party numbers pass through
//! `reveal` here and nowhere else in the store.

mod call;
mod cdr;
mod number;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::engine::config::Encryption;
use crate::engine::directory::{
    Binding, BindingKind, BindingState, Extension, PairRest, Party, PartyAddress,
};
use crate::engine::guard::{GuardAction, GuardEntry};
use crate::engine::ids::BindingId;
use crate::engine::number::ProxyNumber;
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

fn read<T: DeserializeOwned>(record: &[u8]) -> Result<T, String> {
    postcard::from_bytes(record).map_err(|error| error.to_string())
}

#[derive(Serialize, Deserialize)]
pub(super) enum AddressV1 {
    /// Digits without `+`.
    Number(String),
    Extension {
        trunk: String,
        user: String,
    },
}

fn to_address(address: &PartyAddress) -> AddressV1 {
    match address {
        PartyAddress::Number(number) => AddressV1::Number(number.reveal().to_owned()),
        PartyAddress::Extension { trunk, user } => {
            AddressV1::Extension { trunk: trunk.clone(), user: user.reveal().to_owned() }
        }
    }
}

fn from_address(record: AddressV1) -> Result<PartyAddress, String> {
    match record {
        AddressV1::Number(digits) => {
            let number =
                format!("+{digits}").parse().map_err(|error| format!("a party's number: {error}"))?;
            Ok(PartyAddress::Number(number))
        }
        AddressV1::Extension { trunk, user } => {
            let user = Extension::new(&user).ok_or("a party's extension is not one")?;
            Ok(PartyAddress::Extension { trunk, user })
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct BindingV1 {
    id: u128,
    tenant: String,
    project: String,
    kind: u8,
    key: String,
    customer: (AddressV1, String),
    agent: (AddressV1, String),
    created: i64,
    state: StateV1,
}

/// What came before, and whether the parties may encrypt.
#[derive(Serialize, Deserialize)]
pub(super) struct BindingV2(BindingV1, Option<EncryptionV2>);

#[derive(Serialize, Deserialize)]
enum EncryptionV2 {
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
enum StateV1 {
    Live { expires: i64 },
    Entombed { since: i64, until: i64 },
}

impl Stored for Binding {
    const VERSION: u8 = 2;
    type Shape = BindingV2;

    fn to_shape(&self) -> BindingV2 {
        BindingV2(to_binding(self), self.encryption.map(EncryptionV2::from))
    }

    fn from_shape(BindingV2(record, encryption): BindingV2) -> Result<Self, String> {
        Ok(Self { encryption: encryption.map(Encryption::from), ..from_binding(record)? })
    }

    fn from_older(version: u8, record: &[u8]) -> Option<Result<Self, String>> {
        (version == 1).then(|| from_binding(read(record)?))
    }
}

fn to_binding(binding: &Binding) -> BindingV1 {
    let party = |party: &Party| (to_address(&party.address), party.proxy.to_string());
    BindingV1 {
        id: binding.id.to_bits(),
        tenant: binding.tenant.clone(),
        project: binding.project.clone(),
        kind: match binding.kind {
            BindingKind::Session => 0,
            BindingKind::Case => 1,
            BindingKind::Customer => 2,
            BindingKind::Agent => 3,
        },
        key: binding.key.clone(),
        customer: party(&binding.customer),
        agent: party(&binding.agent),
        created: binding.created.unix_microseconds(),
        state: match binding.state {
            BindingState::Live { expires } => StateV1::Live { expires: expires.unix_microseconds() },
            BindingState::Entombed { since, until } => {
                StateV1::Entombed { since: since.unix_microseconds(), until: until.unix_microseconds() }
            }
        },
    }
}

fn from_binding(record: BindingV1) -> Result<Binding, String> {
    let party = |(address, number): (AddressV1, String)| {
        Ok::<_, String>(Party { address: from_address(address)?, proxy: proxy(&number)? })
    };
    Ok(Binding {
        id: BindingId::from_bits(record.id),
        tenant: record.tenant,
        project: record.project,
        kind: match record.kind {
            0 => BindingKind::Session,
            1 => BindingKind::Case,
            2 => BindingKind::Customer,
            3 => BindingKind::Agent,
            other => return Err(format!("{other} is no kind of binding")),
        },
        key: record.key,
        customer: party(record.customer)?,
        agent: party(record.agent)?,
        created: time(record.created),
        state: match record.state {
            StateV1::Live { expires } => BindingState::Live { expires: time(expires) },
            StateV1::Entombed { since, until } => {
                BindingState::Entombed { since: time(since), until: time(until) }
            }
        },
        encryption: None,
    })
}

/// The binding that holds a pair.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder(pub(super) BindingId);

impl Stored for Holder {
    type Shape = u128;

    fn to_shape(&self) -> u128 {
        self.0.to_bits()
    }

    fn from_shape(record: u128) -> Result<Self, String> {
        Ok(Self(BindingId::from_bits(record)))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct RestV1 {
    proxy: String,
    party: AddressV1,
    since: i64,
}

impl Stored for PairRest {
    type Shape = RestV1;

    fn to_shape(&self) -> RestV1 {
        RestV1 {
            proxy: self.proxy.to_string(),
            party: to_address(&self.party),
            since: self.since.unix_microseconds(),
        }
    }

    fn from_shape(record: RestV1) -> Result<Self, String> {
        Ok(Self {
            proxy: proxy(&record.proxy)?,
            party: from_address(record.party)?,
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

fn proxy(text: &str) -> Result<ProxyNumber, String> {
    text.parse().map_err(|error| format!("its number: {error}"))
}

const fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_unix_microseconds(microseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_version_says_so() {
        let mut bytes = encode(&Holder(BindingId::from_bits(9))).unwrap();
        assert!(decode::<Holder>(&bytes).is_ok());
        bytes[0] = 77;
        let problem = decode::<Holder>(&bytes).err().unwrap();
        assert!(problem.contains("version is 77"), "{problem}");
        assert!(decode::<Holder>(&[]).is_err());
        assert!(decode::<Binding>(&[Binding::VERSION, 1, 2, 3]).is_err());
    }

    #[test]
    fn a_binding_of_the_first_version_has_the_configured_policy() {
        let party = |digits: &str| Party {
            address: PartyAddress::Number(digits.parse().unwrap()),
            proxy: "+14155550100".parse().unwrap(),
        };
        let binding = Binding {
            id: BindingId::from_bits(9),
            tenant: "acme".into(),
            project: "main".into(),
            kind: BindingKind::Case,
            key: "case-9".into(),
            customer: party("+12125551200"),
            agent: party("+12125551201"),
            created: time(5),
            state: BindingState::Live { expires: time(7) },
            encryption: Some(Encryption::EndToEnd),
        };
        let first = postcard::to_extend(&to_binding(&binding), vec![1]).unwrap();
        assert_eq!(decode::<Binding>(&first).unwrap(), Binding { encryption: None, ..binding.clone() });
        assert_eq!(decode::<Binding>(&encode(&binding).unwrap()).unwrap(), binding);
    }

    /// The first shape never changes: these bytes are in files out there.
    #[test]
    fn the_first_version_keeps_its_bytes() {
        let rest = PairRest {
            proxy: "+14155550100".parse().unwrap(),
            party: PartyAddress::Number("+12125551200".parse().unwrap()),
            since: time(5),
        };
        let bytes = b"\x01\x0c+14155550100\x00\x0b12125551200\x0a";
        assert_eq!(encode(&rest).unwrap(), bytes);
        assert_eq!(decode::<PairRest>(bytes).unwrap(), rest);
    }
}
