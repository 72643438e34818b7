//! The directory with a million live bindings: how fast a call is resolved, how
//! fast bindings become durable, what one takes in memory and on disk, and how
//! long a start takes.
//!
//! The directory and the sled store are driven as the daemon drives them, each in a
//! thread of its own: many requests wait at a time, whatever waits becomes one
//! group, and a binding counts when its group is durable. Each customer is in one
//! binding, each agent, drawn at random, in some hundreds; all speak through one
//! pool.
//!
//! A look-up goes from a caller and a number dialled to the binding, the side, and
//! the number that the other one sees; what the clock itself takes is in it. `dial`
//! unseals where that one is too, as a call that connects does. Beside
//! it, in turns, runs the least that a look-up can be: a plain hash map with the
//! caller's number in clear. Both are asked for pairs at random.
//!
//! What a binding takes in memory is measured in a process of its own without a
//! store, whose cache would hide it. `--bindings N` measures with another number.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use harness::report::{Figure, Report};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vizard::engine::admin::{AdminReply, AdminRequest, NewBinding, NumberWish};
use vizard::engine::config::Config;
use vizard::engine::directory::{
    BindingKind, Directory, Lookup, NewNumber, PartyAddress, PoolReply, PoolRequest, Snapshot,
};
use vizard::engine::ids::BindingId;
use vizard::engine::io::{CommitId, Output, RequestId, Transaction};
use vizard::engine::number::{PartyNumber, ProxyNumber, Typed};
use vizard::engine::privacy::{Keyring, Vault};
use vizard::engine::time::{Now, Timestamp};
use vizard::settings::{self, Overrides};
use vizard::store::{CommitOutcome, SledStore, Store};

const BINDINGS: u32 = 1_000_000;
const NUMBERS: u32 = 4_000;
/// Bindings of one agent.
const PER_AGENT: u32 = 500;
/// Requests that wait at a time: as many as a busy platform has open.
const IN_FLIGHT: u32 = 1_024;
/// Bindings that the rate is measured over, when all others are there.
const MEASURED: u32 = 50_000;
const ROUNDS: usize = 7;
const LOOKUPS: usize = 200_000;
/// Transactions of one group, at most.
const GROUP: usize = 4_096;
/// Tells a child to measure memory and nothing else.
const ALONE: &str = "--memory-alone";

const CONFIG: &str = r#"
[sip]
listen = ["127.0.0.1:5060"]
[[media.address]]
name = "m"
local = "127.0.0.1"
[[trunk]]
name = "t"
target = "127.0.0.1:5070"
country = "US"
[[route]]
prefix = "*"
trunk = "t"
[emergency]
trunk = "t"
[bindings]
time_to_live = "365d"
[limits]
bindings = 10000000
"#;

/// What the daemon allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let named = arguments.iter().position(|argument| argument == "--bindings");
    let bindings = match named.and_then(|at| arguments.get(at + 1)) {
        Some(count) => count.parse().context("--bindings takes a number")?,
        None => BINDINGS,
    };
    ensure!(bindings > MEASURED, "measure with more than {MEASURED} bindings");
    let alone = arguments.iter().any(|argument| argument == ALONE);
    let settings = settings::parse(Path::new("bench.toml"), CONFIG, &Overrides::default());
    let Ok(settings) = settings else { bail!("the benchmark's configuration is wrong") };
    let config = Arc::new(settings.engine);
    if alone {
        return alone_in_memory(config, bindings);
    }
    let folder = tempfile::tempdir().context("no place for a store")?;

    let in_memory = measure_alone(bindings)?;
    let mut bench = Bench::new(Arc::clone(&config), Some(open(folder.path())?))?;
    bench.bind(0..bindings - MEASURED, bindings)?;
    let begun = Instant::now();
    bench.bind(bindings - MEASURED..bindings, bindings)?;
    let per_second = f64::from(MEASURED) / begun.elapsed().as_secs_f64();
    let resolved = bench.resolve(bindings)?;
    bench.close()?;
    let on_disk = size(folder.path())? / f64::from(bindings);
    let start = Start::of(&config, folder.path())?;
    ensure!(start.bindings == u64::from(bindings), "{} of {bindings} bindings came back", start.bindings);

    let figure = |name: &str, unit: &str, value: f64| Figure::median(name, unit, &[value]);
    let figures = vec![
        Figure::median("directory.resolve_p99_us", "us", &resolved.p99).with_goal(2.0),
        Figure::median("directory.resolve_median_us", "us", &resolved.median),
        Figure::median("directory.dial_p99_us", "us", &resolved.dial_p99),
        Figure::median("directory.hash_map_p99_us", "us", &resolved.plain_p99),
        Figure::median("directory.resolve_ratio_hash_map", "times", &resolved.ratio()),
        figure("directory.allocate_per_s", "1/s", per_second).with_goal(20_000.0),
        figure("directory.bytes_per_binding", "B", in_memory).with_goal(600.0),
        figure("directory.start_s", "s", start.opened + start.loaded + start.built).with_goal(10.0),
        figure("directory.start_open_s", "s", start.opened),
        figure("directory.start_load_s", "s", start.loaded),
        figure("directory.start_build_s", "s", start.built),
        figure("directory.store_bytes_per_binding", "B", on_disk),
        figure("directory.bindings", "", f64::from(bindings)),
    ];
    Report::new("directory", figures).print(json);
    Ok(())
}

