//! Keys that sort as they are read.
//!
//! Both databases hold one tree each, so that a group of changes is one atomic
//! batch; the first byte of a key says what kind of record it is. Integers are
//! big-endian and times have their sign bit flipped. Ids of parties and bindings
//! begin with the time at which they were drawn, and rests with their party: what is
//! written together lies together, in few pages.

use ipnet::IpNet;

use super::CdrPlace;
use crate::engine::cdr::Cdr;
use crate::engine::ids::{BindingId, ErasureId, LegName, SessionId};
use crate::engine::number::ProxyNumber;
use crate::engine::privacy::{Epoch, VaultId};
use crate::engine::time::Timestamp;

/// Marks a database as ours.
pub(super) const FORMAT: &[u8] = b"!format";
/// Pool numbers.
pub(super) const NUMBERS: &[u8] = b"n";
/// Bindings.
pub(super) const BINDINGS: &[u8] = b"b";
/// Numbers of agents.
pub(super) const AGENTS: &[u8] = b"m";
/// The claims on pairs, which stores had before today's.
pub(super) const PAIRS_BEFORE: &[u8] = b"p";
/// Freed pairs.
pub(super) const RESTS: &[u8] = b"r";
/// What operators have decided about networks.
pub(super) const GUARD: &[u8] = b"g";
/// Call detail records by the time of their end.
pub(super) const CDRS: &[u8] = b"c";

/// Entries of the audit log.
pub(super) const AUDIT: &[u8] = b"a";
/// Sealed parties.
pub(super) const PARTIES: &[u8] = b"v";
/// Wrapped data keys.
pub(super) const DATA_KEYS: &[u8] = b"k";
/// Calls in progress.
pub(super) const CALLS: &[u8] = b"l";

/// Erasures without a certificate.
pub(super) const ERASURES: &[u8] = b"e";

/// Of an erasure.
pub(super) fn erasure(id: ErasureId) -> Vec<u8> {
    [ERASURES, &id.to_bits().to_be_bytes()].concat()
}

/// Of a call in progress.
pub(super) fn call(session: SessionId) -> Vec<u8> {
    [CALLS, &session.to_bits().to_be_bytes()].concat()
}

/// Of an entry of the audit log.
pub(super) fn audit(seq: u64) -> Vec<u8> {
    [AUDIT, &seq.to_be_bytes()].concat()
}

/// The entry that a key of [`audit`] names.
pub(super) fn of_audit(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(AUDIT)?.try_into().ok()?))
}

/// Of a pool number.
pub(super) fn number(number: &ProxyNumber) -> Vec<u8> {
    [NUMBERS, number.digits().as_bytes()].concat()
}

/// Of a binding.
pub(super) fn binding(id: BindingId) -> Vec<u8> {
    [BINDINGS, &id.to_bits().to_be_bytes()].concat()
}

/// Of an agent's number.
pub(super) fn agent(number: &ProxyNumber) -> Vec<u8> {
    [AGENTS, number.digits().as_bytes()].concat()
}

/// Of a party.
pub(super) fn party(id: VaultId) -> Vec<u8> {
    [PARTIES, &id.to_bits().to_be_bytes()].concat()
}

/// The party that a key of [`party`] names.
pub(super) fn of_party(key: &[u8]) -> Option<VaultId> {
    let bits = key.strip_prefix(PARTIES)?.try_into().ok()?;
    Some(VaultId::from_bits(u128::from_be_bytes(bits)))
}

/// Of an epoch's data key.
pub(super) fn data_key(epoch: Epoch) -> Vec<u8> {
    [DATA_KEYS, &epoch.0.to_be_bytes()].concat()
}

/// The epoch that a key of [`data_key`] names.
pub(super) fn of_data_key(key: &[u8]) -> Option<Epoch> {
    Some(Epoch(u32::from_be_bytes(key.strip_prefix(DATA_KEYS)?.try_into().ok()?)))
}

/// Of a pair that rests. A number ends the key, so that it needs no end of its own.
pub(super) fn rest(proxy: &ProxyNumber, party: VaultId) -> Vec<u8> {
    [RESTS, &party.to_bits().to_be_bytes(), proxy.digits().as_bytes()].concat()
}

/// Of a rule of the guard.
pub(super) fn guard(net: &IpNet) -> Vec<u8> {
    [GUARD, net.to_string().as_bytes()].concat()
}

/// Of a call detail record.
pub(super) fn cdr(place: CdrPlace) -> Vec<u8> {
    let CdrPlace { end, session, leg, fork } = place;
    [CDRS, &moment(end), &session.to_bits().to_be_bytes(), &[leg_byte(leg)], fork_byte(&fork)].concat()
}

