//! One contract for every store, and what sled must do besides.

mod audit;
mod contract;
pub(super) mod copies;
mod durability;
pub(super) mod files;
pub(super) mod secrecy;

use std::net::SocketAddr;
use std::path::Path;

use crate::engine::call_record::{
    AckRecord, CallRecord, DialogRecord, EndRecord, LegRecord, Mux, SessionRecord, StreamRecord,
    Unacknowledged,
};
use crate::engine::cdr::{Cause, Cdr, Direction, Labels, LegMedia, Release, ReleaseSide, Traffic};
use crate::engine::config::Encryption;
use crate::engine::directory;
use crate::engine::directory::{
    Binding, BindingKind, BindingState, Extension, NumberKind, NumberState, NumberTraits, PairClaim,
    PairRest, Party, PartyAddress, PoolNumber,
};
use crate::engine::encoding::Encoding;
use crate::engine::flow::{Carrier, ExtensionIds, MediaPath, PayloadTypes, Quality, Transport};
use crate::engine::ids::{BindingId, LegName, PartyId, RecordId, SessionId};
use crate::engine::io::{Change, Transaction};
use crate::engine::privacy::tests::{keyring, random, vault};
use crate::engine::privacy::{SealedParty, VaultId};
use crate::engine::sip::dialog::{Dialog, DialogId, DialogParts};
use crate::engine::sip::transport;
use crate::engine::sip::uri::Uri;
use crate::engine::time::Timestamp;
use crate::store::{SledStore, StoreError};

pub(super) fn time(at: i64) -> Timestamp {
    Timestamp::from_unix_microseconds(at)
}

pub(super) fn number(last: u32) -> PoolNumber {
    PoolNumber {
        number: format!("+1415555{last:04}").parse().unwrap(),
        country: "US".parse().unwrap(),
        traits: NumberTraits {
            region: Some("CA".into()),
            kind: NumberKind::Mobile,
            trunk: Some("carrier".into()),
            carrier: Some("Example Telecom".into()),
            monthly_cost: Some("1.15 USD".parse().unwrap()),
            tags: vec!["sales".into()],
            state: NumberState::Draining,
            ..NumberTraits::default()
        },
    }
}

fn customer() -> PartyAddress {
    PartyAddress::Number("+12125551200".parse().unwrap())
}

/// The customer's party in the store.
const CUSTOMER: VaultId = VaultId::from_bits(1 << 100);

fn party(id: VaultId, address: &PartyAddress) -> SealedParty {
    vault().seal(id, address)
}

fn agent(id: u128) -> SealedParty {
    let user = Extension::new(&format!("{id}")).unwrap();
    party(VaultId::from_bits(id), &PartyAddress::Extension { trunk: "pbx".into(), user })
}

pub(super) fn open(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(path, &keyring(), &mut random(2))
}

pub(super) fn binding(id: u128) -> Binding {
    let proxy = number(u32::try_from(id % 10_000).unwrap()).number;
    Binding {
        id: BindingId::from_bits(id),
        tenant: "acme".into(),
        project: "main".into(),
        kind: BindingKind::Case,
        key: format!("case-{id}"),
        customer: Party { id: CUSTOMER, proxy },
        agent: Party { id: VaultId::from_bits(id), proxy },
        created: time(5),
        state: BindingState::Entombed { since: time(7), until: time(9) },
        encryption: Some(Encryption::EndToEnd),
        usage: directory::Usage {
            mode: directory::Mode::Voice,
            direction: directory::Direction::ToCustomer,
            max_call: Some(std::time::Duration::from_mins(5)),
            max_calls: Some(2),
            idle: Some(std::time::Duration::from_hours(3)),
            recording: directory::Recording::On,
            prompt: directory::Prompt::Consent,
            ring: directory::Ring::Together,
        },
        tags: vec!["vip".into()],
        also: [vec![VaultId::from_bits(901)], vec![VaultId::from_bits(902), VaultId::from_bits(903)]],
    }
}

pub(super) fn claim(party: &Party, binding: u128) -> PairClaim {
    PairClaim { proxy: party.proxy, party: party.id, binding: BindingId::from_bits(binding) }
}

/// A creation as the directory proposes it.
pub(super) fn creation(id: u128) -> Transaction {
    let binding = binding(id);
    let claims = [claim(&binding.customer, id), claim(&binding.agent, id)];
    let parties = [party(CUSTOMER, &customer()), agent(id)].map(Change::PutParty);
    let mut changes: Vec<_> = parties.into_iter().chain(claims.map(Change::ClaimPair)).collect();
    changes.push(Change::PutBinding(binding));
    Transaction { changes }
}