/// In a child: prints what its bindings take.
fn alone_in_memory(config: Arc<Config>, bindings: u32) -> Result<()> {
    let mut bench = Bench::new(config, None)?;
    let before = memory()?;
    bench.bind(0..bindings, bindings)?;
    println!("{}", f64::from(memory()?.saturating_sub(before)) * 1024.0 / f64::from(bindings));
    Ok(())
}

fn measure_alone(bindings: u32) -> Result<f64> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child.args([ALONE, "--bindings", &bindings.to_string()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().with_context(|| format!("the child said {text:?}"))
}

struct Bench {
    directory: Directory,
    /// Without one everything is durable at once.
    journal: Option<Journal>,
    /// The clock runs, as the daemon's does: what is new lies together in the store.
    begun: Instant,
    /// Commits without an answer.
    waiting: u32,
    answered: u32,
    agents: ChaCha8Rng,
    pairs: Vec<Pair>,
}

/// The store's thread.
struct Journal {
    queue: Sender<(CommitId, Transaction)>,
    durable: Receiver<Result<Vec<CommitId>>>,
    thread: JoinHandle<()>,
}

/// What is looked up, and what is to be found.
#[derive(Clone)]
struct Pair {
    proxy: ProxyNumber,
    caller: PartyAddress,
    number: PartyNumber,
    binding: BindingId,
}

/// Microseconds by round.
#[derive(Default)]
struct Resolved {
    p99: Vec<f64>,
    median: Vec<f64>,
    dial_p99: Vec<f64>,
    plain_p99: Vec<f64>,
}

impl Resolved {
    fn ratio(&self) -> Vec<f64> {
        self.p99.iter().zip(&self.plain_p99).map(|(ours, plain)| ours / plain).collect()
    }
}

impl Bench {
    fn new(config: Arc<Config>, store: Option<SledStore>) -> Result<Self> {
        let vault = match &store {
            Some(store) => store.vault(),
            None => Arc::new(Vault::open(&keyring(), &[], &mut ChaCha8Rng::seed_from_u64(3))?.0),
        };
        let directory = Directory::new(config, vault, [7; 32], start_of_time(), Snapshot::default());
        let mut bench = Self {
            directory,
            journal: store.map(Journal::start),
            begun: Instant::now(),
            waiting: 0,
            answered: 0,
            agents: ChaCha8Rng::seed_from_u64(4),
            pairs: Vec::new(),
        };
        let number = |n: u32| Ok(NewNumber::local(digits("415", n).parse()?));
        let numbers = (0..NUMBERS).map(number).collect::<Result<_>>()?;
        bench.ask(0, AdminRequest::Pool(PoolRequest::Add { numbers }))?;
        bench.settle(0)?;
        ensure!(bench.answered == 1, "the pool was not filled");
        Ok(bench)
    }

    fn bind(&mut self, range: std::ops::Range<u32>, all: u32) -> Result<()> {
        for n in range {
            let agent = self.agents.random_range(0..all.div_ceil(PER_AGENT));
            let binding = NewBinding {
                tenant: "bench".into(),
                project: "directory".into(),
                kind: BindingKind::Session,
                key: format!("order-{n}"),
                customer: Typed(digits("212", n)),
                agent: Typed(digits("310", agent)),
                time_to_live: None,
                numbers: NumberWish::default(),
                encryption: None,
                also: [Vec::new(), Vec::new()],
                one_number: false,
                usage: vizard::engine::directory::UsageWish::default(),
                tags: Vec::new(),
            };
            self.ask(u64::from(n) + 1, AdminRequest::BindCreate(binding))?;
            self.settle(IN_FLIGHT)?;
        }
        self.settle(0)
    }

    fn now(&self) -> Now {
        start_of_time().after(self.begun.elapsed())
    }

    fn ask(&mut self, id: u64, request: AdminRequest) -> Result<()> {
        if self.directory.handle_admin(self.now(), RequestId(id), request).is_some() {
            bail!("the directory does not know a request");
        }
        self.drain()
    }

    /// Takes what is durable, and waits for it while more than `most` wait.
    fn settle(&mut self, most: u32) -> Result<()> {
        loop {
            let Some(journal) = &self.journal else { return Ok(()) };
            let durable = match journal.durable.try_recv() {
                Ok(durable) => durable?,
                Err(_) if self.waiting <= most => return Ok(()),
                Err(_) => journal.durable.recv().context("the store's thread has ended")??,
            };
            for id in durable {
                self.waiting -= 1;
                self.directory.handle_committed(self.now(), id);
                self.drain()?;
            }
        }
    }

    /// Closes the store.
    fn close(self) -> Result<()> {
        let Some(Journal { queue, thread, .. }) = self.journal else { return Ok(()) };
        drop(queue);
        thread.join().map_err(|_| anyhow!("the store's thread has panicked"))
    }

    fn drain(&mut self) -> Result<()> {
        while let Some(output) = self.directory.poll_output() {
            match output {
                Output::Commit(id, transaction) => match &self.journal {
                    Some(journal) => {
                        self.waiting += 1;
                        journal.queue.send((id, transaction)).context("the store's thread has ended")?;
                    }
                    None => self.directory.handle_committed(self.now(), id),
                },
                Output::Reply(_, AdminReply::Bound { binding, reused: false }) => {
                    self.answered += 1;
                    if self.journal.is_none() {
                        continue;
                    }
                    let number: PartyNumber = digits("212", self.pairs.len().try_into()?).parse()?;
                    let caller = PartyAddress::Number(number.clone());
                    self.pairs.push(Pair {
                        proxy: binding.customer.proxy,
                        caller,
                        number,
                        binding: binding.id,
                    });
                }
                Output::Reply(_, AdminReply::Pool(PoolReply::Added { .. })) => self.answered += 1,
                Output::Event(_) => {}
                other => bail!("the directory says {other:?}"),
            }
        }
        Ok(())
    }

    /// How long a look-up takes, as a call makes it, and how long one in a hash map.
    fn resolve(&self, bindings: u32) -> Result<Resolved> {
        ensure!(self.pairs.len() == bindings as usize, "{} bindings were made", self.pairs.len());
        let plain: HashMap<(ProxyNumber, PartyNumber), BindingId> =
            self.pairs.iter().map(|pair| ((pair.proxy, pair.number.clone()), pair.binding)).collect();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut resolved = Resolved::default();
        for _ in 0..ROUNDS {
            let asked: Vec<&Pair> =
                (0..LOOKUPS).map(|_| &self.pairs[random.random_range(0..self.pairs.len())]).collect();
            let (p99, median) =
                timed(&asked, |pair| match self.directory.lookup(&pair.proxy, &pair.caller) {
                    Lookup::Live(found) => Some(found.binding),
                    Lookup::Entombed(_) | Lookup::Unknown => None,
                })?;
            resolved.p99.push(p99);
            resolved.median.push(median);
            let (p99, _) = timed(&asked, |pair| match self.directory.lookup(&pair.proxy, &pair.caller) {
                Lookup::Live(found) => self.directory.address(found.callee).map(|_| found.binding),
                Lookup::Entombed(_) | Lookup::Unknown => None,
            })?;
            resolved.dial_p99.push(p99);
            let (p99, _) = timed(&asked, |pair| plain.get(&(pair.proxy, pair.number)).copied())?;
            resolved.plain_p99.push(p99);
        }
        Ok(resolved)
    }
}

impl Journal {
    fn start(mut store: SledStore) -> Self {
        let (queue, waiting) = channel();
        let (answers, durable) = channel();
        let thread = thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let queued = std::iter::once(first).chain(waiting.try_iter().take(GROUP - 1));
                let (ids, group): (Vec<CommitId>, Vec<Transaction>) = queued.unzip();
                let answer = match store.commit(&group) {
                    Ok(outcomes) if outcomes.contains(&CommitOutcome::Conflict) => {
                        Err(anyhow!("the store found a conflict"))
                    }
                    Ok(_) => Ok(ids),
                    Err(error) => Err(error.into()),
                };
                // Nobody hears it when the benchmark has failed already.
                let _unheard = answers.send(answer);
            }
        });
        Self { queue, durable, thread }
    }
}

