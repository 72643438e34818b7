//! What the engine is told at start: addresses, trunks, routes, limits.
//!
//! Every value here is already checked; reading and checking files is
//! `settings`' work, so the engine never meets a half-valid configuration.
//! Names (of trunks, of media addresses) are resolved to indices there too.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::callback::{OnTombstone, Services};
use super::directory::{BindingKind, Usage};
use super::geography;
use super::guard::StrangerLimit;
use super::number::Country;
use super::sip::transport::{SentBy, Transport};
use super::targets::Targets;

/// Everything that the engine is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Signalling.
    pub sip: Sip,
    /// Media addresses and ports.
    pub media: Media,
    /// The peers, in the order of the file; [`TrunkId`] indexes them.
    pub trunks: Vec<Trunk>,
    /// Where numbers leave; the longest prefix wins.
    pub routes: Vec<Route>,
    /// Emergency calls.
    pub emergency: Emergency,
    /// How long bindings live.
    pub bindings: Bindings,
    /// Who answers where no live binding does.
    pub services: Services,
    /// When numbers run low.
    pub pool: Pool,
    /// How call detail records are written.
    pub records: Records,
    /// How long what nothing needs any more is kept.
    pub retention: Retention,
    /// Where numbers are looked for.
    pub geography: geography::Rules,
    /// Who may send to the signalling sockets, and how fast.
    pub guard: Guard,
    /// How real numbers are shown to those who may see them.
    pub unmask: Unmask,
    /// What bounds memory and load.
    pub limits: Limits,
}

/// How long what nothing needs any more is kept. What reserves numbers is kept by
/// its own times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Call detail records; zero is for ever, which it is unless somebody says how long:
    /// nobody's bills are to go unasked.
    pub cdrs: Duration,
    /// Which numbers a party has seen, after their cool-off: about as long as
    /// people recognise one.
    pub numbers_seen: Duration,
}

/// How call detail records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// How often a call that goes on is recorded so far, which is what a crash can cost;
    /// zero is never.
    pub interim_every: Duration,
}

impl Default for Records {
    fn default() -> Self {
        Self { interim_every: Duration::from_mins(15) }
    }
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self { cdrs: Duration::ZERO, numbers_seen: day * 30 }
    }
}

impl Config {
    /// The trunk of an id that this configuration issued.
    #[must_use]
    pub fn trunk(&self, id: TrunkId) -> Option<&Trunk> {
        self.trunks.get(usize::from(id.0))
    }

    /// The trunk with this name.
    #[must_use]
    pub fn trunk_named(&self, name: &str) -> Option<TrunkId> {
        self.trunks
            .iter()
            .position(|trunk| trunk.name == name)
            .and_then(|i| u16::try_from(i).ok())
            .map(TrunkId)
    }

    /// The trunk whose sources hold `address`; the narrowest network wins.
    #[must_use]
    pub fn trunk_of_source(&self, address: IpAddr) -> Option<TrunkId> {
        self.trunks
            .iter()
            .enumerate()
            .filter_map(|(index, trunk)| {
                let width =
                    trunk.sources.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()?;
                Some((width, index))
            })
            .max_by_key(|&(width, index)| (width, std::cmp::Reverse(index)))
            .and_then(|(_, index)| u16::try_from(index).ok())
            .map(TrunkId)
    }

    /// The trunk over which a number (digits, no `+`) leaves.
    #[must_use]
    pub fn route(&self, digits: &str) -> Option<TrunkId> {
        self.routes
            .iter()
            .filter(|route| digits.starts_with(&route.prefix))
            .max_by_key(|route| route.prefix.len())
            .map(|route| route.trunk)
    }
}

/// Signalling.
#[derive(Clone, Debug)]
pub struct Sip {
    /// Where requests arrive and leave; [`Trunk::listen`] indexes these.
    pub listen: Vec<Listen>,
    /// Retransmission timers of RFC 3261, table 4.
    pub timers: Timers,
    /// How long a called party may ring.
    pub ring_timeout: Duration,
    /// How long a target of a trunk may say nothing until the next one is tried.
    pub failover_after: Duration,
    /// How long a call may last.
    pub max_call: Duration,
    /// How often far ends show that they are there.
    pub session: SessionTimers,
    /// The `User-Agent` and `Server` that both sides see.
    pub product: String,
}

/// Session timers (RFC 4028).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimers {
    /// The longest interval between two refreshes, in seconds; zero for no timers.
    pub interval: u32,
    /// The shortest one that a far end may have, in seconds.
    pub shortest: u32,
}

