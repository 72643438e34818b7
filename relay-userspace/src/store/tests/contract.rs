//! What every store does alike.

use std::sync::Arc;

use super::*;
use crate::engine::call_record::CallRecord;
use crate::engine::directory::AgentNumber;
use crate::engine::guard::{GuardAction, GuardEntry};
use crate::store::CommitOutcome::{Applied, Conflict};
use crate::store::{CdrQuery, CommitOutcome, MemoryStore, Store};

/// Runs a test on every kind of store.
fn on_each(test: impl Fn(&mut dyn Store)) {
    test(&mut MemoryStore::new(vault()));
    let directory = tempfile::tempdir().unwrap();
    test(&mut open(directory.path()).unwrap());
}

fn commit(store: &mut dyn Store, transaction: Transaction) -> CommitOutcome {
    store.commit(&[transaction]).unwrap()[0]
}

fn query(store: &dyn Store, query: &CdrQuery) -> Vec<Cdr> {
    store.reader().cdrs(query).unwrap().cdrs
}

#[test]
fn what_was_written_is_read_back_the_same() {
    on_each(|store| {
        let binding = binding(77);
        let denied = GuardEntry {
            net: "2001:db8::/32".parse().unwrap(),
            action: GuardAction::Deny,
            reason: "scanner".into(),
            since: time(4),
            until: Some(time(9)),
        };
        let line = AgentNumber {
            number: number(1).number,
            tenant: "acme".into(),
            project: "main".into(),
            key: "a".into(),
            agent: agent(77).id,
            also: vec![VaultId::from_bits(904)],
            ring: directory::Ring::Together,
            created: time(6),
        };
        let rest = PairRest { proxy: number(1).number, party: CUSTOMER, since: time(-3) };
        let changes = vec![
            Change::PutNumbers([number(1)].into()),
            Change::PutParty(party(CUSTOMER, &customer())),
            Change::PutParty(agent(77)),
            Change::PutBinding(binding.clone()),
            Change::PutAgent(line.clone()),
            Change::PutRest(rest),
            Change::record(cdr(1, LegName::A, 10)),
            Change::PutGuard(denied.clone()),
        ];
        assert_eq!(commit(store, Transaction { changes }), Applied);
        let snapshot = store.load().unwrap();
        assert_eq!(snapshot.directory.numbers, [number(1)]);
        assert_eq!(snapshot.directory.parties, [agent(77), party(CUSTOMER, &customer())]);
        assert_eq!(snapshot.directory.bindings, std::slice::from_ref(&binding));
        assert_eq!(snapshot.directory.agents, std::slice::from_ref(&line));
        assert_eq!(snapshot.directory.rests, std::slice::from_ref(&rest));
        assert_eq!(snapshot.directory.guard, std::slice::from_ref(&denied));
        assert_eq!(query(store, &CdrQuery { limit: 9, ..CdrQuery::default() }), [cdr(1, LegName::A, 10)]);
        let changes = vec![
            Change::DeleteNumber(number(1).number),
            Change::DeleteBinding(binding.id),
            Change::DeleteParty(binding.customer.id),
            Change::DeleteParty(binding.agent.id),
            Change::DeleteRest(rest),
            Change::DeleteAgent(line.number),
            Change::DeleteGuard(denied.net),
        ];
        commit(store, Transaction { changes });
        assert_eq!(store.load().unwrap(), crate::engine::call_record::Snapshot::default());
    });
}

#[test]
fn a_call_is_in_progress_or_recorded() {
    on_each(|store| {
        commit(store, one(Change::PutCall(Box::new(call(1)))));
        commit(store, one(Change::PutCall(Box::new(CallRecord { emergency: true, ..call(1) }))));
        commit(store, one(Change::PutCall(Box::new(call(2)))));
        assert_eq!(store.load().unwrap().calls, [CallRecord { emergency: true, ..call(1) }, call(2)]);
        let changes = vec![
            Change::record(cdr(1, LegName::A, 10)),
            Change::record(cdr(1, LegName::B, 10)),
            Change::DeleteCall(SessionId::from_bits(1)),
        ];
        commit(store, Transaction { changes });
        assert_eq!(store.load().unwrap().calls, [call(2)]);
        assert_eq!(query(store, &CdrQuery { limit: 9, ..CdrQuery::default() }).len(), 2);
    });
}

#[test]
fn a_pair_has_one_holder_and_a_conflict_leaves_nothing_behind() {
    on_each(|store| {
        let first = binding(1);
        assert_eq!(commit(store, creation(1)), Applied);
        // Claiming again for the same binding is no conflict.
        assert_eq!(commit(store, creation(1)), Applied);
        let foreign = Transaction {
            changes: vec![
                Change::PutNumbers([number(9)].into()),
                Change::record(cdr(9, LegName::A, 1)),
                Change::ClaimPair(claim(&first.customer, 2)),
                Change::PutBinding(binding(2)),
            ],
        };
        assert_eq!(commit(store, foreign.clone()), Conflict);
        assert_eq!(store.load().unwrap().directory.bindings, std::slice::from_ref(&first));
        assert_eq!(store.load().unwrap().directory.numbers, []);
        assert_eq!(query(store, &CdrQuery { limit: 9, ..CdrQuery::default() }), []);
        // Only the holder frees a pair.
        commit(store, one(Change::ReleasePair(claim(&first.customer, 2))));
        assert_eq!(commit(store, foreign.clone()), Conflict);
        commit(store, one(Change::ReleasePair(claim(&first.customer, 1))));
        assert_eq!(commit(store, foreign), Applied);
    });
}

