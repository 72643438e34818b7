//! What a seed stands for: the network, its faults, who knows whom, who calls
//! whom and what else happens. Everything here is decided before the world
//! begins; the peers' and the network's own dice decide the rest.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use vizard::engine::config::Patience;

use crate::atlas::{agent_digits, customer_digits, extension, proxy_digits};
use crate::dice::Dice;
use crate::network::Link;
use crate::peer::script::{CalleeScript, CallerScript};
use crate::store::StoreFaults;

/// How the trunks lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// Customers and agents behind trunks of their own.
    Apart,
    /// One carrier for both.
    Shared,
    /// The agents are extensions of a PBX.
    Pbx,
}

/// A seed, spelled out.
#[expect(clippy::struct_excessive_bools, reason = "each is an independent property of the world")]
pub(crate) struct Scenario {
    /// The seed.
    pub(crate) seed: u64,
    /// No fault of any sort: then every call must go as its script says.
    pub(crate) calm: bool,
    /// How the trunks lie.
    pub(crate) topology: Topology,
    /// The country of the trunks.
    pub(crate) country: &'static str,
    /// Whether the trunks' P-Asserted-Identity is believed.
    pub(crate) trusted: bool,
    /// Whether an emergency trunk is configured.
    pub(crate) emergency_trunk: bool,
    /// Whether there is a callback IVR, where the emergency service is.
    pub(crate) ivr: bool,
    /// Whether numbers leave without `+`.
    pub(crate) plain_format: bool,
    /// RTP ports.
    pub(crate) ports: Range<u16>,
    /// How datagrams fare.
    pub(crate) link: Link,
    /// How commits fare.
    pub(crate) store: StoreFaults,
    /// Of a thousand flows, how many are refused.
    pub(crate) refused_flows: u32,
    /// How long silence is borne.
    pub(crate) patience: Patience,
    /// Everybody.
    pub(crate) parties: Vec<Party>,
    /// How many numbers the pool has.
    pub(crate) pool: usize,
    /// Bindings that the platform asks for.
    pub(crate) bindings: Vec<BindingPlan>,
    /// Calls, in order of time.
    pub(crate) calls: Vec<CallPlan>,
    /// Other administrative requests.
    pub(crate) errands: Vec<(Duration, Errand)>,
    /// When nonsense arrives.
    pub(crate) noise: Vec<Duration>,
    /// When the process is killed.
    pub(crate) crashes: Vec<Duration>,
    /// When the process is asked to stop.
    pub(crate) shutdown: Option<Duration>,
}

/// Somebody with a real number.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    /// E.164 digits without `+`, or the extension.
    pub(crate) user: String,
    /// Whether it is an extension.
    pub(crate) extension: bool,
    /// Which trunk leads there.
    pub(crate) host: Host,
}

/// The hosts on the far sides of Vizard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// The customers' carrier, or everybody's.
    Customers,
    /// The agents' carrier.
    Agents,
    /// The agents' PBX.
    Pbx,
    /// The emergency service.
    Emergency,
}

impl Host {
    /// Every host, in the order of the trunks.
    pub(crate) const ALL: [Self; 4] = [Self::Customers, Self::Agents, Self::Pbx, Self::Emergency];

    /// Its signalling address.
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Self::Customers => ([192, 0, 2, 10], 5060).into(),
            Self::Agents => ([198, 51, 100, 10], 5060).into(),
            Self::Pbx => ([198, 51, 100, 20], 5066).into(),
            Self::Emergency => ([203, 0, 113, 10], 5060).into(),
        }
    }

    /// The name of its trunk.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Agents => "agents",
            Self::Pbx => "pbx",
            Self::Emergency => "emergency",
        }
    }
}

/// A binding to ask for.
#[derive(Clone, Debug)]
pub(crate) struct BindingPlan {
    /// When.
    pub(crate) at: Duration,
    /// Index of the customer.
    pub(crate) customer: usize,
    /// Index of the agent.
    pub(crate) agent: usize,
    /// Its key.
    pub(crate) key: String,
    /// How long it lives.
    pub(crate) time_to_live: Option<Duration>,
}

