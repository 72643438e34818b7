//! A world: Vizard's engine, the peers around it, and virtual time.
//!
//! The world takes what is due next, whether it is a message, a timer or a
//! fault, hands it over, does what the engine then says, and holds every
//! output against the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use vizard::engine::Engine;
use vizard::engine::call_record::Snapshot;
use vizard::engine::config::Config;
use vizard::engine::ids::{SessionId, Slot};
use vizard::engine::io::{Input, RequestId, Signal};
use vizard::engine::sip::transport::Way;
use vizard::engine::time::{Instant, Now, Timestamp};

use crate::admin::Request;
use crate::atlas::{LegId, customer_digits};
use crate::call::Call;
use crate::dice::Dice;
use crate::leaks::Secrets;
use crate::media::Datapath;
use crate::message::Message;
use crate::network::{Agenda, Happening};
use crate::peer::{Dialog, Effects, Endpoint, Wake};
use crate::scenario::{Errand, Host, Scenario};
use crate::setup;
use crate::store::Store;

/// What a finished world tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Calls dialled.
    pub(crate) calls: u64,
    /// Calls that both ends answered.
    pub(crate) answered: u64,
    /// Calls that reached their other end.
    pub(crate) connected: u64,
    /// Calls that went on after Vizard was killed, once for each time.
    pub(crate) survived: u64,
    /// Calls that went to the callback IVR.
    pub(crate) diverted: u64,
    /// SIP messages that Vizard sent.
    pub(crate) messages: u64,
    /// Media packets that reached the other party.
    pub(crate) packets: u64,
    /// Packets that arrived after a hold was taken back.
    pub(crate) resumed: u64,
    /// Packets of early media of a second telephone that arrived.
    pub(crate) forks: u64,
    /// Reports that arrived where one side alone has them on the port of RTP.
    pub(crate) lopsided: u64,
    /// Records.
    pub(crate) records: u64,
    /// Of everything that the engine put out, in order.
    pub(crate) trace: u64,
}

impl Report {
    /// Sums up.
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.connected += other.connected;
        self.survived += other.survived;
        self.diverted += other.diverted;
        self.messages += other.messages;
        self.packets += other.packets;
        self.resumed += other.resumed;
        self.forks += other.forks;
        self.lopsided += other.lopsided;
        self.records += other.records;
    }
}

/// Vizard and everybody around it.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) config: Arc<Config>,
    pub(crate) now: Duration,
    pub(crate) agenda: Agenda,
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) datapath: Datapath,
    pub(crate) secrets: Secrets,
    pub(crate) calls: Vec<Call>,
    /// Whose dialog a Call-ID names at a host.
    pub(crate) legs: BTreeMap<(Host, String), LegId>,
    pub(crate) sessions: BTreeMap<SessionId, usize>,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    /// Dialogs that Vizard opened for calls which it lost in a crash, when the
    /// caller's INVITE was repeated: nobody is there.
    pub(crate) orphans: BTreeSet<(Host, String)>,
    /// How many requests there were.
    pub(crate) asked: u64,
    /// The nonsense that is being handled.
    pub(crate) last_noise: Option<Vec<u8>>,
    /// The proxies of each planned binding: customer's and agent's.
    pub(crate) known: Vec<Option<crate::admin::Known>>,
    pub(crate) peer_dice: Dice,
    network_dice: Dice,
    pub(crate) chance: Dice,
    /// Vizard was asked to stop.
    pub(crate) stopping: bool,
    /// Vizard said that it may be stopped.
    pub(crate) drained: bool,
    pub(crate) report: Report,
    hasher: DefaultHasher,
    /// What happened, for people; kept when asked for.
    pub(crate) log: Option<Vec<String>>,
}