/// Microseconds of the slowest look-up in a hundred, and of the median.
fn timed(asked: &[&Pair], look_up: impl Fn(Pair) -> Option<BindingId>) -> Result<(f64, f64)> {
    let mut taken: Vec<u64> = Vec::with_capacity(asked.len());
    for pair in asked {
        let asked = (*pair).clone();
        let begun = Instant::now();
        let found = look_up(asked);
        taken.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        ensure!(found == Some(pair.binding), "a caller was not found");
    }
    taken.sort_unstable();
    let at = |percent: usize| Duration::from_nanos(taken[taken.len() * percent / 100]).as_secs_f64() * 1e6;
    Ok((at(99), at(50)))
}

fn keyring() -> Keyring {
    Keyring::generate(&mut ChaCha8Rng::seed_from_u64(2))
}

fn open(folder: &Path) -> Result<SledStore> {
    Ok(SledStore::open(folder, &keyring(), &mut ChaCha8Rng::seed_from_u64(3))?)
}

/// From a store that is closed to a directory that resolves, in seconds.
struct Start {
    opened: f64,
    loaded: f64,
    built: f64,
    /// How many that one has.
    bindings: u64,
}

impl Start {
    fn of(config: &Arc<Config>, folder: &Path) -> Result<Self> {
        let mut begun = Instant::now();
        let mut lap = || std::mem::replace(&mut begun, Instant::now()).elapsed().as_secs_f64();
        let store = open(folder)?;
        let opened = lap();
        let (snapshot, vault) = (store.load()?, store.vault());
        let loaded = lap();
        let later = start_of_time().after(Duration::from_hours(1));
        let directory = Directory::new(Arc::clone(config), vault, [8; 32], later, snapshot.directory);
        let built = lap();
        let counters = directory.counters();
        let bindings = counters.iter().find(|(name, _)| name == "directory.bindings");
        Ok(Self { opened, loaded, built, bindings: bindings.map_or(0, |&(_, count)| count) })
    }
}

fn start_of_time() -> Now {
    Now { wall: Timestamp::from_unix_microseconds(1_800_000_000_000_000), ..Now::default() }
}

/// An American number; more than ten thousand take further exchanges.
fn digits(area: &str, n: u32) -> String {
    format!("+1{area}{:03}{:04}", 200 + n / 10_000, n % 10_000)
}

/// Kilobytes of this process that are in memory.
fn memory() -> Result<u32> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> Result<f64> {
    let mut bytes = 0.0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let known = entry.metadata()?;
        bytes += if known.is_dir() {
            size(&entry.path())?
        } else {
            u32::try_from(known.len() / 1024).map(f64::from)? * 1024.0
        };
    }
    Ok(bytes)
}
