//! Two ends over a network that loses, doubles, delays and reorders, in
//! virtual time: whatever it does, every request of ours has one outcome, every
//! request of the peer is seen once, and in the end nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{forth, here, request_with};
use crate::engine::config::Timers;
use crate::engine::ids::Slot;
use crate::engine::io::Signal;
use crate::engine::sip::build::ResponseBuilder;
use crate::engine::sip::message::{Message, ParseLimits};
use crate::engine::sip::method::Method;
use crate::engine::sip::transaction::{ClientKey, ServerKey, TransactionEvent, Transactions};
use crate::engine::sip::transport::Way;
use crate::engine::time::Instant;

const LIMIT: usize = 10_000;

struct World {
    random: ChaCha8Rng,
    now: Instant,
    client: Transactions,
    server: Transactions,
    /// What is on the way, by arrival.
    flying: BTreeMap<(Instant, u64), (bool, Signal)>,
    sequence: u64,
    /// In percent.
    loss: u32,
    duplication: u32,
    longest_delay_ms: u32,
    outcomes: BTreeMap<ClientKey, Vec<u16>>,
    seen: BTreeMap<String, Instant>,
    /// What the server's user is going to say, and when.
    plans: BTreeMap<(Instant, ServerKey), (Message, u16)>,
    /// INVITEs without a final response.
    open: BTreeMap<ServerKey, Message>,
    /// When the client's user loses patience. Nothing else ends an INVITE that
    /// has rung and whose 2xx is lost.
    patience: BTreeSet<(Instant, ClientKey)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (loss, duplication) = (random.next_u32() % 60, random.next_u32() % 40);
        let longest_delay_ms = 1 + random.next_u32() % 3_000;
        Self {
            random,
            now: Instant::ORIGIN,
            client: Transactions::new(Timers::default(), LIMIT),
            server: Transactions::new(Timers::default(), LIMIT),
            flying: BTreeMap::new(),
            sequence: 0,
            loss,
            duplication,
            longest_delay_ms,
            outcomes: BTreeMap::new(),
            seen: BTreeMap::new(),
            plans: BTreeMap::new(),
            open: BTreeMap::new(),
            patience: BTreeSet::new(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.next_u32() % 100 < percent
    }

    fn delay(&mut self, longest_ms: u32) -> Duration {
        Duration::from_millis(u64::from(self.random.next_u32() % longest_ms))
    }

    fn put(&mut self, to_server: bool, datagram: &Signal) {
        let copies = if self.chance(self.loss) { 0 } else { 1 + u32::from(self.chance(self.duplication)) };
        for _ in 0..copies {
            let at = self.now + self.delay(self.longest_delay_ms);
            self.sequence += 1;
            self.flying.insert((at, self.sequence), (to_server, datagram.clone()));
        }
    }

    fn drain(&mut self) {
        loop {
            if let Some(datagram) = self.client.poll_send() {
                self.put(true, &datagram);
            } else if let Some(datagram) = self.server.poll_send() {
                self.put(false, &datagram);
            } else if let Some(event) = self.client.poll_event() {
                self.client_event(event);
            } else if let Some(event) = self.server.poll_event() {
                self.server_event(event);
            } else {
                return;
            }
        }
    }

    fn client_event(&mut self, event: TransactionEvent) {
        match event {
            TransactionEvent::Response { key, message, .. } => {
                let status = message.status().unwrap();
                let outcome = self.outcomes.get_mut(&key).expect("a key that we were given");
                // A 2xx to an INVITE may come again: its ACK is the user's.
                if status >= 200 && !(outcome.as_slice() == [status] && message.method() == Method::Invite) {
                    outcome.push(status);
                }
            }
            TransactionEvent::Timeout { key } => self.outcomes.get_mut(&key).unwrap().push(0),
            // The 2xx may arrive when its INVITE was given up.
            TransactionEvent::StrayResponse { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn server_event(&mut self, event: TransactionEvent) {
        match event {
            TransactionEvent::NewRequest { key, message, .. } => {
                let branch = message.via().unwrap().branch().unwrap().to_owned();
                let method = message.method();
                // A copy that is on its way for longer than its transaction lives is a new
                // request: the RFC bounds what a server remembers, not what a network keeps.
                let before = self.seen.insert(format!("{branch} {method}"), self.now);
                assert!(
                    before.is_none_or(|before| self.now >= before + Duration::from_secs(32)),
                    "a request was seen twice"
                );
                let status = [200, 200, 404, 486][(self.random.next_u32() % 4) as usize];
                // Non-INVITE users answer at once; a phone may ring.
                let wait = if method == Method::Invite { self.delay(20_000) } else { self.delay(50) };
                if method == Method::Invite {
                    self.open.insert(key, message.clone());
                    if self.chance(70) {
                        self.say(key, &message, 180);
                    }
                }
                self.plans.insert((self.now + wait, key), (message, status));
            }
            TransactionEvent::Cancel { invite } => {
                let message = self.open.get(&invite).expect("an INVITE without an answer").clone();
                self.say(invite, &message, 487);
            }
            // An ACK that comes when its transaction is gone has no dialog either.
            TransactionEvent::AckTimeout { .. } | TransactionEvent::Ack { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, key: ServerKey, request: &Message, status: u16) {
        let response = ResponseBuilder::new(request, here(), status, Some("to")).build().unwrap();
        if status >= 200 {
            self.open.remove(&key);
        }
        self.server.respond(self.now, key, response);
    }

    fn next(&self) -> Option<Instant> {
        [
            self.flying.keys().next().map(|&(at, _)| at),
            self.plans.keys().next().map(|&(at, _)| at),
            self.patience.first().map(|&(at, _)| at),
            self.client.poll_timeout().map(|(at, _)| at),
            self.server.poll_timeout().map(|(at, _)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn run(&mut self) {
        self.drain();
        while let Some(at) = self.next() {
            assert!(at >= self.now, "time runs forward");
            self.now = at;
            while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= at) {
                let (to_server, Signal { way, bytes }) = entry.remove();
                let message = Message::parse(&bytes, &ParseLimits::default()).unwrap();
                let end = if to_server { &mut self.server } else { &mut self.client };
                end.receive(at, Way::udp(way.remote, way.local), message);
            }
            while let Some(entry) = self.plans.first_entry().filter(|entry| entry.key().0 <= at) {
                let ((_, key), (request, status)) = entry.remove_entry();
                if request.method() != Method::Invite || self.open.contains_key(&key) {
                    self.say(key, &request, status);
                }
            }
            while let Some(&(due, key)) = self.patience.first().filter(|(due, _)| *due <= at) {
                self.patience.remove(&(due, key));
                self.client.cancel(at, key, None);
            }
            self.client.handle_timeout(at);
            self.server.handle_timeout(at);
            self.drain();
        }
    }
}

#[test]
fn every_request_has_exactly_one_outcome() {
    let (mut answered, mut timed_out, mut cancelled) = (0, 0, 0);
    for seed in 0..400 {
        let mut world = World::new(seed);
        for _ in 0..8 {
            let method = [Method::Invite, Method::Bye, Method::Invite, Method::Options]
                [(world.random.next_u32() % 4) as usize]
                .clone();
            let branch = Slot(7).token(&mut world.random);
            let request = request_with(method, &branch);
            let key = world.client.send_request(world.now, request, forth()).unwrap();
            world.outcomes.insert(key, Vec::new());
            world.patience.insert((world.now + Duration::from_mins(1), key));
            if world.chance(30) {
                world.client.cancel(world.now, key, None);
            }
        }
        world.run();
        for (key, outcome) in &world.outcomes {
            assert_eq!(outcome.len(), 1, "seed {seed}, {key:?}: {outcome:?}");
            match outcome[0] {
                0 => timed_out += 1,
                487 => cancelled += 1,
                _ => answered += 1,
            }
        }
        assert!(world.client.is_empty() && world.server.is_empty(), "seed {seed}: something is left");
        assert!(world.now < Instant::after_origin(Duration::from_secs(200)), "seed {seed}: it took too long");
    }
    // The worlds are neither all calm nor all storm.
    assert!(answered > 500 && timed_out > 50 && cancelled > 50, "{answered} {timed_out} {cancelled}");
}
