//! What an audit entry looks like in the store.

use serde::{Deserialize, Serialize};

use super::{Stored, time};
use crate::engine::audit::entry::Proof;
use crate::engine::audit::{Act, Entry, Who};
use crate::engine::privacy::{Asker, Digest, Role};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct EntryV1 {
    seq: u64,
    at: i64,
    /// User, name, and role, which is empty for none; Vizard itself when absent.
    who: Option<(u32, Option<String>, String)>,
    act: String,
    on: String,
    reason: String,
    before: [u8; 32],
    tag: [u8; 16],
    signature: Vec<u8>,
}

impl Stored for Entry {
    type Shape = EntryV1;

    fn to_shape(&self) -> EntryV1 {
        EntryV1 {
            seq: self.seq,
            at: self.at.unix_microseconds(),
            who: match &self.who {
                Who::Vizard => None,
                Who::User(asker) => {
                    Some((asker.user, asker.name.clone(), asker.role.map_or("", Role::as_str).to_owned()))
                }
            },
            act: self.act.as_str().to_owned(),
            on: self.on.clone(),
            reason: self.reason.clone(),
            before: self.before.0,
            tag: self.proof.tag,
            signature: self.proof.signature.map(Vec::from).unwrap_or_default(),
        }
    }

    fn from_shape(record: EntryV1) -> Result<Self, String> {
        let who = match record.who {
            None => Who::Vizard,
            Some((user, name, role)) => {
                let known = Role::named(&role);
                if known.is_none() && !role.is_empty() {
                    return Err("it names a role that there is not; start a newer Vizard".into());
                }
                Who::User(Asker { user, name, role: known })
            }
        };
        let signature = match record.signature.as_slice() {
            [] => None,
            bytes => Some(bytes.try_into().map_err(|_| "its signature has another length")?),
        };
        Ok(Self {
            seq: record.seq,
            at: time(record.at),
            who,
            act: Act::named(&record.act).ok_or("it names an act that there is not; start a newer Vizard")?,
            on: record.on,
            reason: record.reason,
            before: Digest(record.before),
            proof: Proof { tag: record.tag, signature },
        })
    }
}