impl Default for SessionTimers {
    fn default() -> Self {
        Self { interval: 1800, shortest: 90 }
    }
}

/// One signalling socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What it carries.
    pub transport: Transport,
    /// The address that is bound.
    pub local: SocketAddr,
    /// The address that Via and Contact show (differs behind NAT).
    pub advertised: SocketAddr,
}

impl Listen {
    /// What Via shows of it.
    #[must_use]
    pub const fn sent_by(&self) -> SentBy {
        SentBy { transport: self.transport, address: self.advertised }
    }
}

/// RFC 3261 table 4. Everything else follows from these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip estimate; 500 ms by default.
    pub t1: Duration,
    /// Longest interval of a non-INVITE request or INVITE response; 4 s.
    pub t2: Duration,
    /// Longest time a message stays in the network; 5 s.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

/// Media addresses and ports.
#[derive(Clone, Debug)]
pub struct Media {
    /// [`Trunk::media`] indexes these.
    pub addresses: Vec<MediaAddress>,
    /// RTP ports come from here in even/odd pairs.
    pub ports: RangeInclusive<u16>,
    /// How long a port pair rests after use.
    pub quarantine: Duration,
    /// The DiffServ code point that forwarded media carries (46 is EF).
    pub dscp: u8,
    /// How long silence is borne.
    pub patience: Patience,
    /// What far ends may agree on beside plain media.
    pub permissions: Permissions,
}

/// What far ends may agree on beside plain media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Encryption, where a binding does not say.
    pub encryption: Encryption,
    /// Header extensions of RTP, by their names (RFC 8285).
    pub extensions: Arc<[String]>,
}

/// Whether far ends may encrypt their media from one to the other. What they then
/// say beside it (RTCP, the certificates of DTLS) is out of our sight too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// No: a call that offers nothing else is refused.
    #[default]
    Strict,
    /// Yes: keys and fingerprints cross.
    EndToEnd,
}

impl Encryption {
    /// The word that the configuration and tables have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::EndToEnd => "end-to-end",
        }
    }
}

/// How long silence is borne; zero is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A call of which neither side was heard for so long is ended.
    pub timeout: Duration,
    /// A side that was not heard for so long, while the other was, is reported.
    pub one_way_after: Duration,
    /// How long after an answer a far end may be learned from a wider range than
    /// the one address that it signalled.
    pub learning_window: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(5),
            one_way_after: Duration::from_secs(10),
            learning_window: Duration::from_secs(10),
        }
    }
}

/// One address on which media arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaAddress {
    /// Its name in the configuration.
    pub name: String,
    /// The address on the interface.
    pub local: IpAddr,
    /// The address that SDP shows.
    pub advertised: IpAddr,
}

/// Names one trunk: its index in [`Config::trunks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrunkId(pub u16);

/// A SIP peer.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Its name in configuration and records.
    pub name: String,
    /// Where requests are sent.
    pub targets: Targets,
    /// How often OPTIONS asks the targets whether they are there; never, when absent.
    pub probe: Option<Duration>,
    /// What its messages may come from.
    pub sources: Vec<IpNet>,
    /// Over what requests are sent.
    pub transport: Transport,
    /// Which of [`Sip::listen`] it talks to.
    pub listen: usize,
    /// Which of [`Sip::listen`] is for requests that are too long for UDP; without
    /// one they go over UDP all the same.
    pub listen_large: Option<usize>,
    /// How it is known where it speaks TLS.
    pub tls: TlsPeer,
    /// Which of [`Media::addresses`] carries its media.
    pub media: usize,
    /// The country whose dialling habits and emergency numbers apply.
    pub country: Country,
    /// Whether its P-Asserted-Identity is believed (RFC 3325 section 9).
    pub trusted: bool,
    /// How its numbers are written.
    pub format: NumberFormat,
    /// Where its media may come from.
    pub media_source: MediaSource,
    /// Whether its far ends speak ICE.
    pub ice: Ice,
    /// Numbers and extensions that several people share: they tell nobody apart.
    pub shared: Vec<String>,
}

/// How a peer is known that speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPeer {
    /// What its certificate must name; the address that we connect to, when absent.
    pub name: Option<String>,
    /// Whether it must show a certificate when it connects to us.
    pub client_certificate: bool,
}

/// Whether ICE is spoken on a trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ice {
    /// No: what far ends say of it ends here, and they do without.
    #[default]
    Off,
    /// We are a lite agent (RFC 8445 section 2.5).
    Lite,
}

/// How numbers are written in a user part on the way out. On the way in every
/// form is understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberFormat {
    /// `+14155550100`
    #[default]
    E164,
    /// `14155550100`
    Plain,
}

