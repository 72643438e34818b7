//! All calls of the soak: who calls whom when, what changes, and who heard what.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use harness::lab::{Family, Place};
use harness::vizard::Vizard;
use harness::{namespace, socket};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::phone::{End, News, STRAGGLERS, Stage};
use super::sip::{Dialog, Message, Way};
use super::sound::{Ear, Token};
use crate::world::{World, other};

/// Who can call: pairs of a customer and an agent, one call each at a time.
const PAIRS: u32 = 24;
/// Between two calls that start, at least.
const BETWEEN: Duration = Duration::from_millis(40);
/// How long a step of signalling may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Before a change, while what was said before it still arrives.
const BEFORE: Duration = Duration::from_millis(100);
/// After a change, until everybody must hear everything again.
const SETTLING: Duration = Duration::from_millis(250);
/// What there must be some of.
const KINDS: [&str; 5] = ["calls", "moves", "holds", "resumes", "reports"];
/// Between two lines about how far it is.
const BETWEEN_WORDS: Duration = Duration::from_secs(10);
/// One turn of the loop.
const TURN: Duration = Duration::from_millis(2);

struct Pair {
    customer: String,
    agent: String,
    customer_dials: String,
    agent_dials: String,
    busy: bool,
}

/// What a call does next, or waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    /// Until the next change.
    Talking,
    /// About to.
    Preparing(Change),
    Changing,
    Ending,
    /// Its ports still listen.
    Lingering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Move,
    Hold,
    Resume,
    HangUp,
}

struct Call {
    number: u32,
    pair: usize,
    /// The caller first.
    ends: Vec<End>,
    phase: Phase,
    /// When the phase ends, or fails.
    due: Instant,
    /// Who makes the change.
    by: Place,
    held_by: Option<Place>,
    /// Whose packets nobody must hear for now, and until when.
    excused: [Option<Instant>; 2],
    /// What happened so far, for whoever has to find out what went wrong.
    story: String,
}

/// Two sides with their phones, and Vizard between them.
pub(super) struct Exchange {
    sip: [UdpSocket; 2],
    vizard: [SocketAddr; 2],
    namespaces: [String; 2],
    pairs: Vec<Pair>,
    calls: Vec<Call>,
    dice: ChaCha8Rng,
    next_call: Instant,
    next_port: u16,
    started: u32,
    done: HashMap<&'static str, u32>,
    packets: u64,
    /// Where Vizard has taken media, by side.
    media_ports: BTreeSet<(usize, SocketAddr)>,
    violations: Violations,
    began: Instant,
    /// When progress is told next.
    next_word: Instant,
}

/// What must not be: told at once, since whoever watches for an hour may not want to
/// wait for its end.
#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    fn add(&mut self, what: String) {
        eprintln!("soak: VIOLATION: {what}");
        self.0.push(what);
    }
}

const fn index(side: Place) -> usize {
    match side {
        Place::Customer | Place::Vizard => 0,
        Place::Agent => 1,
    }
}

const SIDES: [Place; 2] = [Place::Customer, Place::Agent];

impl Exchange {
    pub(super) fn open(world: &World, vizard: &Vizard<'_>, seed: u64) -> Self {
        let namespaces = SIDES.map(|side| world.lab.namespace_of(side).expect("a lab with namespaces"));
        let port = world.lab.sip_port();
        let sip = SIDES.map(|side| {
            bind(&namespaces[index(side)], SocketAddr::new(world.lab.peer(side, Family::V4), port))
        });
        vizard.ask(&["pool", "add", "+12125550123", "+12125550188", "+12125550199"]).unwrap();
        let now = Instant::now();
        Self {
            sip,
            vizard: SIDES.map(|side| SocketAddr::new(world.lab.vizard(side, Family::V4), port)),
            namespaces,
            pairs: (0..PAIRS).map(|number| Pair::bound(vizard, number)).collect(),
            calls: Vec::new(),
            dice: ChaCha8Rng::seed_from_u64(seed),
            next_call: now,
            next_port: 30_000,
            started: 0,
            done: HashMap::new(),
            packets: 0,
            media_ports: BTreeSet::new(),
            violations: Violations::default(),
            began: now,
            next_word: now + BETWEEN_WORDS,
        }
    }

