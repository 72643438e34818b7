//! Forgetting a person, and new keys for everybody else.

use super::*;
use crate::engine::io::Change as Stored;
use crate::engine::privacy::Epoch;

const OTHER: &str = "+12125551300";
const NUMBERS: [&str; 4] = ["+14155550100", "+14155550101", "+14155550102", "+14155550103"];

fn erase(person: &str) -> AdminRequest {
    AdminRequest::PrivacyErase { person: Typed(person.into()) }
}

fn show(person: &str) -> AdminRequest {
    AdminRequest::PrivacyShow { person: Typed(person.into()), after: None }
}

impl World {
    /// Asks for an erasure, and lets it come to its end.
    fn erase(&mut self, person: &str) -> AdminReply {
        self.next += 1;
        assert!(self.directory.handle_admin(at(10), RequestId(self.next), erase(person)).is_none());
        let mut replies = self.settle(at(10));
        for milliseconds in 0..100 {
            let now = at(10).after(Duration::from_millis(milliseconds * 5));
            self.directory.handle_timeout(now);
            replies.extend(self.settle(now));
        }
        assert_eq!(replies.len(), 1);
        replies.remove(0).1
    }

    /// Starts again from what the store has.
    pub(super) fn restart(&mut self, now: Now) {
        let mut snapshot = Snapshot::default();
        for change in self.committed.iter().flat_map(|transaction| &transaction.changes) {
            match change.clone() {
                Stored::PutNumbers(numbers) => snapshot.numbers.extend(numbers.iter().cloned()),
                Stored::PutParty(party) => {
                    snapshot.parties.retain(|known| known.id != party.id);
                    snapshot.parties.push(party);
                }
                Stored::PutBinding(binding) => {
                    snapshot.bindings.retain(|known| known.id != binding.id);
                    snapshot.bindings.push(binding);
                }
                Stored::PutAgent(agent) => snapshot.agents.push(agent),
                Stored::PutRest(rest) => snapshot.rests.push(rest),
                Stored::DeleteParty(_) | Stored::DeleteBinding(_) | Stored::DeleteAgent(_) => {
                    panic!("nothing of this goes")
                }
                _ => {}
            }
        }
        let (config, vault) = (Arc::clone(&self.directory.config), Arc::clone(&self.vault));
        self.directory = Directory::new(config, vault, [8; 32], now, snapshot);
        assert_eq!(self.directory.counts.dropped_at_start, 0);
    }

    fn records(&self) -> Vec<SealedParty> {
        let changes = self.committed.iter().flat_map(|transaction| &transaction.changes);
        let party = |change: &Stored| match change {
            Stored::PutParty(party) => Some(party.clone()),
            _ => None,
        };
        changes.filter_map(party).collect()
    }
}

#[test]
fn an_erased_person_is_nobody_any_more_and_everybody_else_has_new_keys() {
    let mut world = World::new(&NUMBERS);
    let first = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    let second = world.bind(at(1), wanted("k2", OTHER, AGENT));
    let AdminReply::Erasing(view) = world.erase(CUSTOMER) else { panic!("not erased") };
    assert_eq!((view.epoch, view.ended, view.tombstones), (2, 1, 1));

    // The address was never sealed under what is left, and nothing else is lost.
    let shrunk: Vec<_> = world.records().into_iter().filter(|party| party.sealed.is_erased()).collect();
    assert_eq!(shrunk.len(), 1);
    let id = shrunk[0].id;
    for party in world.records().iter().filter(|party| party.id == id) {
        assert_eq!(world.vault.unseal(id, &party.sealed), None, "{:?}", party.sealed);
    }
    let newest = world.records().into_iter().filter(|party| party.sealed.epoch() == Epoch(2));
    assert_eq!(newest.filter(|party| world.vault.unseal(party.id, &party.sealed).is_some()).count(), 2);
    assert_eq!(world.keyring.epochs().collect::<Vec<_>>(), [Epoch(2)]);

    // Nobody reaches the person; the person's own late call finds the tombstone.
    let look = |proxy, who| world.directory.lookup(proxy, &number(who));
    assert_eq!(look(&first.agent.proxy, AGENT), Lookup::Unknown);
    assert!(matches!(look(&first.customer.proxy, CUSTOMER), Lookup::Entombed(_)));
    assert!(matches!(look(&second.agent.proxy, AGENT), Lookup::Live(_)));
    let AdminReply::Binding(shown) = world.ask(at(20), AdminRequest::BindShow { id: first.id }) else {
        panic!()
    };
    assert_eq!(shown.customer.address, "(erased)");
    assert_eq!(world.refused(at(20), show(CUSTOMER)).kind, RefusalKind::NotFound);
    assert_eq!(world.refused(at(20), erase(CUSTOMER)).kind, RefusalKind::NotFound);

    assert_eq!(world.certificates.len(), 1);
    let certificate = &world.certificates[0];
    assert_eq!((certificate.id, &certificate.ended[..]), (view.id, &[first.id][..]));
    assert_eq!(certificate.pseudonyms, [("acme".to_owned(), first.customer.party)]);
}

