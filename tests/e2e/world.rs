//! A lab with a vizard in it, a binding, and what every test asks of both.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::programs::XdpMode;
use harness::capture::{Capture, Recorder};
use harness::lab::{self, Family, Lab, Link, Place, Shape};
use harness::namespace::inside;
use harness::sipp::{Peer, Role, Seen};
use harness::vizard::{Vizard, build_for_tests, root};
use serde_json::Value;
use vizard::datapath::xdp::load;
use vizard::datapath::{DatapathConfig, Mode};

use crate::certificates;

/// The parties' own numbers, from ranges that are reserved for fiction.
pub(crate) const CUSTOMER: &str = "+13105550142";
pub(crate) const AGENT: &str = "+16465550107";

/// Which media path vizard is told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaPath {
    Native,
    Generic,
    Sockets,
}

impl MediaPath {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Native => "xdp-native",
            Self::Generic => "xdp-generic",
            Self::Sockets => "sockets",
        }
    }
}

/// How a world differs from the usual one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) shape: Shape,
    pub(crate) family: Family,
    /// The agent's family, where it is another one.
    pub(crate) agent_family: Option<Family>,
    /// What the customer's side speaks SIP over, and the agent's.
    pub(crate) links: [Link; 2],
    pub(crate) path: MediaPath,
    /// The country of the agent's trunk.
    pub(crate) country: &'static str,
    /// Whether no other test runs meanwhile: where load is part of the test, or would
    /// decide it.
    pub(crate) alone: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            shape: Shape::TwoSides,
            family: Family::V4,
            agent_family: None,
            links: [Link::Udp; 2],
            path: MediaPath::Native,
            country: "US",
            alone: false,
        }
    }
}

impl Plan {
    /// The family of a party's side.
    pub(crate) fn family_of(&self, place: Place) -> Family {
        let agent = self.agent_family.filter(|_| place == Place::Agent);
        agent.unwrap_or(self.family)
    }

    /// What a party's side speaks SIP over.
    pub(crate) const fn link_of(&self, place: Place) -> Link {
        match place {
            Place::Customer | Place::Vizard => self.links[0],
            Place::Agent => self.links[1],
        }
    }
}

/// A test's leave to run.
enum Turn {
    Beside { _others: RwLockReadGuard<'static, ()> },
    Alone { _all: RwLockWriteGuard<'static, ()> },
}

impl Turn {
    /// Waits for it. A test that failed has left nothing behind that the next one
    /// would meet.
    fn take(alone: bool) -> Self {
        static TURNS: RwLock<()> = RwLock::new(());
        if alone {
            Self::Alone { _all: TURNS.write().unwrap_or_else(PoisonError::into_inner) }
        } else {
            Self::Beside { _others: TURNS.read().unwrap_or_else(PoisonError::into_inner) }
        }
    }
}

/// A lab, its folder, and the turn that this test holds.
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) plan: Plan,
    _receiver: Option<Ebpf>,
    _turn: Turn,
}

/// Sets up a world; `None` when the privileged tests are to be skipped.
pub(crate) fn world(plan: Plan) -> Option<World> {
    static SWEPT: Once = Once::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if !harness::is_root() {
        assert!(
            std::env::var_os("VIZARD_SKIP_PRIVILEGED").is_some_and(|value| value == "1"),
            "end-to-end tests create network namespaces and need root; set VIZARD_SKIP_PRIVILEGED=1 to skip them"
        );
        eprintln!("SKIPPED: needs root");
        return None;
    }
    let turn = Turn::take(plan.alone);
    SWEPT.call_once(|| lab::sweep().unwrap());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("vzt{}-{count}", std::process::id());
    let folder = root().join(".lab").join(&name);
    let lab = Lab::new(&name, plan.shape, &folder).unwrap();
    if plan.links.contains(&Link::Tls) {
        certificates::make(&lab);
    }
    let receiver = (plan.shape == Shape::OneWire).then(|| receive_transmitted(&lab));
    Some(World { lab, plan, _receiver: receiver, _turn: turn })
}

