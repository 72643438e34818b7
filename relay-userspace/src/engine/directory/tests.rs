//! The directory against examples, and against a reference model.

mod model;

use std::time::Duration;

use super::*;
use crate::engine::admin::{BindingView, NewBinding, NewNumber};
use crate::engine::config::{self, Bindings as Times, Limits, Trunk, TrunkId};
use crate::engine::io::Transaction;
use crate::engine::number::Typed;

pub(super) fn config() -> Config {
    let trunk = |name: &str| Trunk {
        name: name.into(),
        target: "192.0.2.1:5060".parse().unwrap(),
        sources: vec!["192.0.2.0/24".parse().unwrap()],
        listen: 0,
        media: 0,
        country: "US".parse().unwrap(),
        trusted: true,
        format: config::NumberFormat::E164,
        media_source: config::MediaSource::Signalled,
    };
    Config {
        sip: config::Sip {
            listen: Vec::new(),
            timers: config::Timers::default(),
            ring_timeout: Duration::from_mins(1),
            max_call: Duration::from_hours(1),
            product: "Vizard".into(),
        },
        media: config::Media {
            addresses: Vec::new(),
            ports: 30_000..=30_100,
            quarantine: Duration::ZERO,
            dscp: 46,
        },
        trunks: vec![trunk("carrier"), trunk("pbx")],
        routes: vec![config::Route { prefix: String::new(), trunk: TrunkId(0) }],
        emergency: config::Emergency::default(),
        bindings: Times {
            time_to_live: Duration::from_hours(1),
            callback_window: Duration::from_mins(10),
            cool_off: Duration::from_mins(20),
        },
        limits: Limits::default(),
    }
}

pub(super) fn at(seconds: u64) -> Now {
    Now::default().after(Duration::from_secs(1_000_000 + seconds))
}

pub(super) fn new_number(number: &str) -> NewNumber {
    NewNumber {
        number: number.parse().unwrap(),
        region: None,
        locality: None,
        kind: NumberKind::Local,
        voice: true,
        sms: false,
        trunk: None,
    }
}

pub(super) fn wanted(key: &str, customer: &str, agent: &str) -> NewBinding {
    NewBinding {
        tenant: "acme".into(),
        project: "main".into(),
        kind: BindingKind::Session,
        key: key.into(),
        customer: Typed(customer.into()),
        agent: Typed(agent.into()),
        time_to_live: None,
        country: None,
    }
}

/// A directory with a store that works.
pub(super) struct World {
    pub(super) directory: Directory,
    pub(super) committed: Vec<Transaction>,
    pub(super) events: Vec<Event>,
    next: u64,
}

impl World {
    pub(super) fn new(numbers: &[&str]) -> Self {
        Self::with(config(), numbers)
    }

    pub(super) fn with(config: Config, numbers: &[&str]) -> Self {
        let directory = Directory::new(Arc::new(config), [7; 32], at(0), Snapshot::default());
        let mut world = Self { directory, committed: Vec::new(), events: Vec::new(), next: 0 };
        let numbers: Vec<_> = numbers.iter().map(|number| new_number(number)).collect();
        let added = numbers.len();
        assert_eq!(
            world.ask(at(0), AdminRequest::PoolAdd { numbers }),
            AdminReply::PoolAdded { added, known: 0 }
        );
        world
    }

    pub(super) fn ask(&mut self, now: Now, request: AdminRequest) -> AdminReply {
        self.next += 1;
        let id = RequestId(self.next);
        assert!(self.directory.handle_admin(now, id, request).is_none());
        let mut replies = self.settle(now);
        assert_eq!(replies.len(), 1);
        let (answered, reply) = replies.remove(0);
        assert_eq!(answered, id);
        reply
    }

    /// Commits everything that is proposed.
    pub(super) fn settle(&mut self, now: Now) -> Vec<(RequestId, AdminReply)> {
        let mut replies = Vec::new();
        while let Some(output) = self.directory.poll_output() {
            match output {
                Output::Commit(id, transaction) => {
                    self.committed.push(transaction);
                    self.directory.handle_committed(now, id);
                }
                Output::Reply(id, reply) => replies.push((id, reply)),
                Output::Event(event) => self.events.push(event),
                other => panic!("{other:?} is not the directory's to put out"),
            }
        }
        replies
    }

    pub(super) fn bind(&mut self, now: Now, wanted: NewBinding) -> BindingView {
        match self.ask(now, AdminRequest::BindCreate(wanted)) {
            AdminReply::Bound { binding, .. } => binding,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn refused(&mut self, now: Now, request: AdminRequest) -> Refusal {
        match self.ask(now, request) {
            AdminReply::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass up to `now`, turn by turn.
    pub(super) fn run_until(&mut self, now: Now) {
        while let Some((due, _)) = self.directory.poll_timeout().filter(|(due, _)| *due <= now.mono) {
            let wait = due.saturating_since(at(0).mono);
            self.directory.handle_timeout(at(0).after(wait));
            self.settle(at(0).after(wait));
        }
    }
}

pub(super) fn number(text: &str) -> PartyAddress {
    PartyAddress::Number(text.parse().unwrap())
}

const CUSTOMER: &str = "+12125551200";
const AGENT: &str = "+13105550147";
const POOL: [&str; 3] = ["+14155550100", "+14155550101", "+14155550102"];

#[test]
fn each_party_reaches_the_other_through_its_own_proxy_and_nobody_else_does() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    assert_ne!(bound.customer.proxy, bound.agent.proxy);
    let look = |proxy, who| world.directory.lookup(proxy, &number(who));
    let Lookup::Live(found) = look(&bound.customer.proxy, CUSTOMER) else { panic!() };
    assert_eq!((found.caller, found.callee), (LegName::A, number(AGENT)));
    assert_eq!(found.callee_sees, bound.agent.proxy);
    let Lookup::Live(found) = look(&bound.agent.proxy, AGENT) else { panic!() };
    assert_eq!((found.caller, found.callee), (LegName::B, number(CUSTOMER)));
    assert_eq!(look(&bound.agent.proxy, CUSTOMER), Lookup::Unknown);
    assert_eq!(look(&bound.customer.proxy, "+12125551299"), Lookup::Unknown);
}

#[test]
fn what_is_not_durable_is_invisible() {
    let mut world = World::new(&POOL);
    let request = AdminRequest::BindCreate(wanted("k", CUSTOMER, AGENT));
    world.directory.handle_admin(at(1), RequestId(900), request);
    let Some(Output::Commit(id, _)) = world.directory.poll_output() else { panic!() };
    assert!(world.directory.poll_output().is_none());
    for proxy in POOL {
        let proxy = proxy.parse().unwrap();
        assert_eq!(world.directory.lookup(&proxy, &number(CUSTOMER)), Lookup::Unknown);
    }
    assert_eq!(world.directory.bind_list(None, true, None, 0), []);
    world.directory.handle_committed(at(2), id);
    assert!(matches!(world.settle(at(2))[..], [(RequestId(900), AdminReply::Bound { reused: false, .. })]));
    assert_eq!(world.directory.bind_list(None, true, None, 0).len(), 1);
}