impl World {
    /// A world before its first moment. A traced one keeps a log.
    pub(crate) fn new(scenario: Scenario, traced: bool) -> Self {
        let seed = scenario.seed;
        let config = setup::config(&scenario);
        let mut secrets = Secrets::default();
        for party in &scenario.parties {
            if party.extension {
                secrets.add_extension(&party.user);
            } else {
                secrets.add_number(&party.user);
            }
        }
        secrets.add_number(&customer_digits(90));
        let mut chance = Dice::new(seed, "faults");
        let store = Store::new(scenario.store, Dice::new(seed, "store"));
        let engine = Engine::new(
            Arc::clone(&config),
            Arc::clone(&store.vault),
            Slot(7),
            chance.seed(),
            now(Duration::ZERO),
            Snapshot::default(),
        );
        Self {
            config,
            now: Duration::ZERO,
            agenda: Agenda::default(),
            engine,
            store,
            datapath: Datapath::new(setup::QUARANTINE),
            secrets,
            calls: scenario.calls.iter().map(|_| Call::default()).collect(),
            legs: BTreeMap::new(),
            sessions: BTreeMap::new(),
            requests: BTreeMap::new(),
            orphans: BTreeSet::new(),
            asked: 0,
            last_noise: None,
            known: vec![None; scenario.bindings.len()],
            peer_dice: Dice::new(seed, "peers"),
            network_dice: Dice::new(seed, "network"),
            chance,
            stopping: false,
            drained: false,
            report: Report::default(),
            hasher: DefaultHasher::new(),
            log: traced.then(Vec::new),
            scenario,
        }
    }

    /// Lives through the scenario, then looks at what is left.
    pub(crate) fn run(&mut self) -> Result<Report, String> {
        self.note(|world| world.scenario.summary());
        self.agenda.plan(Duration::ZERO, Happening::Fill);
        self.write_agenda();
        self.live(Duration::from_hours(1))?;
        self.check_rest()?;
        self.epilogue()?;
        self.report.records = self.store.cdrs.len() as u64;
        self.report.packets = self.datapath.delivered;
        self.report.trace = self.hasher.finish();
        Ok(self.report)
    }

    fn write_agenda(&mut self) {
        for (index, plan) in self.scenario.calls.iter().enumerate() {
            self.agenda.plan(plan.at, Happening::Dial(index));
        }
        for (index, (at, _)) in self.scenario.errands.iter().enumerate() {
            self.agenda.plan(*at, Happening::Errand(index));
        }
        for at in &self.scenario.noise {
            self.agenda.plan(*at, Happening::Noise);
        }
        for at in &self.scenario.crashes {
            self.agenda.plan(*at, Happening::Crash);
        }
        if let Some(at) = self.scenario.shutdown {
            self.agenda.plan(at, Happening::Shutdown);
        }
    }

    /// Lets things happen until nothing is going to, for at most `patience`.
    pub(crate) fn live(&mut self, patience: Duration) -> Result<(), String> {
        let end = self.now + patience;
        let mut idle_turns = 0;
        loop {
            let planned = self.agenda.next();
            // A process that may be stopped is not called again.
            let engine = self
                .engine
                .poll_timeout()
                .filter(|_| !self.drained)
                .map(|(at, reason)| (at.since_origin(), reason));
            let Some(next) = [planned, engine.map(|(at, _)| at)].into_iter().flatten().min() else {
                return Ok(());
            };
            if planned.is_none() && next > self.now + crate::checks::REST {
                return Ok(());
            }
            if next > end {
                return Err(format!("the world does not come to rest; next is {engine:?}"));
            }
            idle_turns = if next > self.now { 0 } else { idle_turns + 1 };
            if idle_turns > 10_000 {
                return Err(format!("time stands still at {engine:?}"));
            }
            self.now = self.now.max(next);
            if planned.is_some_and(|at| at <= next) {
                if let Some((_, happening)) = self.agenda.pop() {
                    self.happen(happening)?;
                }
            } else {
                self.engine.handle_timeout(now(self.now));
                self.drain(None)?;
            }
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::ToEngine(signal, from) => self.reaches_engine(signal, from),
            Happening::ToPeer(leg, message) => self.reaches_peer(leg, &message),
            Happening::Wake(leg, wake) => self.wake(leg, wake),
            Happening::Dial(index) => self.dial(index),
            Happening::Media(index) => self.talk(index),
            Happening::StoreAnswers => match self.store.answer()? {
                Some(input) => self.input(input, None),
                None => Ok(()),
            },
            Happening::Datapath(input) => self.input(input, None),
            Happening::Errand(index) => {
                let errand = self.scenario.errands[index].1;
                self.errand(errand)
            }
            Happening::Fill => self.ask(Request::Pool, setup::pool_add(&self.scenario)),
            Happening::Noise => self.noise(),
            Happening::Crash => self.crash(),
            Happening::Shutdown => {
                self.stopping = true;
                self.note(|_| "asked to stop".into());
                self.input(Input::Shutdown, None)
            }
        }
    }