#[test]
fn a_group_sees_what_came_before_in_it() {
    on_each(|store| {
        let pair = binding(1).customer;
        let group = [
            one(Change::ClaimPair(claim(&pair, 1))),
            one(Change::ClaimPair(claim(&pair, 2))),
            one(Change::ReleasePair(claim(&pair, 1))),
            one(Change::ClaimPair(claim(&pair, 2))),
            Transaction {
                changes: vec![Change::PutNumbers([number(3)].into()), Change::ClaimPair(claim(&pair, 1))],
            },
        ];
        assert_eq!(store.commit(&group).unwrap(), [Applied, Conflict, Applied, Applied, Conflict]);
        assert_eq!(store.load().unwrap().directory.numbers, []);
        assert_eq!(commit(store, one(Change::ClaimPair(claim(&pair, 2)))), Applied);
        assert_eq!(store.commit(&[]).unwrap(), []);
    });
}

#[test]
fn records_are_read_newest_first_by_call_and_by_binding() {
    on_each(|store| {
        let group: Vec<_> = (0..60_u128)
            .flat_map(|session| {
                // Ends in another order than sessions.
                let end = i64::try_from(session * 37 % 60).unwrap();
                [LegName::A, LegName::B].map(|leg| one(Change::record(cdr(session, leg, end))))
            })
            .collect();
        store.commit(&group).unwrap();
        let all = query(store, &CdrQuery { limit: 1_000, ..CdrQuery::default() });
        assert_eq!(all.len(), 120);
        assert!(all.is_sorted_by_key(|cdr| std::cmp::Reverse(cdr.end)));
        let newest = query(store, &CdrQuery { limit: 7, ..CdrQuery::default() });
        assert_eq!(newest, all[..7]);
        let session = Some(SessionId::from_bits(5));
        let legs = query(store, &CdrQuery { session, limit: 9, ..CdrQuery::default() });
        assert_eq!(legs.iter().map(|cdr| cdr.leg).collect::<Vec<_>>(), [LegName::B, LegName::A]);
        let binding = Some(BindingId::from_bits(2));
        let of_binding = query(store, &CdrQuery { binding, limit: 1_000, ..CdrQuery::default() });
        let expected: Vec<_> = all.iter().filter(|cdr| cdr.binding == binding).cloned().collect();
        assert_eq!(of_binding, expected);
        assert_eq!(
            query(store, &CdrQuery { session, binding, limit: 1_000, ..CdrQuery::default() }).len(),
            2
        );
        let other = Some(BindingId::from_bits(1));
        assert_eq!(
            query(store, &CdrQuery { session, binding: other, limit: 1_000, ..CdrQuery::default() }),
            []
        );
        assert_eq!(query(store, &CdrQuery { session, binding, limit: 0, ..CdrQuery::default() }), []);
        for (session, binding) in [(None, None), (None, binding), (session, None)] {
            let whole = query(store, &CdrQuery { session, binding, limit: 1_000, ..CdrQuery::default() });
            for limit in [1, 7] {
                let query = CdrQuery { session, binding, limit, ..CdrQuery::default() };
                assert_eq!(pages(store, &query), whole);
            }
        }
    });
}

type Matches = fn(&Cdr) -> bool;

#[test]
fn a_filter_leaves_out_what_it_says_however_long_the_pages_are() {
    on_each(|store| {
        let records: Vec<Cdr> = (0..50_u8)
            .map(|at| {
                let cause = [Cause::Busy, Cause::Normal, Cause::NoAnswer][usize::from(at % 3)];
                let mut cdr = cdr(u128::from(at % 7), LegName::B, i64::from(at));
                (cdr.fork, cdr.release.cause) = (at, cause);
                (cdr.tenant, cdr.trunk) = (format!("t{}", at % 2), format!("k{}", at % 5));
                cdr
            })
            .collect();
        store
            .commit(&records.iter().cloned().map(|cdr| one(Change::record(cdr))).collect::<Vec<_>>())
            .unwrap();
        let whole = query(store, &CdrQuery { limit: 100, ..CdrQuery::default() });
        assert_eq!(whole.len(), 50, "each fork has a record of its own");
        let filters: [(CdrQuery, Matches); 5] = [
            (CdrQuery { cause: Some(Cause::Busy), ..CdrQuery::default() }, |cdr| cdr.fork % 3 == 0),
            (CdrQuery { tenant: Some("t1".into()), ..CdrQuery::default() }, |cdr| cdr.fork % 2 == 1),
            (CdrQuery { trunk: Some("k4".into()), ..CdrQuery::default() }, |cdr| cdr.fork % 5 == 4),
            (CdrQuery { since: Some(time(10)), until: Some(time(20)), ..CdrQuery::default() }, |cdr| {
                (10..20).contains(&cdr.fork)
            }),
            (CdrQuery { proxy: Some("+19998887766".parse().unwrap()), ..CdrQuery::default() }, |_| false),
        ];
        for (filter, matches) in filters {
            let expected: Vec<_> = whole.iter().filter(|cdr| matches(cdr)).cloned().collect();
            for session in [None, Some(SessionId::from_bits(3))] {
                let expected: Vec<_> = expected
                    .iter()
                    .filter(|cdr| session.is_none_or(|id| cdr.session == id))
                    .cloned()
                    .collect();
                for limit in [1, 4, 100] {
                    assert_eq!(pages(store, &CdrQuery { session, limit, ..filter.clone() }), expected);
                }
            }
        }
    });
}