#[test]
fn a_tombstone_of_an_erased_person_is_not_reopened_and_outlives_new_keys() {
    let mut world = World::new(&NUMBERS);
    let bound = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    world.erase(CUSTOMER);
    let again = AdminRequest::BindReopen { id: bound.id, time_to_live: None };
    assert!(world.refused(at(20), again).what.contains("was erased"));
    let reuse = AdminRequest::BindCreate(wanted("k1", CUSTOMER, AGENT));
    assert!(world.refused(at(20), reuse).what.contains("was erased"));
    assert_eq!(world.ask(at(21), AdminRequest::VaultRotate), AdminReply::Rotating { epoch: 3 });
    world.run_until(at(22));
    assert_eq!(world.keyring.epochs().collect::<Vec<_>>(), [Epoch(3)]);
    assert!(matches!(world.directory.lookup(&bound.customer.proxy, &number(CUSTOMER)), Lookup::Entombed(_)));
    // With its last tombstone and rest everything of the person goes.
    world.run_until(at(40 * 24 * 3600));
    assert!(world.directory.parties.is_empty());
}

#[test]
fn a_person_who_comes_back_keeps_what_is_left_and_gets_other_numbers() {
    let mut world = World::new(&NUMBERS);
    let old = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    world.erase(CUSTOMER);
    let new = world.bind(at(20), wanted("k2", CUSTOMER, AGENT));
    assert_ne!(new.customer.proxy, old.customer.proxy);
    assert!(matches!(world.directory.lookup(&new.customer.proxy, &number(CUSTOMER)), Lookup::Live(_)));
    assert!(matches!(world.directory.lookup(&new.agent.proxy, &number(AGENT)), Lookup::Live(_)));
    // The store was told where the person is.
    let last = world.records().pop().unwrap();
    assert_eq!(world.vault.unseal(last.id, &last.sealed), Some(number(CUSTOMER)));
}

#[test]
fn an_erasure_is_refused_in_a_call_and_while_keys_change() {
    let mut world = World::new(&NUMBERS);
    let bound = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    assert_eq!(world.refused(at(2), erase("+12125559999")).kind, RefusalKind::NotFound);
    assert_eq!(world.refused(at(2), erase("x")).kind, RefusalKind::Invalid);
    assert!(world.directory.hold(bound.id));
    assert!(world.refused(at(2), erase(CUSTOMER)).what.contains("in a call"));
    world.directory.release(at(2), bound.id);
    world.next += 1;
    let begun = world.directory.handle_admin(at(3), RequestId(world.next), AdminRequest::VaultRotate);
    assert!(begun.is_none());
    world.next += 1;
    assert!(world.directory.handle_admin(at(3), RequestId(world.next), erase(CUSTOMER)).is_none());
    let replies = world.settle(at(3));
    assert!(replies.iter().any(|(_, reply)| matches!(
        reply,
        AdminReply::Refused(Refusal { what, .. }) if what.contains("being changed already")
    )));
}

#[test]
fn keys_that_cannot_be_made_erase_nobody() {
    let mut world = World::new(&NUMBERS);
    let bound = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    assert!(world.directory.handle_admin(at(2), RequestId(99), erase(CUSTOMER)).is_none());
    assert_eq!(world.directory.poll_output(), Some(Output::Rekey(RekeyStep::Wanted)));
    // Meanwhile nothing new begins for this person.
    assert_eq!(world.directory.lookup(&bound.agent.proxy, &number(AGENT)), Lookup::Unknown);
    let create = AdminRequest::BindCreate(wanted("k2", CUSTOMER, AGENT));
    assert!(world.refused(at(2), create).what.contains("being erased"));
    let problem = refusal(RefusalKind::Unavailable, "the disk is full", "free some space");
    world.directory.epoch_refused(at(3), problem.clone());
    assert_eq!(world.settle(at(3)), [(RequestId(99), AdminReply::Refused(problem))]);
    assert!(matches!(world.directory.lookup(&bound.agent.proxy, &number(AGENT)), Lookup::Live(_)));
}

#[test]
fn what_is_held_about_a_person_is_shown_without_a_number() {
    let mut world = World::new(&NUMBERS);
    let first = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    world.bind(at(1), wanted("k2", OTHER, AGENT));
    let AdminReply::Person(view) = world.ask(at(2), show(CUSTOMER)) else { panic!() };
    assert_eq!(view.bindings.iter().map(|binding| binding.id).collect::<Vec<_>>(), [first.id]);
    assert!(!view.more && view.rests.is_empty());
    assert!(!format!("{view:?}").contains("5551200"));
    world.ask(at(3), AdminRequest::BindClose { id: first.id });
    world.run_until(at(3600));
    let AdminReply::Person(view) = world.ask(at(3600), show(CUSTOMER)) else { panic!() };
    assert_eq!((view.bindings.len(), view.rests[0].proxy), (0, first.customer.proxy));
}