    /// Lets calls start for a time, and all of them come to their end.
    pub(super) fn run(&mut self, time: Duration) {
        let closing = Instant::now() + time;
        loop {
            let now = Instant::now();
            if now < closing {
                self.start_calls(now);
            } else if self.calls.is_empty() {
                return;
            }
            self.read_signalling();
            for at in 0..self.calls.len() {
                self.act(at, now);
            }
            self.carry_media(now);
            self.close_calls(now);
            if now >= self.next_word {
                self.next_word = now + BETWEEN_WORDS;
                let seconds = (now - self.began).as_secs();
                eprintln!("soak: {seconds:>4} s: {} calls now; {self}", self.calls.len());
            }
            std::thread::sleep(TURN);
        }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.0.clone()
    }

    /// Whether every kind of change has occurred.
    pub(super) fn has_done_everything(&self) -> bool {
        KINDS.iter().all(|what| self.done.get(what).is_some_and(|n| *n > 5))
    }

    /// Sends a packet to each of Vizard's ports that media ever went to, and says to
    /// how many.
    pub(super) fn probe(&self) -> u64 {
        let token = Token { call: u32::MAX, from: Place::Customer, number: Some(0) };
        for (side, port) in &self.media_ports {
            self.sip[*side].send_to(&token.packet(), port).unwrap();
        }
        self.media_ports.len() as u64
    }

    fn start_calls(&mut self, now: Instant) {
        if now < self.next_call {
            return;
        }
        self.next_call = now + BETWEEN;
        let Some(pair) = self.pairs.iter().position(|pair| !pair.busy) else { return };
        let side = SIDES[self.dice.random_range(0..2)];
        self.started += 1;
        self.pairs[pair].busy = true;
        let ear = self.ear(side);
        let (number, dials) = self.pairs[pair].caller(side);
        let id = format!("soak{}", self.started);
        let own = self.sip[index(side)].local_addr().unwrap();
        let dialog = Dialog::calling(&id, own, self.vizard[index(side)], number, dials);
        let mut end = End::new(side, dialog, ear);
        self.send(side, &end.invite(Way::Both, None));
        self.calls.push(Call {
            number: self.started,
            pair,
            ends: vec![end],
            phase: Phase::Opening,
            due: now + PATIENCE,
            by: side,
            held_by: None,
            excused: [Some(now + PATIENCE); 2],
            story: format!("{side:?} calls"),
        });
    }

    fn read_signalling(&mut self) {
        let mut buffer = [0; 4096];
        for side in SIDES {
            while let Ok((length, _)) = self.sip[index(side)].recv_from(&mut buffer) {
                self.signalled(side, &Message::read(&buffer[..length]));
            }
        }
    }

    fn signalled(&mut self, side: Place, message: &Message) {
        let id = message.header("Call-ID");
        let of = |call: &Call| call.ends.iter().any(|end| end.side == side && end.id() == id);
        let at = self.calls.iter().position(of).or_else(|| self.ring(side, message));
        // An answer to the last request of a call that has been closed since.
        let Some(at) = at else { return };
        let call = &mut self.calls[at];
        let Some(end) = call.ends.iter_mut().find(|end| end.side == side) else { return };
        let (answers, news) = end.receive(message);
        if let Some(remote) = end.remote {
            self.media_ports.insert((index(side), remote));
        }
        for answer in answers {
            self.send(side, &answer);
        }
        if let Some(news) = news {
            self.heed(at, side, news);
        }
    }

    /// The other end of the call that this INVITE is for.
    fn ring(&mut self, side: Place, message: &Message) -> Option<usize> {
        if message.method() != Some("INVITE") {
            return None;
        }
        let wanted = message.number();
        let at = self.calls.iter().position(|call| {
            call.phase == Phase::Opening
                && call.ends.len() == 1
                && call.ends[0].side != side
                && self.pairs[call.pair].own(side) == wanted
        });
        let Some(at) = at else {
            self.violations.add(format!("{side:?} is called and nobody calls: {}", message.start()));
            return None;
        };
        let own = self.sip[index(side)].local_addr().unwrap();
        let end = End::new(side, Dialog::called(message, own, wanted), self.ear(side));
        self.calls[at].ends.push(end);
        Some(at)
    }

