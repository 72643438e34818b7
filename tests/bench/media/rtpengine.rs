//! rtpengine without its kernel module, driven as a proxy drives it: offers and
//! answers over its "ng" protocol (bencoded dictionaries in UDP datagrams).
//!
//! It gives up a socket for good that had fifty packets waiting some times in a row,
//! so its rate is approached from below.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::lab::Place;
use harness::process::Running;
use relay_ebpf::traffic::Shot;

use crate::stage::{FIRST_PORT, Relay, Stage, Turn, ports};

const CONTROL: &str = "127.0.0.1:2223";
/// Where its media ports begin.
const LOWEST: u16 = 20_000;

/// The running relay, and where its streams arrive.
pub(crate) struct Rtpengine {
    _process: Running,
    shots: Vec<Shot>,
}

/// Nothing is to be undone: without another relay in front, packets reach it.
struct Alone;

impl Turn for Alone {}

impl Rtpengine {
    /// Starts it on the second processor, and sets up this many calls.
    pub(crate) fn start(stage: &Stage, calls: u16) -> Result<Self> {
        let towards = |place| stage.address(Place::Vizard, place);
        let mut command = stage.lab.at(Place::Vizard, "prlimit");
        command.args(["--nofile=8192", "chrt", "--rr", "1", "taskset", "-c", "1"]);
        command.args(["rtpengine", "--foreground", "--table=-1"]);
        command.args([
            "--config-file=none",
            "--log-stderr",
            "--log-level=4",
            "--timeout=3600",
            "--num-threads=4",
        ]);
        command.arg(format!("--interface=customer/{}", towards(Place::Customer)?));
        command.arg(format!("--interface=agent/{}", towards(Place::Agent)?));
        command.arg(format!("--listen-ng={CONTROL}")).arg(format!("--port-min={LOWEST}"));
        let log = stage.lab.folder().join("rtpengine.log");
        let mut process = Running::start("rtpengine", command, &log)?;
        let control = stage.lab.inside(Place::Vizard, || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(CONTROL)?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            Ok(socket)
        })?;
        process.wait_until("an answer to a ping", Duration::from_secs(10), || {
            ask(&control, "0", &dictionary(&[("command", text("ping"))])).is_ok()
        })?;
        let customer = stage.address(Place::Customer, Place::Vizard)?;
        let agent = stage.address(Place::Agent, Place::Vizard)?;
        let shots = ports(calls)
            .map(|port| call(&control, customer, agent, port))
            .collect::<Result<Vec<_>>>()
            .with_context(|| format!("setting up calls; rtpengine printed:\n{}", process.output()))?;
        Ok(Self { _process: process, shots })
    }
}

impl Relay for Rtpengine {
    fn name(&self) -> String {
        "rtpengine".to_owned()
    }

    fn queues(&self) -> bool {
        true
    }

    fn enter(&self, stage: &mut Stage) -> Result<Box<dyn Turn>> {
        stage.traffic.aim(&self.shots)?;
        stage.warm_up(&self.name())?;
        Ok(Box::new(Alone))
    }
}

/// One call between the two peers, both on `port`: where the customer's media is to go.
fn call(control: &UdpSocket, customer: Ipv4Addr, agent: Ipv4Addr, port: u16) -> Result<Shot> {
    let id = format!("call-{}", port - FIRST_PORT);
    let offer = dictionary(&[
        ("ICE", text("remove")),
        ("call-id", text(&id)),
        ("command", text("offer")),
        ("direction", list(&["customer", "agent"])),
        ("from-tag", text("customer")),
        ("sdp", text(&description(customer, port))),
    ]);
    ask(control, &format!("{id}-offer"), &offer)?;
    let answer = dictionary(&[
        ("ICE", text("remove")),
        ("call-id", text(&id)),
        ("command", text("answer")),
        ("from-tag", text("customer")),
        ("sdp", text(&description(agent, port))),
        ("to-tag", text("agent")),
    ]);
    let reply = ask(control, &format!("{id}-answer"), &answer)?;
    let to: u16 = reply
        .split_once("m=audio ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("there is no media port in {reply:?}"))?;
    ensure!(to != 0, "rtpengine refuses the stream: {reply:?}");
    Ok(Shot { to: to.to_be(), arrives_at: port.to_be() })
}

fn description(address: Ipv4Addr, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
}

/// A string, as bencoding has it.
fn text(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// A list of strings.
fn list(items: &[&str]) -> String {
    let items: String = items.iter().map(|item| text(item)).collect();
    format!("l{items}e")
}

/// What is encoded already by key, in the order that bencoding asks for.
fn dictionary(entries: &[(&str, String)]) -> String {
    let entries: String = entries.iter().map(|(key, value)| text(key) + value).collect();
    format!("d{entries}e")
}

/// Asks once more when nothing comes back: the cookie makes it one question.
fn ask(control: &UdpSocket, cookie: &str, question: &str) -> Result<String> {
    let mut buffer = [0; 8192];
    for _ in 0..5 {
        control.send(format!("{cookie} {question}").as_bytes())?;
        while let Ok(length) = control.recv(&mut buffer) {
            let reply = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let Some(reply) = reply.strip_prefix(&format!("{cookie} ")) else { continue };
            ensure!(!reply.contains("6:result5:error"), "{reply}");
            return Ok(reply.to_owned());
        }
    }
    anyhow::bail!("no answer to {question:?}")
}