/// A call to make.
#[derive(Clone, Debug)]
pub(crate) struct CallPlan {
    /// When.
    pub(crate) at: Duration,
    /// Whose proxy is dialled: the index of a binding.
    pub(crate) binding: usize,
    /// Whether the customer calls.
    pub(crate) from_customer: bool,
    /// What is special about it.
    pub(crate) purpose: Purpose,
    /// Index of how the dialled number is written.
    pub(crate) style: usize,
    /// Whether headers carry canaries.
    pub(crate) canaries: bool,
    /// Whether a proxy in front of the peer records its route.
    pub(crate) record_route: bool,
    /// The caller's part.
    pub(crate) caller: CallerScript,
    /// The called end's part.
    pub(crate) callee: CalleeScript,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A party calls its proxy.
    Bound,
    /// As before, known by P-Asserted-Identity alone where that is believed.
    Asserted,
    /// A party claims, on an untrusted trunk, to be another.
    Impostor,
    /// Somebody who is bound to nobody dials a proxy.
    Stranger,
    /// A caller without identity dials a proxy.
    Anonymous,
    /// A party dials a number that is not in the pool.
    WrongNumber,
    /// A party dials the other's real number, which it cannot know.
    RealNumber,
    /// A party dials an emergency number.
    Emergency,
}

/// An administrative request beside the bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Create this planned binding.
    Bind(usize),
    /// Close this planned binding.
    Close(usize),
    /// List bindings, page by page.
    ListBindings,
    /// List the pool.
    ListPool,
    /// List calls and show one.
    ListCalls,
    /// Hang up a call in progress.
    Hangup,
    /// Read the counters.
    Counters,
    /// Ask for something that makes no sense.
    Nonsense,
}

/// When the directory's own life is over: every world is done long before.
pub(crate) const DEFAULT_LIFE: Duration = Duration::from_hours(4);

impl Scenario {
    /// What this seed stands for, with so many calls.
    pub(crate) fn new(seed: u64, calls: usize) -> Self {
        let mut dice = Dice::new(seed, "scenario");
        let calm = seed.is_multiple_of(4);
        let topology = *dice.pick(&[Topology::Apart, Topology::Apart, Topology::Shared, Topology::Pbx]);
        let length = Duration::from_millis(700) * u32::try_from(calls).expect("few");
        let faulty = |dice: &mut Dice, permille: u32| !calm && dice.chance(permille);
        let link = Link {
            loss: if faulty(&mut dice, 700) {
                u32::try_from(dice.between(5, 120)).expect("small")
            } else {
                0
            },
            duplication: if faulty(&mut dice, 600) { 60 } else { 0 },
            delay: if faulty(&mut dice, 700) { dice.between(5, 250) } else { 0 },
            stray: if faulty(&mut dice, 300) { 10 } else { 0 },
        };
        let store = StoreFaults {
            delay: if calm { 5 } else { dice.between(0, 400) },
            failures: if faulty(&mut dice, 300) { 80 } else { 0 },
            conflicts: if faulty(&mut dice, 300) { 80 } else { 0 },
        };
        let crashes = if faulty(&mut dice, 250) {
            (0..=dice.below(2)).map(|_| dice.millis(500, 500 + as_millis(length))).collect()
        } else {
            Vec::new()
        };
        let shutdown = faulty(&mut dice, 150).then(|| length.mul_f64(0.8));
        let parties = parties(&mut dice, topology);
        let bindings = bindings(&mut dice, &parties, calm, length);
        let calls = call_plans(&mut dice, (calls, length), bindings.len(), calm);
        let errands = errands(&mut dice, (calls.len(), length), &bindings, calm);
        let noise = if calm {
            Vec::new()
        } else {
            (0..calls.len()).map(|_| dice.millis(0, as_millis(length))).collect()
        };
        Self {
            seed,
            calm,
            topology,
            country: *dice.pick(&["US", "US", "DE"]),
            trusted: dice.chance(500),
            emergency_trunk: dice.chance(800),
            ivr: Dice::new(seed, "services").chance(500),
            plain_format: dice.chance(300),
            ports: if !calm && dice.chance(200) { 40_000..40_064 } else { 40_000..44_000 },
            link: if calm { Link::PERFECT } else { link },
            store,
            refused_flows: if faulty(&mut dice, 150) { 20 } else { 0 },
            patience: if !calm && dice.chance(300) {
                Patience {
                    timeout: dice.millis(2000, 12_000),
                    one_way_after: dice.millis(500, 3000),
                    ..Patience::default()
                }
            } else {
                Patience { timeout: Duration::ZERO, ..Patience::default() }
            },
            parties,
            pool: dice.between(4, 16).try_into().expect("small"),
            bindings,
            calls,
            errands,
            noise,
            crashes,
            shutdown,
        }
    }