    fn heed(&mut self, at: usize, side: Place, news: News) {
        let now = Instant::now();
        let call = &mut self.calls[at];
        match (news, call.phase) {
            (News::Up, Phase::Opening) => {
                if call.ends.len() == 2 && call.ends.iter().all(|end| end.stage == Stage::Talking) {
                    *self.done.entry("calls").or_default() += 1;
                    self.settle(at, now);
                }
            }
            (News::Changed, Phase::Changing) if side == call.by => {
                if let Some(end) = call.ends.iter_mut().find(|end| end.side == side) {
                    end.expect_silence(false);
                }
                self.settle(at, now);
            }
            (News::Over, Phase::Ending) => {
                if call.ends.iter().all(|end| end.stage == Stage::Over) {
                    call.phase = Phase::Lingering;
                    call.due = now + STRAGGLERS * 3;
                    call.ends.iter_mut().for_each(|end| end.expect_silence(true));
                }
            }
            (news, phase) => {
                let text = format!("{side:?} has {news:?} while {phase:?}");
                self.fail(at, &text);
            }
        }
    }

    /// Back to talking, until the next change.
    fn settle(&mut self, at: usize, now: Instant) {
        let pause = Duration::from_millis(self.dice.random_range(500..1800));
        let call = &mut self.calls[at];
        call.phase = Phase::Talking;
        call.due = now + pause;
        for until in call.excused.iter_mut().flatten() {
            *until = now + SETTLING;
        }
    }

    fn act(&mut self, at: usize, now: Instant) {
        for end in 0..self.calls[at].ends.len() {
            let end = &mut self.calls[at].ends[end];
            let side = end.side;
            if let Some(text) = end.repeat(now) {
                self.send(side, &text);
            }
        }
        let call = &self.calls[at];
        if now < call.due {
            return;
        }
        match call.phase {
            Phase::Talking => self.prepare(at, now),
            Phase::Preparing(change) => self.change(at, change, now),
            Phase::Opening | Phase::Changing | Phase::Ending => {
                let text = format!("nothing comes of {:?}", call.phase);
                self.fail(at, &text);
            }
            Phase::Lingering => {}
        }
    }

    /// Chooses the next change, and excuses whom it concerns.
    fn prepare(&mut self, at: usize, now: Instant) {
        let (roll, by) = (self.dice.random_range(0..10), SIDES[self.dice.random_range(0..2)]);
        let call = &mut self.calls[at];
        let (change, by) = match (call.held_by, roll) {
            (_, 0..3) => (Change::HangUp, by),
            (Some(holder), _) => (Change::Resume, holder),
            (None, 3..6) => (Change::Hold, by),
            (None, _) => (Change::Move, by),
        };
        let concerned: &[Place] = match change {
            // Who moves speaks from elsewhere; who is held, and was, does not speak.
            Change::Move => &[by],
            Change::Hold | Change::Resume => &[other(by)],
            Change::HangUp => &SIDES,
        };
        for side in concerned {
            call.excused[index(*side)] = Some(now + PATIENCE);
        }
        call.phase = Phase::Preparing(change);
        call.by = by;
        call.due = now + BEFORE;
        call.story = format!("{}, {by:?}: {change:?}", call.story);
    }

    fn change(&mut self, at: usize, change: Change, now: Instant) {
        let by = self.calls[at].by;
        let ear = (change == Change::Move).then(|| self.ear(by));
        let (what, way) = match change {
            Change::Move => ("moves", Way::Both),
            Change::Hold => ("holds", Way::Send),
            Change::Resume => ("resumes", Way::Both),
            Change::HangUp => ("hang-ups", Way::Neither),
        };
        *self.done.entry(what).or_default() += 1;
        let call = &mut self.calls[at];
        call.due = now + PATIENCE;
        let Some(end) = call.ends.iter_mut().find(|end| end.side == by) else { return };
        let text = match change {
            Change::HangUp => {
                call.phase = Phase::Ending;
                end.hang_up()
            }
            Change::Move | Change::Hold | Change::Resume => {
                call.phase = Phase::Changing;
                call.held_by = (change == Change::Hold).then_some(by);
                end.invite(way, ear)
            }
        };
        self.send(by, &text);
    }