#[test]
fn a_person_who_comes_back_after_a_start_is_counted_at_home_again() {
    let mut world = World::new(&NUMBERS);
    world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    world.erase(CUSTOMER);
    world.restart(at(15));
    let places = |world: &World| {
        let places = world.directory.headroom.places(&world.directory.numbers, false);
        places.into_iter().map(|(load, _)| (load.state, load.bindings)).collect::<Vec<_>>()
    };
    let in_state = |state: &str, bindings| (Some(state.to_owned()), bindings);
    assert_eq!(places(&world), [in_state("CA", 1), (None, 1)], "nobody knows where the erased one is");
    let open = NewAgent {
        tenant: "acme".into(),
        project: "main".into(),
        key: "back".into(),
        agent: Typed(CUSTOMER.into()),
        also: Vec::new(),
        ring: None,
        number: None,
        numbers: NumberWish::default(),
    };
    world.ask(at(18), AdminRequest::Agent(AgentRequest::Open(open)));
    assert_eq!(places(&world), [in_state("CA", 1), in_state("NY", 1)], "whatever brings that one back");
    world.bind(at(20), wanted("k2", CUSTOMER, AGENT));
    assert_eq!(places(&world), [in_state("CA", 2), in_state("NY", 2)]);
}

#[test]
fn what_ends_while_keys_are_made_takes_nobody_else_with_it_and_leaves_no_record() {
    let mut world = World::new(&NUMBERS);
    let bound = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    world.ask(at(2), AdminRequest::BindClose { id: bound.id });
    assert!(world.directory.handle_admin(at(3), RequestId(99), erase(CUSTOMER)).is_none());
    assert_eq!(world.directory.poll_output(), Some(Output::Rekey(RekeyStep::Wanted)));
    // Tombstone and rests go, and somebody new would have the place of the person.
    let later = at(40 * 24 * 3600);
    world.run_until(later);
    let new = world.ask(later, AdminRequest::BindCreate(wanted("k2", OTHER, "+13105550188")));
    let AdminReply::Bound { binding: new, .. } = new else { panic!("{new:?}") };
    world.keep_keys(later, RekeyStep::Wanted);
    let mut replies = world.settle(later);
    for milliseconds in 0..100 {
        let now = later.after(Duration::from_millis(milliseconds * 5));
        world.directory.handle_timeout(now);
        replies.extend(world.settle(now));
    }
    let AdminReply::Erasing(view) = &replies[0].1 else { panic!("{replies:?}") };
    assert_eq!((view.ended, view.tombstones, replies.len()), (0, 0, 1));
    assert!(matches!(world.directory.lookup(&new.agent.proxy, &number("+13105550188")), Lookup::Live(_)));
    assert!(matches!(world.directory.lookup(&new.customer.proxy, &number(OTHER)), Lookup::Live(_)));
    let erased: Vec<_> = world.records().into_iter().filter(|party| party.sealed.is_erased()).collect();
    assert_eq!(erased.len(), 1);
    let changes = world.committed.iter().flat_map(|transaction| &transaction.changes);
    let mut of_the_person = changes.filter(|change| match change {
        Stored::PutParty(party) => party.id == erased[0].id,
        Stored::DeleteParty(id) => *id == erased[0].id,
        _ => false,
    });
    assert!(matches!(of_the_person.next_back(), Some(Stored::DeleteParty(_))), "its record stays");
}

#[test]
fn who_was_erased_by_an_earlier_vizard_is_known_when_they_come_back() {
    let mut world = World::new(&NUMBERS);
    let old = world.bind(at(1), wanted("k1", CUSTOMER, AGENT));
    world.erase(CUSTOMER);
    for party in world.committed.iter_mut().flat_map(|transaction| &mut transaction.changes) {
        if let Stored::PutParty(party) = party
            && party.sealed.is_erased()
        {
            party.index = world.vault.index_before(&number(CUSTOMER));
            *party = world.vault.erase(party);
        }
    }
    world.restart(at(15));
    assert!(matches!(world.directory.lookup(&old.customer.proxy, &number(CUSTOMER)), Lookup::Entombed(_)));
    for key in ["k2", "k3"] {
        let new = world.bind(at(20), wanted(key, CUSTOMER, AGENT));
        assert_ne!(new.customer.proxy, old.customer.proxy);
        assert!(matches!(world.directory.lookup(&new.customer.proxy, &number(CUSTOMER)), Lookup::Live(_)));
    }
    assert_eq!(world.directory.parties.len(), 2);
}