/// Attaches a program that passes everything to the peers' end of the wire: veth
/// hands over what XDP transmits on the interface it came in on only to an end
/// that has a program, while GRO is enough for what is redirected.
fn receive_transmitted(lab: &Lab) -> Ebpf {
    let config = DatapathConfig {
        mode: Mode::XdpNative,
        interfaces: Vec::new(),
        addresses: vec![lab.vizard(Place::Customer, Family::V4)],
        ports: 20_000..=20_001,
        guard: None,
        pin: None,
        discard_calls: false,
    };
    let attach = || {
        let mut object = load::load(&load::layout(&config).unwrap(), false).unwrap();
        load::bare_program(&mut object).unwrap().attach("eth0", XdpMode::Driver).unwrap();
        object
    };
    inside(&lab.namespace_of(Place::Customer).unwrap(), attach).unwrap()
}

impl Drop for World {
    /// Keeps logs and captures of a test that failed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs and captures are in {}", self.lab.folder().display());
        } else {
            let _ = fs::remove_dir_all(self.lab.folder());
        }
    }
}

impl World {
    /// Starts vizard with the plan's configuration.
    pub(crate) fn start(&self) -> Vizard<'_> {
        self.start_with(&self.config())
    }

    /// Starts vizard with this configuration.
    pub(crate) fn start_with(&self, config: &str) -> Vizard<'_> {
        Vizard::start(&self.lab, binary(), &self.write("vizard.toml", config)).unwrap()
    }

    /// Writes a file into the lab's folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.lab.folder().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The plan's configuration.
    pub(crate) fn config(&self) -> String {
        let Plan { shape, path, country, .. } = self.plan;
        let interfaces = if shape == Shape::OneWire { r#""vz-wire""# } else { r#""vz-cust", "vz-agent""# };
        let port = |side| self.lab.port_over(self.plan.link_of(side));
        let listen =
            |side| std::net::SocketAddr::new(self.lab.vizard(side, self.plan.family_of(side)), port(side));
        let mut text = format!("[sip]\n{}", self.listens(&listen));
        write!(
            text,
            "\n[media]\npath = \"{}\"\ninterfaces = [{interfaces}]\nports = \"20000-20999\"\n",
            path.word()
        )
        .unwrap();
        for (place, name, country) in [(Place::Customer, "carrier", "US"), (Place::Agent, "pbx", country)] {
            let family = self.plan.family_of(place);
            let (local, peer) = (self.lab.vizard(place, family), self.lab.peer(place, family));
            let target = std::net::SocketAddr::new(peer, port(place));
            let link = self.plan.link_of(place);
            let mutual = if link == Link::Tls { "client_certificate = true\n" } else { "" };
            write!(
                text,
                "\n[[media.address]]\nname = \"{name}\"\nlocal = \"{local}\"\n\n[[trunk]]\nname = \"{name}\"\n\
                 target = \"{target}\"\nsources = [\"{peer}\"]\nlisten = \"{}\"\nmedia = \"{name}\"\n\
                 country = \"{country}\"\ntrusted = true\ntransport = \"{}\"\n{mutual}",
                listen(place),
                link.word()
            )
            .unwrap();
        }
        text.push_str("\n[[route]]\nprefix = \"+1646\"\ntrunk = \"pbx\"\n\n[[route]]\nprefix = \"*\"\ntrunk = \"carrier\"\n");
        text.push_str("\n[emergency]\ntrunk = \"carrier\"\n");
        text
    }

    /// Where SIP arrives, by what it comes over.
    fn listens(&self, listen: &impl Fn(Place) -> std::net::SocketAddr) -> String {
        let mut text = String::new();
        for (key, link) in [("listen", Link::Udp), ("listen_tcp", Link::Tcp), ("listen_tls", Link::Tls)] {
            let sides = [Place::Customer, Place::Agent];
            let sides = sides.into_iter().filter(|&side| self.plan.link_of(side) == link);
            let addresses: Vec<String> = sides.map(|side| format!("\"{}\"", listen(side))).collect();
            if !addresses.is_empty() {
                writeln!(text, "{key} = [{}]", addresses.join(", ")).unwrap();
            }
        }
        if self.plan.links.contains(&Link::Tls) {
            text.push_str(&certificates::configured(&self.lab));
        }
        text
    }

    /// Places a call between two peers, with a capture at both.
    pub(crate) fn call(&self, caller: Peer, callee: Peer) -> Outcome {
        let (from, to) = (caller.place, callee.place);
        let recorder = |place, peer: &Peer| Recorder::start(&self.lab, place, &peer.name).unwrap();
        let (near, far) = (recorder(from, &caller), recorder(to, &callee));
        let placed = |peer: Peer, place| peer.over(self.plan.family_of(place)).by(self.plan.link_of(place));
        let listening = placed(callee, to).start(&self.lab).unwrap();
        let calling = placed(caller, from).start(&self.lab).unwrap();
        let (caller, callee) = (calling.finish(), listening.finish());
        let (near, far) = (near.finish().unwrap(), far.finish().unwrap());
        Outcome { caller: caller.unwrap(), callee: callee.unwrap(), near, far }
    }
}