/// Everything that matches, read in pages.
fn pages(store: &dyn Store, query: &CdrQuery) -> Vec<Cdr> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let query = CdrQuery { after, ..query.clone() };
        let page = store.reader().cdrs(&query).unwrap();
        all.extend(page.cdrs);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[test]
fn a_record_that_is_written_again_counts_once() {
    on_each(|store| {
        let first = cdr(4, LegName::A, 10);
        let again = Cdr { end: time(20), binding: Some(BindingId::from_bits(8)), ..first.clone() };
        commit(store, one(Change::record(first.clone())));
        let group = [one(Change::record(again.clone())), one(Change::record(again.clone()))];
        store.commit(&group).unwrap();
        let all = query(store, &CdrQuery { limit: 9, ..CdrQuery::default() });
        assert_eq!(all, std::slice::from_ref(&again));
        let of = |binding| query(store, &CdrQuery { binding, limit: 9, ..CdrQuery::default() });
        assert_eq!(of(first.binding), []);
        assert_eq!(of(again.binding), std::slice::from_ref(&again));
    });
}

#[test]
fn a_new_epoch_seals_what_is_new_and_an_old_one_ends_when_nothing_needs_it() {
    on_each(|store| {
        let put = |store: &mut dyn Store, call: CallRecord| {
            commit(store, Transaction { changes: vec![Change::PutCall(Box::new(call))] });
        };
        commit(store, creation(7));
        put(store, call(1));
        let mut keyring = keyring();
        let epoch = keyring.add_epoch(&mut random(5)).unwrap();
        let new = Arc::new(store.vault().begin(&keyring, &mut random(6)).unwrap());
        commit(store, Transaction { changes: vec![Change::BeginEpoch(Arc::clone(&new))] });
        assert_eq!(store.vault().newest(), epoch);
        let before = store.load().unwrap();
        assert_eq!(store.vault_reader().sealed_before(epoch).unwrap(), 3);
        let resealed = before.directory.parties.iter().map(|party| store.vault().reseal(party).unwrap());
        let changes = resealed.map(Change::PutParty).collect();
        commit(store, Transaction { changes });
        assert_eq!(store.vault_reader().sealed_before(epoch).unwrap(), 1);
        put(store, call(1));
        assert_eq!(store.vault_reader().sealed_before(epoch).unwrap(), 0);
        commit(store, Transaction { changes: vec![Change::EndEpochs(epoch)] });
        assert_eq!(store.vault().epochs().collect::<Vec<_>>(), [epoch]);
        let after = store.load().unwrap();
        assert_eq!((after.directory.bindings, after.calls), (before.directory.bindings, before.calls));
        let addresses = |parties: &[SealedParty]| {
            parties.iter().map(|party| new.vault.unseal(party.id, &party.sealed)).collect::<Vec<_>>()
        };
        assert_eq!(addresses(&after.directory.parties), addresses(&before.directory.parties));
    });
}

#[test]
fn records_whose_time_is_over_go_with_their_indices_the_oldest_first() {
    on_each(|store| {
        for session in 0..6 {
            let end = i64::try_from(session).unwrap() * 10;
            commit(store, one(Change::record(cdr(session, LegName::A, end))));
        }
        let drop = |store: &mut dyn Store, most| {
            commit(store, one(Change::DropCdrs { before: time(35), most }));
            query(store, &CdrQuery { limit: 9, ..CdrQuery::default() }).len()
        };
        assert_eq!(store.reader().cdrs_before(time(35)).unwrap(), 4);
        assert_eq!(drop(store, 1), 5);
        assert_eq!(drop(store, 100), 2);
        assert_eq!((drop(store, 100), store.reader().cdrs_before(time(35)).unwrap()), (2, 0));
        let session = Some(SessionId::from_bits(0));
        assert_eq!(query(store, &CdrQuery { session, limit: 9, ..CdrQuery::default() }), []);
        let binding = Some(BindingId::from_bits(0));
        assert_eq!(query(store, &CdrQuery { binding, limit: 9, ..CdrQuery::default() }), []);
        let binding = Some(BindingId::from_bits(1));
        assert_eq!(query(store, &CdrQuery { binding, limit: 9, ..CdrQuery::default() }).len(), 1);
    });
}