/// The addresses from which the first media packet is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaSource {
    /// The address that SDP names; any port of it.
    #[default]
    Signalled,
    /// The peer is behind NAT: the address that its signalling came from, and
    /// media goes back to where it came from.
    Nat,
    /// A network that the operator names (a farm of media gateways).
    Network(IpNet),
}

/// Numbers with this prefix leave over this trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Digits without `+`; empty matches every number.
    pub prefix: String,
    /// The trunk.
    pub trunk: TrunkId,
}

/// Emergency calls.
#[derive(Clone, Debug, Default)]
pub struct Emergency {
    /// Where they leave; without it they are refused with 503, loudly.
    pub trunk: Option<TrunkId>,
    /// Numbers per country that replace the built-in ones.
    pub numbers: Vec<(Country, Vec<String>)>,
}

/// How long bindings live, where the request does not say.
#[derive(Clone, Debug)]
pub struct Bindings {
    /// Of kinds that have no times of their own.
    pub usual: Life,
    /// The times of each kind, in the order of [`BindingKind::ALL`].
    pub kinds: [Option<Life>; 4],
    /// The times of each kind for tenants that have their own.
    pub tenants: BTreeMap<String, [Life; 4]>,
    /// How long a number is not given again to a party that has seen it.
    pub cool_off: Duration,
}

impl Bindings {
    /// The times of a tenant's kind.
    #[must_use]
    pub fn life(&self, tenant: &str, kind: BindingKind) -> Life {
        let own = self.tenants.get(tenant).map(|kinds| kinds[kind as usize]);
        own.or(self.kinds[kind as usize]).unwrap_or(self.usual)
    }
}

/// How long a binding lives, and what is left of it after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Time-to-live of a new binding, and what reuse extends it by.
    pub time_to_live: Duration,
    /// How long an ended binding's pairs stay reserved for late callbacks.
    pub callback_window: Duration,
    /// What late callers meet meanwhile.
    pub on_tombstone: OnTombstone,
    /// How a new binding may be used.
    pub usage: Usage,
}

/// When numbers run low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// A place whose busiest party leaves less than this share of its numbers is
    /// low; percent.
    pub low_percent: u32,
    /// Bindings that one number may have; zero is no cap.
    pub bindings_per_number: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Self { low_percent: 20, bindings_per_number: 0 }
    }
}

/// Who may send to the signalling sockets, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Whether anybody is held back at all.
    pub enabled: bool,
    /// Packets a second that a source may send; zero for no limit.
    pub rate: u32,
    /// Packets that it may send at once.
    pub burst: u32,
    /// Whether trunks have that limit too.
    pub limit_trunks: bool,
    /// What it takes for a stranger to be denied; never, when absent.
    pub strangers: Option<StrangerLimit>,
}

impl Default for Guard {
    fn default() -> Self {
        let strangers = StrangerLimit {
            messages: 100,
            window: Duration::from_mins(1),
            deny_for: Duration::from_mins(10),
        };
        Self { enabled: true, rate: 50, burst: 100, limit_trunks: false, strangers: Some(strangers) }
    }
}

/// How real numbers are shown to those who may see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmask {
    /// Whether it takes a second person.
    pub two_person: bool,
    /// How often one user may ask, in any hour.
    pub per_hour: usize,
    /// How long a request waits for the second person.
    pub approve_within: Duration,
}

impl Default for Unmask {
    fn default() -> Self {
        Self { two_person: false, per_hour: 20, approve_within: Duration::from_hours(1) }
    }
}

/// What bounds memory and load. Each is counted when it bites.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls at a time.
    pub calls: usize,
    /// Bindings, tombstones included.
    pub bindings: usize,
    /// Numbers in the pool.
    pub numbers: usize,
    /// Transactions at a time. One that was answered is remembered for 32 s, so
    /// 3,000 calls per second keep about 300,000.
    pub transactions: usize,
    /// Bytes of one SIP message.
    pub message_bytes: usize,
    /// Header fields of one SIP message.
    pub headers: usize,
    /// Commits that wait for the store.
    pub pending_commits: usize,
    /// Callers of one agent number that have a binding of their own.
    pub callers_per_agent: usize,
    /// Agent numbers at which one caller has a binding of its own.
    pub agents_per_caller: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 20_000,
            bindings: 1_000_000,
            numbers: 100_000,
            transactions: 400_000,
            message_bytes: 16 * 1024,
            headers: 128,
            pending_commits: 50_000,
            callers_per_agent: 1_000,
            agents_per_caller: 20,
        }
    }
}