/// Before every record that ended at a time or later, after all others.
pub(super) fn cdrs_from(end: Timestamp) -> Vec<u8> {
    [CDRS, &moment(end)].concat()
}

/// Of the index entry that finds a record by its session, leg and fork.
pub(super) fn session_leg(cdr: &Cdr) -> Vec<u8> {
    let mut key = session_prefix(cdr.session);
    key.push(leg_byte(cdr.leg));
    key.extend_from_slice(fork_byte(&cdr.fork));
    key
}

/// Before the legs of a session.
pub(super) fn session_prefix(session: SessionId) -> Vec<u8> {
    [b"s".as_slice(), &session.to_bits().to_be_bytes()].concat()
}

/// Of the index entry that finds a record by its binding; ends like the
/// record's own key.
pub(super) fn binding_cdr(binding: BindingId, cdr: &[u8]) -> Vec<u8> {
    let mut key = binding_prefix(binding);
    key.extend_from_slice(&cdr[CDRS.len()..]);
    key
}

/// Before the records of a binding, oldest first.
pub(super) fn binding_prefix(binding: BindingId) -> Vec<u8> {
    [b"i".as_slice(), &binding.to_bits().to_be_bytes()].concat()
}

/// The record's key that an entry of the binding index stands for.
pub(super) fn of_binding_entry(entry: &[u8]) -> Vec<u8> {
    [CDRS, entry.get(1 + 16..).unwrap_or_default()].concat()
}

/// The record's key in text. No key says anything about a party.
pub(super) fn shown(key: &[u8]) -> String {
    let (kind, rest) = key.split_at(key.len().min(1));
    let id = rest.get(..16).and_then(|bytes| bytes.try_into().ok()).map(u128::from_be_bytes);
    match (kind, id) {
        (b"a", _) => of_audit(key).map_or_else(|| rest.escape_ascii().to_string(), |seq| seq.to_string()),
        (b"n" | b"m", _) => format!("+{}", String::from_utf8_lossy(rest)),
        (b"r", _) => format!("+{}", String::from_utf8_lossy(rest.get(16..).unwrap_or_default())),
        (b"b", Some(bits)) => BindingId::from_bits(bits).to_string(),
        (b"l", Some(bits)) => SessionId::from_bits(bits).to_string(),
        (b"v", Some(bits)) => format!("{bits:032x}"),
        _ => rest.escape_ascii().to_string(),
    }
}

fn moment(at: Timestamp) -> [u8; 8] {
    (at.unix_microseconds() ^ i64::MIN).to_be_bytes()
}

const fn leg_byte(leg: LegName) -> u8 {
    match leg {
        LegName::A => b'A',
        LegName::B => b'B',
    }
}

/// Nothing where the call was: such keys are older than forks.
fn fork_byte(fork: &u8) -> &[u8] {
    match fork {
        0 => &[],
        _ => std::slice::from_ref(fork),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_sort_by_time_even_before_the_epoch() {
        let place = |at, fork| {
            let (end, session) = (Timestamp::from_unix_microseconds(at), SessionId::from_bits(1));
            cdr(CdrPlace { end, session, leg: LegName::A, fork })
        };
        let key = |at| place(at, 0);
        assert!(key(-5) < key(-4) && key(-1) < key(0) && key(0) < key(i64::MAX));
        assert!(key(0) < place(0, 1) && place(0, 1) < place(0, 255) && place(0, 255) < key(1));
    }

    #[test]
    fn parties_and_epochs_are_read_from_their_keys() {
        let id = VaultId::from_bits(u128::MAX - 5);
        assert_eq!(of_party(&party(id)), Some(id));
        assert_eq!(of_data_key(&data_key(Epoch(7))), Some(Epoch(7)));
        assert_eq!(of_party(&data_key(Epoch(7))), None);
        assert_eq!(of_audit(&audit(u64::MAX)), Some(u64::MAX));
        assert_eq!(shown(&audit(12)), "12");
    }

    #[test]
    fn what_is_shown_of_a_key_has_no_party_in_it() {
        let proxy: ProxyNumber = "+14155550100".parse().unwrap();
        assert_eq!(shown(&rest(&proxy, VaultId::from_bits(9))), "+14155550100");
        assert_eq!(shown(&party(VaultId::from_bits(9))), format!("{:032x}", 9));
        let id = BindingId::from_bits(7);
        assert_eq!(shown(&binding(id)), id.to_string());
    }
}
