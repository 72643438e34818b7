//! The peers, the Vizard between them, and which core each may use.

use std::fmt::{self, Write as _};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::lab::{Family, Lab, Place, Shape};
use harness::process::{Running, output};
use harness::vizard::{Vizard, build_release, socket};
use vizard::api::client::{Client, PATIENCE};
use vizard::api::local::{Request, Response, Status};
use vizard::engine::admin::{AdminReply, AdminRequest, NewBinding, NumberWish};
use vizard::engine::directory::{BindingKind, NewNumber, PoolReply, PoolRequest};
use vizard::engine::number::Typed;
use vizard::store::{CdrPage, CdrQuery};

use crate::trial::{self, Latency, Load};

/// Vizard's core, and the peers'.
const VIZARD_CORE: &str = "0";
const PEER_CORE: &str = "1";
/// Customers, each with a binding of its own.
const BINDINGS: u32 = 500;
const CALLER: &str = include_str!("caller.xml");
const CALLEE: &str = include_str!("callee.xml");

/// Whether Vizard is between the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// It is.
    Masked,
    /// They talk to each other.
    Direct,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Masked => "with Vizard",
            Self::Direct => "peers alone",
        })
    }
}

/// Peers and Vizard, ready to call.
pub(crate) struct Rig<'lab> {
    lab: &'lab Lab,
    vizard: Vizard<'lab>,
    path: String,
}

impl<'lab> Rig<'lab> {
    /// The lab that this user may set up.
    pub(crate) fn lab(folder: &std::path::Path) -> Result<Lab> {
        let shape = if harness::is_root() { Shape::OneWire } else { Shape::Loopback };
        Lab::new(&format!("vzt{}-bench", std::process::id()), shape, folder)
    }

    /// Starts a release build of Vizard, gives it its core, and makes the
    /// numbers and bindings that the calls match.
    pub(crate) fn set_up(lab: &'lab Lab) -> Result<Self> {
        if std::thread::available_parallelism()?.get() < 2 {
            bail!("one core for Vizard and one for the peers are needed; this machine has one in all");
        }
        output(Command::new("sipp").arg("-v")).or_else(sipp_says_its_version_as_a_failure)?;
        let config = lab.folder().join("vizard.toml");
        fs::write(&config, configuration(lab)).context("cannot write the configuration")?;
        let vizard = Vizard::start(lab, &build_release()?, &config)?;
        let mut rig = Self { lab, vizard, path: String::new() };
        rig.give_core()?;
        rig.path = rig.status()?.datapath.to_string();
        rig.provision()?;
        Ok(rig)
    }

    /// Keeps Vizard to its core.
    fn give_core(&self) -> Result<()> {
        let process = self.vizard.process().to_string();
        output(Command::new("taskset").args(["-a", "-c", "-p", VIZARD_CORE, &process]))?;
        let tasks = fs::read_dir(format!("/proc/{process}/task"))?.flatten();
        let tasks: Vec<String> = tasks.filter_map(|task| task.file_name().into_string().ok()).collect();
        output(Command::new("renice").args(["-n", niceness(), "-p"]).args(tasks))?;
        Ok(())
    }

    /// Which media path Vizard chose, and why.
    pub(crate) fn datapath(&self) -> &str {
        &self.path
    }

    /// Calls at this rate.
    pub(crate) fn load(&mut self, route: Route, rate: u32, calls: u32) -> Result<Load> {
        let before = self.processor_time()?;
        let run = self.run(route, CALLEE, rate, calls, &[])?;
        let settled = route == Route::Direct || self.settles()?;
        let used = self.processor_time()?.saturating_sub(before);
        let file = fs::read_to_string(run.join("caller.csv")).context("sipp wrote no statistics")?;
        let statistics = trial::statistics(&file)?;
        let count = |column| trial::number(&statistics, column);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sipp counts calls")]
        let whole = |column| count(column).map(|number| number as u64);
        let load = Load {
            rate,
            achieved: count("CallRate(C)")?,
            calls: calls.into(),
            successful: whole("SuccessfulCall(C)")?,
            failed: whole("FailedCall(C)")?,
            retransmissions: whole("Retransmissions(C)")?,
            settled,
            cpu_us_per_call: (route == Route::Masked).then(|| used.as_secs_f64() * 1e6 / f64::from(calls)),
        };
        if route == Route::Masked && !load.sustained() {
            // What an overloaded trial left open must not burden the next one.
            self.vizard.kill_and_restart()?;
            self.give_core()?;
        }
        Ok(load)
    }