    /// Hands something to the engine and does what it says. `call` is the call
    /// that it is about, if that is known.
    pub(crate) fn input(&mut self, input: Input, call: Option<usize>) -> Result<(), String> {
        if self.drained {
            return Ok(());
        }
        self.check_text(&format!("{input:?}"))?;
        self.engine.handle_input(now(self.now), input);
        self.drain(call)
    }

    fn drain(&mut self, call: Option<usize>) -> Result<(), String> {
        while let Some(output) = self.engine.poll_output() {
            let text = format!("{output:?}");
            text.hash(&mut self.hasher);
            self.check_text(&text)?;
            self.output(output, call)?;
        }
        Ok(())
    }

    /// Adds the bytes of a message to the trace's hash.
    pub(crate) fn digest(&mut self, bytes: &[u8]) {
        (self.now, bytes).hash(&mut self.hasher);
    }

    fn reaches_engine(&mut self, signal: Signal, from: Option<(LegId, Message)>) -> Result<(), String> {
        if self.drained {
            return Ok(());
        }
        let call = from.as_ref().map(|(leg, _)| leg.call);
        if let Some((leg, message)) = from {
            self.note(|_| format!("{leg:?} -> vizard: {}", message.summary()));
            let now = self.now;
            self.calls[leg.call].seen(leg.side).observe(now, &message);
        }
        self.input(Input::Received(signal), call)
    }

    fn reaches_peer(&mut self, leg: LegId, message: &Message) -> Result<(), String> {
        self.note(|_| format!("vizard -> {leg:?}: {}", message.summary()));
        if self.calls[leg.call].endpoint(leg.side).is_some() {
            return self.act(leg, |endpoint, fx| endpoint.receive(message, fx));
        }
        if message.method() != "INVITE" {
            // Its INVITE was lost; nobody is there yet.
            return Ok(());
        }
        let plan = &self.scenario.calls[leg.call];
        let (script, canaries) = (plan.callee.clone(), plan.canaries);
        let record_route = plan.record_route;
        let host = self.calls[leg.call].callee_leg.host.ok_or("an INVITE to no host")?;
        let here = host.address();
        let there = setup::vizard_of(self.scenario.topology, host);
        let tag = self.peer_dice.token();
        let user = self.calls[leg.call].callee_leg.own[0].clone();
        let mut dialog = Dialog::incoming(message, (here, there), user, tag);
        dialog.record_route = record_route.then(|| format!("<sip:{here};lr>"));
        let mut fx = effects(self.now, &mut self.peer_dice);
        let endpoint = Endpoint::called(leg, dialog, &script, message, canaries, &mut fx);
        let (sends, wakes, complaints) = (fx.sends, fx.wakes, fx.complaints);
        self.calls[leg.call].callee = Some(endpoint);
        self.perform(leg, sends, wakes, &complaints)
    }

    fn wake(&mut self, leg: LegId, wake: Wake) -> Result<(), String> {
        self.act(leg, |endpoint, fx| endpoint.wake(wake, fx))
    }