    fn carry_media(&mut self, now: Instant) {
        for call in &mut self.calls {
            for end in 0..call.ends.len() {
                let excused = call.excused[index(call.ends[end].side)].is_some_and(|until| now < until);
                call.ends[end].speak(now, call.number, !excused);
            }
            for end in 0..call.ends.len() {
                for (token, port, silent_from) in call.ends[end].hear() {
                    self.packets += 1;
                    let side = call.ends[end].side;
                    let meant = token.is_some_and(|token| token.call == call.number && token.from != side);
                    let late = silent_from.is_some_and(|from| from < now);
                    if !meant || late {
                        self.violations.add(format!(
                            "port {port} of call {} ({side:?}) heard {token:?}{}: {}",
                            call.number,
                            if late { " when it should have been silent" } else { "" },
                            call.story
                        ));
                    }
                    let Some(token) = token.filter(|_| meant) else { continue };
                    let Some(number) = token.number else {
                        *self.done.entry("reports").or_default() += 1;
                        continue;
                    };
                    let from = call.ends.iter_mut().find(|end| end.side != side);
                    if from.is_some_and(|from| !from.account.hear(number)) {
                        self.violations.add(format!("call {} heard {token:?} twice", call.number));
                    }
                }
            }
        }
    }

    /// Closes the calls whose time has come, and settles their accounts.
    fn close_calls(&mut self, now: Instant) {
        let over = |call: &mut Call| call.phase == Phase::Lingering && call.due <= now;
        for call in self.calls.extract_if(.., over) {
            self.pairs[call.pair].busy = false;
            for end in &call.ends {
                let lost = end.account.lost();
                if !lost.is_empty() {
                    self.violations.add(format!(
                        "call {}: of {} packets of the {:?}'s {} were heard, and not {lost:?}: {}",
                        call.number,
                        end.account.said,
                        end.side,
                        end.account.heard(),
                        call.story
                    ));
                }
            }
        }
    }

    /// Gives up on a call; its pair stays busy.
    fn fail(&mut self, at: usize, why: &str) {
        let call = &mut self.calls[at];
        self.violations.add(format!("call {}: {why}: {}", call.number, call.story));
        call.phase = Phase::Lingering;
        call.due = Instant::now();
    }

    fn send(&self, side: Place, text: &str) {
        self.sip[index(side)].send_to(text.as_bytes(), self.vizard[index(side)]).unwrap();
    }

    /// A port that no call has had for long.
    fn ear(&mut self, side: Place) -> Ear {
        let port = self.next_port;
        self.next_port = if port >= 60_000 { 30_000 } else { port + 2 };
        let address = SocketAddr::new(self.sip[index(side)].local_addr().unwrap().ip(), port);
        let beside = SocketAddr::new(address.ip(), port + 1);
        let socket = |address| bind(&self.namespaces[index(side)], address);
        Ear::new(socket(address), socket(beside))
    }
}

impl Pair {
    fn bound(vizard: &Vizard<'_>, number: u32) -> Self {
        let (customer, agent) = (format!("+131055501{number:02}"), format!("+164655502{number:02}"));
        let key = format!("soak-{number}");
        let arguments = ["bind", "create", "--key", &key, "--customer", &customer, "--agent", &agent];
        let binding = vizard.ask(&arguments).unwrap()["binding"].clone();
        let proxy = |party: &str| binding[party]["proxy"].as_str().unwrap().to_owned();
        let (customer_dials, agent_dials) = (proxy("customer"), proxy("agent"));
        Self { customer, agent, customer_dials, agent_dials, busy: false }
    }

    /// A side's own number.
    fn own(&self, side: Place) -> &str {
        match side {
            Place::Customer | Place::Vizard => &self.customer,
            Place::Agent => &self.agent,
        }
    }

    /// A side's own number, and what it dials.
    fn caller(&self, side: Place) -> (&str, &str) {
        match side {
            Place::Customer | Place::Vizard => (&self.customer, &self.customer_dials),
            Place::Agent => (&self.agent, &self.agent_dials),
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in KINDS {
            write!(f, "{} {what}, ", self.done.get(what).copied().unwrap_or(0))?;
        }
        write!(f, "{} packets heard, {} ports of Vizard's", self.packets, self.media_ports.len())
    }
}

/// A socket of a namespace that does not wait and has room for a pause of ours.
fn bind(namespace: &str, address: SocketAddr) -> UdpSocket {
    let open = || {
        let socket = socket::udp(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 1 << 20).unwrap();
        socket
    };
    namespace::inside(namespace, open).unwrap()
}