    /// How long calls take to be answered.
    pub(crate) fn latency(&self, route: Route, rate: u32, calls: u32) -> Result<Latency> {
        let begin = CALLEE.find("<!-- ringing").context("callee.xml marks its ringing")?;
        let end = CALLEE.find("<!-- answer").context("callee.xml marks its answer")?;
        let scenario = format!("{}{}", &CALLEE[..begin], &CALLEE[end..]);
        let log = ["-trace_shortmsg", "-shortmessage_file", "messages.tsv"];
        let run = self.run(route, &scenario, rate, calls, &log)?;
        Latency::read(&fs::read_to_string(run.join("messages.tsv"))?, calls)
    }

    /// Every call has left a durable record for each leg, as far back as one
    /// answer of the store reaches.
    pub(crate) fn check_records(&self) -> Result<()> {
        let query = CdrQuery { limit: 10_000, ..CdrQuery::default() };
        let Response::Cdrs(CdrPage { cdrs: records, .. }) = self.ask(Request::CdrList(query))? else {
            bail!("Vizard did not list its records");
        };
        let answered = records.iter().filter(|record| record.answer.is_some()).count();
        if records.len() < 10_000 || answered != records.len() {
            bail!("of {} newest records {answered} are of answered calls; expected 10000", records.len());
        }
        Ok(())
    }

    /// Runs both peers to the end of `calls` calls; what they wrote is in the
    /// folder that is returned.
    fn run(&self, route: Route, callee: &str, rate: u32, calls: u32, log: &[&str]) -> Result<PathBuf> {
        let folder = self.lab.folder().join("peers");
        let _nothing_there_yet = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("caller.xml"), CALLER)?;
        fs::write(folder.join("callee.xml"), callee)?;
        fs::copy(self.lab.folder().join("callers.csv"), folder.join("callers.csv"))?;
        let at = |place| self.lab.peer(place, Family::V4);
        let port = self.lab.sip_port();
        let sipp = |place: Place, scenario: &str| {
            let mut command = self.lab.at(place, "nice");
            command.args(["-n", niceness(), "taskset", "-c", PEER_CORE]);
            command.current_dir(&folder).args(["sipp", "-nostdin", "-sf", scenario]);
            command.args(["-i", &at(place).to_string(), "-p", &port.to_string(), "-timer_resol", "1"]);
            command
        };
        let mut answering = sipp(Place::Agent, "callee.xml");
        // A call that is over needs no memory: who sends again is a failure here.
        answering.args(["-deadcall_wait", "0"]);
        let _callee = Running::start("the callee", answering, &folder.join("callee.log"))?;
        sleep(Duration::from_millis(300));

