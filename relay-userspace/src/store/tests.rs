//! One contract for every store, and what sled must do besides.

mod contract;
mod durability;
mod files;

use crate::engine::cdr::{Cause, Cdr, Direction, LegMedia, Release, ReleaseSide, Traffic};
use crate::engine::directory::{
    Binding, BindingKind, BindingState, Extension, NumberKind, PairClaim, PairRest, Party, PartyAddress,
    PoolNumber,
};
use crate::engine::encoding::Encoding;
use crate::engine::ids::{BindingId, LegName, SessionId};
use crate::engine::io::{Change, Transaction};
use crate::engine::time::Timestamp;

fn time(at: i64) -> Timestamp {
    Timestamp::from_unix_microseconds(at)
}

fn number(last: u32) -> PoolNumber {
    PoolNumber {
        number: format!("+1415555{last:04}").parse().unwrap(),
        country: "US".parse().unwrap(),
        region: Some("CA".into()),
        locality: None,
        kind: NumberKind::Mobile,
        voice: true,
        sms: false,
        trunk: Some("carrier".into()),
    }
}

fn customer() -> PartyAddress {
    PartyAddress::Number("+12125551200".parse().unwrap())
}

fn binding(id: u128) -> Binding {
    let agent =
        PartyAddress::Extension { trunk: "pbx".into(), user: Extension::new(&format!("{id}")).unwrap() };
    let proxy = number(u32::try_from(id % 10_000).unwrap()).number;
    Binding {
        id: BindingId::from_bits(id),
        tenant: "acme".into(),
        project: "main".into(),
        kind: BindingKind::Case,
        key: format!("case-{id}"),
        customer: Party { address: customer(), proxy },
        agent: Party { address: agent, proxy },
        created: time(5),
        state: BindingState::Entombed { since: time(7), until: time(9) },
    }
}

fn claim(party: &Party, binding: u128) -> PairClaim {
    PairClaim { proxy: party.proxy, party: party.address.clone(), binding: BindingId::from_bits(binding) }
}

/// A creation as the directory proposes it.
fn creation(id: u128) -> Transaction {
    let binding = binding(id);
    let claims = [claim(&binding.customer, id), claim(&binding.agent, id)];
    let mut changes: Vec<_> = claims.into_iter().map(Change::ClaimPair).collect();
    changes.push(Change::PutBinding(binding));
    Transaction { changes }
}

fn cdr(session: u128, leg: LegName, end: i64) -> Cdr {
    Cdr {
        session: SessionId::from_bits(session),
        leg,
        binding: Some(BindingId::from_bits(session % 3)),
        tenant: "acme".into(),
        project: "main".into(),
        direction: Direction::Outbound,
        proxy: Some(number(1).number),
        remote_country: Some("DE".parse().unwrap()),
        trunk: "carrier".into(),
        start: time(1),
        answer: Some(time(2)),
        end: time(end),
        billable_seconds: 3,
        received: Traffic { packets: 4, bytes: 5 },
        sent: Traffic { packets: 6, bytes: 7 },
        media: LegMedia { codec: Some(Encoding::OTHER), ..LegMedia::default() },
        release: Release { side: ReleaseSide::B, cause: Cause::Busy, sip_status: Some(486) },
        emergency: false,
    }
}

fn one(change: Change) -> Transaction {
    Transaction { changes: vec![change] }
}