/// A peer that stands where this party does, with its number, and calls.
pub(crate) fn caller_at(place: Place, role: Role, dials: &str) -> Peer {
    Peer::new(&format!("{}-calls", name(place)), place, role, number(place), dials)
}

/// A peer that stands where this party does, and is called.
pub(crate) fn callee_at(place: Place, role: Role) -> Peer {
    Peer::new(&format!("{}-is-called", name(place)), place, role, "", number(place)).sounding(660)
}

/// What both ends of a call saw.
pub(crate) struct Outcome {
    pub(crate) caller: Seen,
    pub(crate) callee: Seen,
    /// The capture at the caller's, and the one at the callee's.
    pub(crate) near: Capture,
    pub(crate) far: Capture,
}

/// The numbers of a binding between the two parties.
pub(crate) struct Bound {
    pub(crate) id: String,
    pub(crate) customer_dials: String,
    pub(crate) agent_dials: String,
}

impl Bound {
    /// What this party dials and sees.
    pub(crate) fn proxy_of(&self, place: Place) -> &str {
        if place == Place::Agent { &self.agent_dials } else { &self.customer_dials }
    }
}

/// Fills the pool and binds the two parties.
pub(crate) fn bind(vizard: &Vizard<'_>) -> Bound {
    vizard.ask(&["pool", "add", "+12125550123", "+12125550188"]).unwrap();
    let arguments = ["bind", "create", "--key", "order-81", "--customer", CUSTOMER, "--agent", AGENT];
    let binding = vizard.ask(&arguments).unwrap()["binding"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Bound {
        id: text(&binding["id"]),
        customer_dials: text(&binding["customer"]["proxy"]),
        agent_dials: text(&binding["agent"]["proxy"]),
    }
}

/// What `seen` finds in the one call in progress, which it must do in time.
pub(crate) fn in_progress<T>(
    vizard: &Vizard<'_>,
    within: Duration,
    what: &str,
    seen: impl Fn(&Value) -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        let calls = vizard.ask(&["calls"]).unwrap();
        if let Some(found) = seen(&calls["calls"][0]) {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: {calls:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The leg that faces a party.
pub(crate) fn leg(records: &[Value], place: Place) -> &Value {
    let name = if place == Place::Agent { "B" } else { "A" };
    records.iter().find(|record| record["leg"] == name).unwrap()
}

/// The other party.
pub(crate) const fn other(place: Place) -> Place {
    match place {
        Place::Agent => Place::Customer,
        Place::Customer | Place::Vizard => Place::Agent,
    }
}

/// A party's own number.
pub(crate) const fn number(place: Place) -> &'static str {
    match place {
        Place::Agent => AGENT,
        Place::Customer | Place::Vizard => CUSTOMER,
    }
}

/// The capture of a side shows neither the other party's number nor its address.
pub(crate) fn assert_hidden(lab: &Lab, family: Family, side: Place, capture: &Capture) {
    let hidden = other(side);
    for needle in [&number(hidden)[2..], &lab.peer(hidden, family).to_string()] {
        assert_eq!(capture.occurrences(needle), 0, "{needle} reached the {}", name(side));
    }
}

/// The binary under test, built once.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build_for_tests().unwrap())
}

pub(crate) const fn name(place: Place) -> &'static str {
    match place {
        Place::Customer => "customer",
        Place::Vizard => "vizard",
        Place::Agent => "agent",
    }
}