    /// The pool's numbers, digits without `+`.
    pub(crate) fn pool_digits(&self) -> Vec<String> {
        (0..self.pool).map(proxy_digits).collect()
    }

    /// One line for a trace.
    pub(crate) fn summary(&self) -> String {
        format!(
            "seed {}: {:?}, {}, {} calls, {:?}, {:?}, refused flows {}‰, crashes {:?}, shutdown {:?}",
            self.seed,
            self.topology,
            self.country,
            self.calls.len(),
            self.link,
            self.store,
            self.refused_flows,
            self.crashes,
            self.shutdown,
        )
    }
}

/// Customers, agents, and at the end strangers.
fn parties(dice: &mut Dice, topology: Topology) -> Vec<Party> {
    let customers = dice.between(2, 8).try_into().expect("small");
    let agents: usize = dice.between(1, 5).try_into().expect("small");
    let mut parties: Vec<Party> = (0..customers)
        .map(|index| Party { user: customer_digits(index), extension: false, host: Host::Customers })
        .collect();
    parties.extend((0..agents).map(|index| match topology {
        Topology::Apart => Party { user: agent_digits(index), extension: false, host: Host::Agents },
        Topology::Shared => Party { user: agent_digits(index), extension: false, host: Host::Customers },
        Topology::Pbx => Party { user: extension(index), extension: true, host: Host::Pbx },
    }));
    parties.push(Party { user: customer_digits(90), extension: false, host: Host::Customers });
    parties
}

fn bindings(dice: &mut Dice, parties: &[Party], calm: bool, length: Duration) -> Vec<BindingPlan> {
    let is_agent = |party: &Party| party.extension || party.user.starts_with("1212");
    let agents: Vec<usize> = (0..parties.len()).filter(|&i| is_agent(&parties[i])).collect();
    let customers: Vec<usize> = (0..agents[0]).collect();
    let count = dice.between(3, 14);
    (0..count)
        .map(|index| BindingPlan {
            at: if calm || dice.chance(500) {
                dice.millis(500, 600)
            } else {
                dice.millis(500, as_millis(length))
            },
            customer: *dice.pick(&customers),
            agent: *dice.pick(&agents),
            key: if dice.chance(200) { "order-shared".into() } else { format!("order-{index}") },
            time_to_live: (!calm && dice.chance(300)).then(|| dice.millis(1000, 20_000)),
        })
        .collect()
}

fn call_plans(
    dice: &mut Dice,
    (calls, length): (usize, Duration),
    bindings: usize,
    calm: bool,
) -> Vec<CallPlan> {
    let mut plans: Vec<CallPlan> = (0..calls)
        .map(|index| {
            let plain = index % 8 == 0 || (calm && dice.chance(200));
            let purpose = match dice.below(20) {
                0 => Purpose::Stranger,
                1 => Purpose::Anonymous,
                2 => Purpose::WrongNumber,
                3 => Purpose::Emergency,
                4 => Purpose::Impostor,
                5 => Purpose::RealNumber,
                6..9 => Purpose::Asserted,
                _ => Purpose::Bound,
            };
            CallPlan {
                at: dice.millis(700, 700 + as_millis(length)),
                binding: dice.below(bindings),
                from_customer: dice.chance(500),
                purpose,
                style: dice.below(8),
                canaries: dice.chance(700),
                record_route: dice.chance(250),
                caller: CallerScript::roll(dice, plain),
                callee: CalleeScript::roll(dice, plain),
            }
        })
        .collect();
    plans.sort_by_key(|plan| plan.at);
    plans
}

fn errands(
    dice: &mut Dice,
    (calls, length): (usize, Duration),
    bindings: &[BindingPlan],
    calm: bool,
) -> Vec<(Duration, Errand)> {
    let mut errands: Vec<(Duration, Errand)> =
        bindings.iter().enumerate().map(|(index, plan)| (plan.at, Errand::Bind(index))).collect();
    for _ in 0..calls / 4 {
        let at = dice.millis(100, as_millis(length) + 200);
        let errand = match dice.below(10) {
            0 if !calm => Errand::Close(dice.below(bindings.len())),
            1 | 2 if !calm => Errand::Hangup,
            3 => Errand::ListBindings,
            4 => Errand::ListPool,
            5 => Errand::ListCalls,
            6 => Errand::Nonsense,
            7 => Errand::Bind(dice.below(bindings.len())),
            _ => Errand::Counters,
        };
        errands.push((at, errand));
    }
    errands
}

fn as_millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().expect("short")
}
