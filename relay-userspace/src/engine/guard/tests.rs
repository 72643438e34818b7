use super::*;
use crate::engine::Engine;
use crate::engine::directory::tests::config;
use crate::engine::ids::Slot;
use crate::engine::io::{Input, Signal};
use crate::engine::sip::transport::Way;

const MINUTE: Duration = Duration::from_mins(1);

/// The guard, and what the store and the media path were told.
struct World {
    guard: Guard,
    now: Now,
    rules: Vec<Rule>,
    commits: VecDeque<(CommitId, Vec<Change>)>,
    stored: BTreeMap<IpNet, GuardEntry>,
    replies: VecDeque<AdminReply>,
    events: Vec<Event>,
}

impl World {
    /// With a trunk of this name and sources.
    fn new(sources: &[&str]) -> Self {
        Self::with(sources, |_| {})
    }

    fn with(sources: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        config.trunks.truncate(1);
        config.trunks[0].name = "carrier".to_owned();
        config.trunks[0].sources = sources.iter().map(|source| net(source)).collect();
        change(&mut config);
        let now = Now::default().after(Duration::from_hours(1));
        let mut world = Self {
            guard: Guard::new(Arc::new(config), now, Vec::new()),
            now,
            rules: Vec::new(),
            commits: VecDeque::new(),
            stored: BTreeMap::new(),
            replies: VecDeque::new(),
            events: Vec::new(),
        };
        world.drain();
        world
    }

    fn drain(&mut self) {
        while let Some(output) = self.guard.poll_output() {
            match output {
                Output::Guard(rules) => self.rules = rules,
                Output::Commit(id, transaction) => self.commits.push_back((id, transaction.changes)),
                Output::Reply(_, reply) => self.replies.push_back(reply),
                Output::Event(event) => self.events.push(event),
                other => panic!("{other:?}"),
            }
        }
    }

    fn ask(&mut self, request: GuardRequest) {
        self.guard.handle_request(self.now, RequestId(1), request);
        self.drain();
    }

    /// The store takes or fails the oldest commit; a failed one may be written.
    fn store(&mut self, written: bool, acknowledged: bool) {
        let (id, changes) = self.commits.pop_front().expect("a commit");
        for change in changes.into_iter().filter(|_| written) {
            match change {
                Change::PutGuard(entry) => drop(self.stored.insert(entry.net, entry)),
                Change::DeleteGuard(net) => drop(self.stored.remove(&net)),
                other => panic!("{other:?}"),
            }
        }
        if acknowledged {
            self.guard.handle_committed(self.now, id);
        } else {
            self.guard.handle_commit_failed(self.now, id, "the disk is full");
        }
        self.drain();
    }

    fn deny(&mut self, network: &str, lasting: Option<Duration>, force: bool) -> GuardReply {
        let (net, action, reason) = (net(network), GuardAction::Deny, "a test".to_owned());
        self.ask(GuardRequest::Put { net, action, lasting, reason, force });
        self.store(true, true);
        let Some(AdminReply::Guard(reply)) = self.replies.pop_back() else { panic!() };
        reply
    }