        let target = match route {
            Route::Masked => SocketAddr::new(self.lab.vizard(Place::Customer, Family::V4), port),
            Route::Direct => SocketAddr::new(at(Place::Agent), port),
        };
        let mut calling = sipp(Place::Customer, "caller.xml");
        calling.args(["-inf", "callers.csv", "-r", &rate.to_string(), "-m", &calls.to_string()]);
        // Beyond a second's worth of open calls the rate is not sustained.
        calling.args(["-l", &rate.to_string(), "-trace_stat", "-stf", "caller.csv", "-fd", "1"]);
        calling.args(log).arg(target.to_string());
        let mut caller = Running::start("the caller", calling, &folder.join("caller.log"))?;
        // Overloaded peers would retransmit for half a minute. The statistics say
        // what went wrong, and so does a caller that did not come to its end.
        let limit = Duration::from_secs((calls.div_ceil(rate) * 3 / 2 + 2).into());
        let _ended_well = caller.wait(limit);
        Ok(folder)
    }

    /// Whether all calls are over, records included, within a second.
    fn settles(&self) -> Result<bool> {
        let limit = Instant::now() + Duration::from_secs(1);
        loop {
            let Response::Admin(AdminReply::Calls(calls)) =
                self.ask(Request::Admin(AdminRequest::CallsList))?
            else {
                bail!("Vizard did not list its calls");
            };
            if calls.is_empty() {
                return Ok(true);
            }
            if Instant::now() > limit {
                return Ok(false);
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// What Vizard's process has used so far.
    fn processor_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.vizard.process()))?;
        // The name, in parentheses, may hold blanks; user and system time are the
        // twelfth and thirteenth field behind it, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    fn provision(&self) -> Result<()> {
        let numbers = (0..20).map(|n| new_number(&format!("+1415555{n:04}"))).collect::<Result<_>>()?;
        let added = self.ask(Request::Admin(AdminRequest::Pool(PoolRequest::Add { numbers })))?;
        let Response::Admin(AdminReply::Pool(PoolReply::Added { .. })) = added else {
            bail!("Vizard did not take the numbers: {added:?}");
        };
        let mut callers = String::from("SEQUENTIAL\n");
        for n in 0..BINDINGS {
            let customer = format!("+1212555{n:04}");
            let bound = self.ask(Request::Admin(AdminRequest::BindCreate(new_binding(n, &customer))))?;
            let Response::Admin(AdminReply::Bound { binding, .. }) = bound else {
                bail!("Vizard did not bind: {bound:?}");
            };
            writeln!(callers, "{customer};{}", binding.customer.proxy)?;
        }
        fs::write(self.lab.folder().join("callers.csv"), callers).context("cannot write the callers")
    }

    fn status(&self) -> Result<Status> {
        match self.ask(Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => bail!("Vizard did not say how it is: {other:?}"),
        }
    }

    fn ask(&self, request: Request) -> Result<Response> {
        Ok(Client::connect(&socket(self.lab), PATIENCE)?.ask(request)?)
    }
}

/// Root may keep what else the machine does out of the measurement, mostly.
fn niceness() -> &'static str {
    if harness::is_root() { "-20" } else { "0" }
}

/// `sipp -v` ends with 99 when all is well.
fn sipp_says_its_version_as_a_failure(error: anyhow::Error) -> Result<String> {
    let text = format!("{error:#}");
    if text.contains("99") { Ok(text) } else { Err(error.context("sipp is needed: install sip-tester")) }
}

fn configuration(lab: &Lab) -> String {
    let (near, far) = (lab.vizard(Place::Customer, Family::V4), lab.vizard(Place::Agent, Family::V4));
    let (customer, agent) = (lab.peer(Place::Customer, Family::V4), lab.peer(Place::Agent, Family::V4));
    let port = lab.sip_port();
    let (listen, second, media) = if near == far {
        // One address carries both legs of every call.
        (format!("\"{near}:{port}\""), String::new(), "path = \"sockets\"")
    } else {
        let second = format!("[[media.address]]\nname = \"agents\"\nlocal = \"{far}\"\n");
        (format!("\"{near}:{port}\", \"{far}:{port}\""), second, "interfaces = [\"vz-wire\"]")
    };
    let agents = if near == far { "customers" } else { "agents" };
    format!(
        r#"
[sip]
listen = [{listen}]
[media]
{media}
ports = "20000-59999"
[[media.address]]
name = "customers"
local = "{near}"
{second}
[[trunk]]
name = "carrier"
target = "{customer}:{port}"
sources = ["{customer}"]
listen = "{near}:{port}"
media = "customers"
country = "US"
trusted = true
[[trunk]]
name = "pbx"
target = "{agent}:{port}"
sources = ["{agent}"]
listen = "{far}:{port}"
media = "{agents}"
country = "US"
trusted = true
[[route]]
prefix = "+1646"
trunk = "pbx"
[[route]]
prefix = "*"
trunk = "carrier"
[emergency]
trunk = "carrier"
[bindings]
time_to_live = "24h"
"#
    )
}

fn new_number(number: &str) -> Result<NewNumber> {
    Ok(NewNumber::local(number.parse()?))
}

fn new_binding(n: u32, customer: &str) -> NewBinding {
    NewBinding {
        tenant: "bench".into(),
        project: "calls".into(),
        kind: BindingKind::Session,
        key: format!("call-{n}"),
        customer: Typed(customer.into()),
        agent: Typed(format!("+1646555{n:04}")),
        time_to_live: None,
        numbers: NumberWish::default(),
        encryption: None,
        also: [Vec::new(), Vec::new()],
        one_number: false,
        usage: vizard::engine::directory::UsageWish::default(),
        tags: Vec::new(),
    }
}