    pub(crate) fn act(
        &mut self,
        leg: LegId,
        act: impl FnOnce(&mut Endpoint, &mut Effects<'_>),
    ) -> Result<(), String> {
        let mut fx = effects(self.now, &mut self.peer_dice);
        let Some(endpoint) = self.calls[leg.call].endpoint(leg.side) else { return Ok(()) };
        act(endpoint, &mut fx);
        let (sends, wakes, complaints) = (fx.sends, fx.wakes, fx.complaints);
        self.perform(leg, sends, wakes, &complaints)
    }

    /// Does what an endpoint wants done.
    fn perform(
        &mut self,
        leg: LegId,
        sends: Vec<Message>,
        wakes: Vec<(Duration, Wake)>,
        complaints: &[String],
    ) -> Result<(), String> {
        if let Some(complaint) = complaints.first()
            && !self.calls[leg.call].crashed
        {
            return Err(format!("{leg:?} complains of {complaint}"));
        }
        for (after, wake) in wakes {
            self.agenda.plan(self.now + after, Happening::Wake(leg, wake));
        }
        let Some(endpoint) = self.calls[leg.call].endpoint(leg.side) else { return Ok(()) };
        let (remote, local) = (endpoint.dialog.here, endpoint.dialog.there);
        for message in sends {
            let signal = Signal { way: Way::udp(local, remote), bytes: message.bytes() };
            for delay in self.scenario.link.deliveries(&mut self.network_dice) {
                let from = Some((leg, message.clone()));
                self.agenda.plan(self.now + delay, Happening::ToEngine(signal.clone(), from));
            }
        }
        Ok(())
    }

    /// Sends something of Vizard's through the network.
    pub(crate) fn carry(&mut self, leg: LegId, message: &Message) {
        for delay in self.scenario.link.deliveries(&mut self.network_dice) {
            self.agenda.plan(self.now + delay, Happening::ToPeer(leg, message.clone()));
        }
    }

    /// The process is killed and starts again from what is durable.
    fn crash(&mut self) -> Result<(), String> {
        if self.drained {
            return Ok(());
        }
        self.note(|_| "killed; starts again".into());
        let snapshot = self.store.crash()?;
        self.survivors(&snapshot);
        self.agenda.forget(|happening| matches!(happening, Happening::StoreAnswers | Happening::Datapath(_)));
        self.datapath.orphan();
        self.requests.clear();
        let seed = self.chance.seed();
        let (config, vault) = (Arc::clone(&self.config), Arc::clone(&self.store.vault));
        self.engine = Engine::new(config, vault, Slot(7), seed, now(self.now), snapshot);
        self.drain(None)
    }

    /// Calls that the journal says are in progress survive, unless something was
    /// on its way in them; of the others nothing is demanded but their records.
    fn survivors(&mut self, snapshot: &Snapshot) {
        for call in self.calls.iter_mut().filter(|call| call.caller.is_some()) {
            let kept = call.session.and_then(|id| snapshot.calls.iter().find(|kept| kept.session == id));
            let whole = kept.is_some_and(|kept| {
                let talks = kept.legs.iter().all(|leg| leg.dialog.is_some());
                talks && kept.unacknowledged.is_none() && kept.release.is_none()
            });
            let survives = whole && call.is_settled();
            call.crashed |= !survives;
            self.report.survived += u64::from(survives);
        }
    }

    /// Adds a line to the log, if there is one.
    pub(crate) fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.log.is_some() {
            let line = format!("{:>10.3} {}", self.now.as_secs_f64(), line(self));
            self.log.get_or_insert_default().push(line);
        }
    }

    /// Asks for what the scenario says.
    fn errand(&mut self, errand: Errand) -> Result<(), String> {
        let (request, what) = self.prepare(errand);
        match what {
            Some(what) => self.ask(request, what),
            None => Ok(()),
        }
    }
}

/// Both clocks at a virtual time.
pub(crate) fn now(at: Duration) -> Now {
    Now { mono: Instant::after_origin(at), wall: Timestamp::from_unix_microseconds(setup::BEGINNING) + at }
}

fn effects(now: Duration, dice: &mut Dice) -> Effects<'_> {
    Effects { now, dice, sends: Vec::new(), wakes: Vec::new(), complaints: Vec::new() }
}