fn cdr(session: u128, leg: LegName, end: i64) -> Cdr {
    Cdr {
        id: RecordId::of(SessionId::from_bits(session), leg, 0),
        version: 0,
        interim: None,
        fork: 0,
        session: SessionId::from_bits(session),
        leg,
        binding: Some(BindingId::from_bits(session % 3)),
        tenant: "acme".into(),
        project: "main".into(),
        labels: Labels {
            kind: Some(BindingKind::Case),
            key: Some("case-7".into()),
            agent: Some(PartyId::from_bits(5)),
            tags: vec!["gold".into()],
        },
        direction: Direction::Outbound,
        proxy: Some(number(1).number),
        remote_country: Some("DE".parse().unwrap()),
        remote_area: None,
        trunk: "carrier".into(),
        start: time(1),
        ring: Some(time(1)),
        answer: Some(time(2)),
        end: time(end),
        duration_us: 4,
        billable_seconds: 3,
        cost: None,
        price: None,
        received: Traffic { packets: 4, bytes: 5 },
        sent: Traffic { packets: 6, bytes: 7 },
        media: LegMedia { codec: Some(Encoding::OTHER), ..LegMedia::default() },
        release: Release { side: ReleaseSide::B, cause: Cause::Busy, sip_status: Some(486) },
        emergency: false,
        diversion: None,
        recording: None,
        attestation: None,
    }
}

/// A call with something in every field.
fn call(session: u128) -> CallRecord {
    let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
    let uri = |text: &str| Uri::parse(text).unwrap();
    let dialog = Dialog::restored(DialogParts {
        id: DialogId { call_id: "c".into(), local_tag: "l".into(), remote_tag: String::new() },
        local_uri: uri("sip:+14155550100@192.0.2.1"),
        remote_uri: uri("tel:+12125551200"),
        local_cseq: 7,
        remote_cseq: Some(9),
        route_set: vec!["<sip:192.0.2.3;lr>".into()],
        remote_target: uri("sip:x@[2001:db8::1]:5070"),
        secure: true,
    });
    let leg = |direction, dialog| LegRecord {
        trunk: "carrier".into(),
        direction,
        proxy: Some(number(1).number),
        remote: "+1 212 •••".into(),
        remote_country: Some("US".parse().unwrap()),
        remote_area: Some("NY".parse().unwrap()),
        start: time(1),
        ring: Some(time(2)),
        answer: Some(time(2)),
        end: Some(time(3)),
        status: Some(200),
        dialog,
    };
    let dialog = DialogRecord {
        dialog,
        contact: uri("sip:192.0.2.1:5060"),
        local: at(5060),
        peer: at(5061),
        sent_by: at(5062),
        transport: transport::Transport::Tls,
        invite_cseq: 6,
        acked: Some(AckRecord { cseq: 6, session: Some(b"v=0".to_vec()) }),
        origin: 11,
        version: 12,
        session: Some(SessionRecord {
            interval: 1800,
            ours: true,
            takes_update: false,
            said: Some("v=0".to_owned()),
        }),
    };
    let end = EndRecord {
        far: Some((at(1), at(2))),
        allowed: "2001:db8::/32".parse().unwrap(),
        generation: 3,
        payload_types: PayloadTypes::from_iter([0, 101]),
        sends: true,
        receives: false,
    };
    let quality = Quality { expected: 1, lost: 2, reordered: 3, jitter_us: 4, ..Quality::default() };
    CallRecord {
        session: SessionId::from_bits(session),
        binding: Some(BindingId::from_bits(9)),
        tenant: "acme".into(),
        project: "main".into(),
        caller: LegName::B,
        emergency: false,
        diversion: None,
        legs: [leg(Direction::Outbound, None), leg(Direction::Inbound, Some(dialog))],
        streams: vec![
            None,
            Some(StreamRecord {
                ports: [at(40_000), at(40_002)],
                ends: [None, Some(end)],
                closed: vec![(at(40_001), "192.0.2.7/32".parse().unwrap())],
                codec: Encoding::named("opus"),
                clock_rate: 48_000,
                transport: Transport::Srtp { dtls: true },
                extensions: ExtensionIds::default().with(1).with(14),
                ice: [None, None],
                mux: [Mux::Agreed, Mux::No],
                audio: true,
            }),
        ],
        codec: Some(Encoding::named("opus")),
        carrier: Some(Carrier::new(MediaPath::XdpGeneric, "the MTU is 9000")),
        received: [(Traffic { packets: 4, bytes: 5 }, quality), Default::default()],
        one_way: [true, false],
        unacknowledged: Some(Unacknowledged {
            leg: LegName::A,
            cseq: 5,
            remote: at(5063),
            otherwise: Some(at(5064)),
            bytes: b"SIP/2.0".to_vec(),
        }),
        release: Some(Release { side: ReleaseSide::B, cause: Cause::Busy, sip_status: Some(486) }),
    }
}

fn one(change: Change) -> Transaction {
    Transaction { changes: vec![change] }
}