    fn refusal(&mut self) -> Refusal {
        match self.replies.pop_back() {
            Some(AdminReply::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn treatment(&self, network: &str) -> Option<Treatment> {
        self.rules.iter().find(|rule| rule.net == net(network)).map(|rule| rule.treatment)
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while let Some((due, _)) = self.guard.poll_timeout().filter(|(due, _)| *due <= end.mono) {
            self.now = self.now.after(due.saturating_since(self.now.mono));
            self.guard.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn trunks_are_exempt_from_the_start() {
    let world = World::new(&["198.51.100.0/28", "2001:db8::7/128"]);
    assert_eq!(world.treatment("198.51.100.0/28"), Some(Treatment::Exempt));
    assert_eq!(world.treatment("2001:db8::7/128"), Some(Treatment::Exempt));
    let limited = World::with(&["198.51.100.0/28"], |config| config.guard.limit_trunks = true);
    assert_eq!(limited.treatment("198.51.100.0/28"), Some(Treatment::Limit));
    let off = World::with(&["198.51.100.0/28"], |config| config.guard.enabled = false);
    assert_eq!(off.rules, []);
}

#[test]
fn a_rule_is_in_force_once_the_store_has_it_and_until_its_time_is_over() {
    let mut world = World::new(&["198.51.100.0/28"]);
    let request = GuardRequest::Put {
        net: net("203.0.113.7/24"),
        action: GuardAction::Deny,
        lasting: Some(10 * MINUTE),
        reason: String::new(),
        force: false,
    };
    world.ask(request.clone());
    assert_eq!((world.treatment("203.0.113.0/24"), world.replies.len()), (None, 0), "not durable yet");
    world.ask(request);
    assert_eq!(world.refusal().kind, RefusalKind::Conflict, "one change of a network at a time");
    world.store(true, true);
    assert_eq!(world.treatment("203.0.113.0/24"), Some(Treatment::Deny));
    assert!(matches!(world.replies.pop_back(), Some(AdminReply::Guard(GuardReply::Put { .. }))));

    world.wait(9 * MINUTE);
    assert_eq!(world.treatment("203.0.113.0/24"), Some(Treatment::Deny));
    world.wait(2 * MINUTE);
    assert_eq!(world.treatment("203.0.113.0/24"), None);
    world.store(true, true);
    assert!(world.stored.is_empty() && world.guard.poll_timeout().is_none());
}

#[test]
fn what_was_stored_is_in_force_again_and_expires() {
    let mut world = World::new(&[]);
    world.deny("203.0.113.0/24", Some(MINUTE), false);
    world.deny("2001:db8::/32", None, false);
    let stored = world.stored.into_values().collect();
    let later = world.now.after(2 * MINUTE);
    let mut guard = Guard::new(Arc::new(config()), later, stored);
    let (due, _) = guard.poll_timeout().expect("one is over");
    assert_eq!(due, later.mono);
    guard.handle_timeout(later);
    assert_eq!(guard.operator.keys().copied().collect::<Vec<_>>(), [net("2001:db8::/32")]);
}

#[test]
fn a_trunk_is_denied_only_by_name_and_by_force() {
    let mut world = World::new(&["198.51.100.0/28"]);
    for part in ["198.51.100.0/28", "198.51.100.3/32"] {
        let request = |force| GuardRequest::Put {
            net: net(part),
            action: GuardAction::Deny,
            lasting: None,
            reason: String::new(),
            force,
        };
        world.ask(request(false));
        let refusal = world.refusal();
        assert_eq!(refusal.kind, RefusalKind::Conflict);
        assert!(refusal.what.contains("carrier") && refusal.remedy.contains("--force"), "{refusal:?}");
        let GuardReply::Put { notes, .. } = world.deny(part, None, true) else { panic!() };
        assert!(notes[0].contains("no longer arrive"), "{notes:?}");
        assert_eq!(world.treatment(part), Some(Treatment::Deny));
        world.ask(GuardRequest::Remove { net: net(part) });
        world.store(true, true);
    }
    assert_eq!(world.treatment("198.51.100.0/28"), Some(Treatment::Exempt), "as before");

    let GuardReply::Put { notes, .. } = world.deny("198.51.0.0/16", None, false) else { panic!() };
    assert!(notes[0].contains("may still send"), "{notes:?}");
    assert_eq!(world.treatment("198.51.100.0/28"), Some(Treatment::Exempt));
}

#[test]
fn strangers_are_denied_for_a_while_and_nobody_else() {
    let mut world = World::new(&["198.51.100.0/28", "2001:db8:0:1::7/128"]);
    let (net, action) = (net("192.0.2.0/24"), GuardAction::Allow);
    world.ask(GuardRequest::Put { net, action, lasting: None, reason: String::new(), force: false });
    world.store(true, true);
    let mut deny = |source| {
        let denied = world.guard.deny_source(world.now, ip(source), 10 * MINUTE, "100 SIP messages");
        world.drain();
        denied
    };
    assert!(!deny("198.51.100.3"), "a trunk");
    assert!(!deny("192.0.2.3"), "allowed");
    assert!(deny("203.0.113.9") && deny("2001:db8:0:1::9"));
    assert_eq!(world.treatment("203.0.113.9/32"), Some(Treatment::Deny));
    assert_eq!(world.treatment("2001:db8:0:1::/64"), Some(Treatment::Deny));
    assert_eq!(world.treatment("2001:db8:0:1::7/128"), Some(Treatment::Exempt), "a trunk next door");
    assert!(world.commits.is_empty(), "nothing of it is stored");
    assert!(
        world.events.iter().any(|event| event.to_string().contains("203.0.113.9/32 is denied for 600 s"))
    );
    world.wait(11 * MINUTE);
    assert_eq!(world.treatment("203.0.113.9/32"), None);
}

#[test]
fn the_engine_never_fills_the_table() {
    let mut world = World::new(&[]);
    for i in 0..2 * MAX_AUTOMATIC_RULES {
        let source = IpAddr::from(u32::try_from(i).unwrap().to_be_bytes());
        world.now = world.now.after(Duration::from_millis(1));
        assert!(world.guard.deny_source(world.now, source, MINUTE, "noise"));
        world.drain();
    }
    assert_eq!(world.rules.len(), MAX_AUTOMATIC_RULES);
    assert_eq!(world.treatment("0.0.0.0/32"), None, "the oldest made room");
}

#[test]
fn what_the_store_holds_wrongly_is_mended() {
    let mut world = World::new(&[]);
    let request = GuardRequest::Put {
        net: net("203.0.113.0/24"),
        action: GuardAction::Deny,
        lasting: None,
        reason: String::new(),
        force: false,
    };
    world.ask(request);
    world.store(true, false);
    assert_eq!(world.refusal().kind, RefusalKind::Unavailable);
    assert_eq!((world.treatment("203.0.113.0/24"), world.stored.len()), (None, 1));
    world.wait(AGAIN);
    world.store(false, false);
    world.wait(AGAIN);
    world.store(true, true);
    assert!(world.stored.is_empty() && world.guard.poll_timeout().is_none() && world.commits.is_empty());
}

#[test]
fn removing_what_is_not_an_operators_says_what_it_is() {
    let mut world = World::new(&["198.51.100.0/28"]);
    world.ask(GuardRequest::Remove { net: net("198.51.100.0/28") });
    assert!(world.refusal().what.contains("trunk carrier"));
    world.ask(GuardRequest::Remove { net: net("203.0.113.0/24") });
    assert_eq!(world.refusal().kind, RefusalKind::NotFound);
    world.guard.deny_source(world.now, ip("203.0.113.9"), MINUTE, "noise");
    world.ask(GuardRequest::Remove { net: net("203.0.113.9/32") });
    assert!(matches!(world.replies.pop_back(), Some(AdminReply::Guard(GuardReply::Removed(_)))));
    assert_eq!(world.treatment("203.0.113.9/32"), None);
}

/// A scanner with a network of its own gains nothing by changing its address.
#[test]
fn strangers_are_counted_by_network() {
    let now = Now::default().after(Duration::from_hours(1));
    let snapshot = crate::engine::call_record::Snapshot::default();
    let mut engine = Engine::new(
        Arc::new(config()),
        crate::engine::privacy::tests::vault(),
        Slot(0),
        [0; 32],
        now,
        snapshot,
    );
    let mut denied_by = None;
    for knock in 0..=200_u128 {
        let address = std::net::Ipv6Addr::from(0x2001_0db8_0000_0007_u128 << 64 | knock);
        engine.handle_input(
            now,
            Input::Received(Signal {
                way: Way::udp("[2001:db8::10]:5060".parse().unwrap(), (address, 5060).into()),
                bytes: b"OPTIONS sip:x SIP/2.0\r\n\r\n".to_vec(),
            }),
        );
        while let Some(output) = engine.poll_output() {
            let denies =
                |rule: &Rule| rule.treatment == Treatment::Deny && rule.net == net("2001:db8:0:7::/64");
            if matches!(&output, Output::Guard(rules) if rules.iter().any(denies)) {
                denied_by = denied_by.or(Some(knock));
            }
        }
    }
    assert_eq!(denied_by, Some(100), "the message that is one too many");
}
