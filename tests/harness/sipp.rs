//! SIP peers: `sipp` with the scenarios of this folder, and real audio.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::audio;
use crate::lab::{Family, Lab, Link, Place};
use crate::process::{Running, output};

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Calls, talks, hangs up.
    Caller,
    /// Calls and expects this final response.
    CallerRefused(u16),
    /// Calls and gives up while it rings.
    CallerCancels,
    /// Calls, changes the session, changes it back, hangs up.
    CallerChanges(Change),
    /// Calls, waits until the other side hangs up.
    CallerWaits,
    /// Calls, renegotiates, waits until the other side hangs up.
    CallerReinvites,
    /// Rings, answers, talks, waits until the other side hangs up.
    Callee,
    /// Answers, accepts what [`Role::CallerChanges`] does, waits until it is hung up.
    CalleeFollows(Change),
    /// Is heard for a second before it answers; then as [`Role::Callee`].
    CalleeEarly,
    /// Rings as two phones, one after the other, of which the second one, at
    /// [`MOVED_TO`], answers; sends no audio.
    CalleeForks,
    /// Refuses with this response.
    CalleeRefuses(u16),
    /// Rings until the caller gives up.
    CalleeCancelled,
    /// Answers, accepts a renegotiation, talks, hangs up.
    CalleeHangsUp,
}

/// What a re-INVITE changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The other side is put on hold.
    Hold,
    /// Audio is wanted at [`MOVED_TO`].
    Move,
}

/// Where a caller that moved, or the second phone that rings, wants its audio. No peer
/// listens there: a capture sees what arrives, or a socket of the test.
pub const MOVED_TO: u16 = 30_000;

/// What sipp replaces by the port of its own audio.
const AUDIO_PORT: &str = "[rtpstream_audio_port]";

impl Change {
    /// The port of the changed session.
    fn port(self) -> String {
        match self {
            Self::Hold => AUDIO_PORT.to_owned(),
            Self::Move => MOVED_TO.to_string(),
        }
    }

    /// Who sends, as the one who changes it says.
    const fn offered(self) -> &'static str {
        match self {
            Self::Hold => "sendonly",
            Self::Move => "sendrecv",
        }
    }

    /// As the other one says.
    const fn answered(self) -> &'static str {
        match self {
            Self::Hold => "recvonly",
            Self::Move => "sendrecv",
        }
    }
}

impl Role {
    const fn scenario(self) -> &'static str {
        match self {
            Self::Caller => include_str!("scenarios/caller.xml"),
            Self::CallerRefused(_) => include_str!("scenarios/caller-refused.xml"),
            Self::CallerCancels => include_str!("scenarios/caller-cancels.xml"),
            Self::CallerChanges(_) => include_str!("scenarios/caller-changes.xml"),
            Self::CallerWaits => include_str!("scenarios/caller-waits.xml"),
            Self::CalleeFollows(_) => include_str!("scenarios/callee-follows.xml"),
            Self::CalleeEarly => include_str!("scenarios/callee-early.xml"),
            Self::CalleeForks => include_str!("scenarios/callee-forks.xml"),
            Self::CallerReinvites => include_str!("scenarios/caller-reinvites.xml"),
            Self::Callee => include_str!("scenarios/callee.xml"),
            Self::CalleeRefuses(_) => include_str!("scenarios/callee-refuses.xml"),
            Self::CalleeCancelled => include_str!("scenarios/callee-cancelled.xml"),
            Self::CalleeHangsUp => include_str!("scenarios/callee-hangs-up.xml"),
        }
    }

    const fn calls(self) -> bool {
        match self {
            Self::Caller
            | Self::CallerRefused(_)
            | Self::CallerCancels
            | Self::CallerChanges(_)
            | Self::CallerWaits
            | Self::CallerReinvites => true,
            Self::Callee
            | Self::CalleeFollows(_)
            | Self::CalleeEarly
            | Self::CalleeForks
            | Self::CalleeRefuses(_)
            | Self::CalleeCancelled
            | Self::CalleeHangsUp => false,
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::CallerRefused(status) | Self::CalleeRefuses(status) => status,
            Self::Caller
            | Self::CallerCancels
            | Self::CallerChanges(_)
            | Self::CallerWaits
            | Self::CallerReinvites
            | Self::Callee
            | Self::CalleeFollows(_)
            | Self::CalleeEarly
            | Self::CalleeForks
            | Self::CalleeCancelled
            | Self::CalleeHangsUp => 200,
        }
    }
}

impl Role {
    /// The port and the direction of a changed session.
    fn change(self) -> (String, &'static str) {
        match self {
            Self::CallerChanges(change) => (change.port(), change.offered()),
            Self::CalleeFollows(change) => (change.port(), change.answered()),
            Self::CalleeForks => (Change::Move.port(), Change::Move.answered()),
            Self::Caller
            | Self::CallerRefused(_)
            | Self::CallerCancels
            | Self::CallerWaits
            | Self::CallerReinvites
            | Self::Callee
            | Self::CalleeEarly
            | Self::CalleeRefuses(_)
            | Self::CalleeCancelled
            | Self::CalleeHangsUp => (String::new(), ""),
        }
    }
}

/// What a peer says besides what its role needs; each line stands in every
/// message that it sends.
#[derive(Clone, Debug, Default)]
pub struct Says {
    /// Header lines.
    pub headers: Vec<String>,
    /// A display name, with its quotes and a blank behind it.
    pub display: String,
    /// The user name of the SDP origin.
    pub origin: Option<String>,
    /// The SDP session name.
    pub session: Option<String>,
    /// Session-level SDP lines.
    pub session_lines: Vec<String>,
    /// Media-level SDP lines.
    pub media_lines: Vec<String>,
    /// The port of its audio, where it is not the peer that sends and takes it.
    pub audio_port: Option<u16>,
    /// The media section of a renegotiation, without those; audio again, if empty.
    pub renewed: Vec<String>,
}

/// A peer to start.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Names its files; unique within the lab's folder.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// IPv4 or IPv6.
    pub family: Family,
    /// Its address, where it is not the place's own.
    pub address: Option<IpAddr>,
    /// What it speaks SIP over; TLS is beyond it.
    pub link: Link,
    /// What it does.
    pub role: Role,
    /// The number that the call comes from: the caller's own.
    pub caller: String,
    /// For a caller, what it dials; for a callee, its own number.
    pub called: String,
    /// How long it talks.
    pub talk: Duration,
    /// The tone that it sends, in hertz.
    pub hertz: u16,
    /// Whether it sends no audio at all.
    pub silent: bool,
    /// What else it says.
    pub says: Says,
}

impl Peer {
    /// A peer that talks for two seconds.
    #[must_use]
    pub fn new(name: &str, place: Place, role: Role, caller: &str, called: &str) -> Self {
        Self {
            name: name.to_owned(),
            place,
            family: Family::V4,
            address: None,
            link: Link::Udp,
            role,
            caller: caller.to_owned(),
            called: called.to_owned(),
            talk: Duration::from_secs(2),
            hertz: 440,
            silent: false,
            says: Says::default(),
        }
    }

    /// Over IPv6.
    #[must_use]
    pub fn over(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// At another address of its place.
    #[must_use]
    pub fn standing_at(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    fn own(&self, lab: &Lab) -> IpAddr {
        self.address.unwrap_or_else(|| lab.peer(self.place, self.family))
    }

    /// Speaking SIP over this.
    #[must_use]
    pub fn by(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// Talking for so long.
    #[must_use]
    pub fn talking(mut self, talk: Duration) -> Self {
        self.talk = talk;
        self
    }

    /// Sending this tone.
    #[must_use]
    pub fn sounding(mut self, hertz: u16) -> Self {
        self.hertz = hertz;
        self
    }

    /// Sending nothing.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Saying this as well.
    #[must_use]
    pub fn saying(mut self, says: Says) -> Self {
        self.says = says;
        self
    }

    /// Starts it; a callee is listening when this returns.
    pub fn start(&self, lab: &Lab) -> Result<Call> {
        let folder = lab.folder().join(&self.name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        write("scenario.xml", self.scenario().as_bytes())?;
        write("audio.ul", &audio::tone(self.hertz))?;

        let transport: &[&str] = match self.link {
            Link::Udp => &["-t", "u1"],
            // A lost connection is made again, and the call goes on over it.
            Link::Tcp => &["-t", "t1", "-max_reconnect", "9", "-reconnect_close", "false"],
            Link::Tls => bail!("{}: sipp speaks no TLS here", self.name),
        };
        let own = self.own(lab);
        let mut sipp = lab.at(self.place, "sipp");
        sipp.current_dir(&folder);
        if self.role.calls() {
            sipp.arg(SocketAddr::new(lab.vizard(self.place, self.family), lab.sip_port()).to_string());
        }
        sipp.args(["-sf", "scenario.xml", "-m", "1", "-nostdin", "-timeout", "60", "-timeout_error"]);
        sipp.args(["-i", &bracketed(own), "-p", &lab.sip_port().to_string(), "-mi", &own.to_string()]);
        sipp.args(transport);
        sipp.args(["-d", &self.talk.as_millis().to_string()]);
        sipp.args(["-key", "caller", &self.caller, "-key", "called", &self.called]);
        sipp.args(["-trace_msg", "-message_file", "messages.log", "-trace_logs", "-log_file", "seen.log"]);
        sipp.args(["-trace_err", "-error_file", "errors.log"]);
        let mut running = Running::start(&self.name, sipp, &folder.join("screen.log"))?;
        if !self.role.calls() {
            let listens = || self.listens(lab);
            running.wait_until("listening", Duration::from_secs(10), listens)?;
        }
        Ok(Call { name: self.name.clone(), running, folder })
    }

    /// Whether the SIP port is open where the peer stands.
    fn listens(&self, lab: &Lab) -> bool {
        let table = if self.link == Link::Udp { "udp" } else { "tcp" };
        let file = format!("/proc/net/{table}{}", if self.family == Family::V4 { "" } else { "6" });
        let wanted = match self.own(lab) {
            IpAddr::V4(address) => format!("{:08X}:{:04X}", u32::from(address).swap_bytes(), lab.sip_port()),
            IpAddr::V6(address) => {
                let words = address.octets();
                let words = words
                    .chunks_exact(4)
                    .map(|word| format!("{:02X}{:02X}{:02X}{:02X}", word[3], word[2], word[1], word[0]));
                format!("{}:{:04X}", words.collect::<String>(), lab.sip_port())
            }
        };
        output(lab.at(self.place, "cat").arg(file)).is_ok_and(|table| table.contains(&wanted))
    }

    fn scenario(&self) -> String {
        let says = &self.says;
        let (port, direction) = self.role.change();
        let audio_port = says.audio_port.map_or_else(|| AUDIO_PORT.to_owned(), |port| port.to_string());
        let words = [
            ("@port@", port.as_str()),
            ("@direction@", direction),
            ("@display@", says.display.as_str()),
            ("@origin@", says.origin.as_deref().unwrap_or("-")),
            ("@session@", says.session.as_deref().unwrap_or("-")),
            ("@status@", &self.role.status().to_string()),
            (AUDIO_PORT, audio_port.as_str()),
        ];
        let audio = ["m=audio [rtpstream_audio_port] RTP/AVP 0", "a=rtpmap:0 PCMU/8000"];
        let audio = audio.map(str::to_owned).to_vec();
        let lines = [
            ("@headers@", &says.headers),
            ("@session_lines@", &says.session_lines),
            ("@media_lines@", &says.media_lines),
            ("@renewed@", if says.renewed.is_empty() { &audio } else { &says.renewed }),
        ];
        let mut scenario = String::new();
        for line in self.role.scenario().lines() {
            if self.silent && line.contains("rtp_stream=") {
                continue;
            }
            if let Some((_, these)) = lines.iter().find(|(name, _)| line.trim() == *name) {
                // Without any, the line itself goes: an empty one would end the headers.
                for this in *these {
                    scenario.push_str("      ");
                    scenario.push_str(this);
                    scenario.push('\n');
                }
                continue;
            }
            let line = words.iter().fold(line.to_owned(), |line, (name, text)| line.replace(name, text));
            scenario.push_str(&line);
            scenario.push('\n');
        }
        scenario
    }
}

/// A peer's call in progress.
#[derive(Debug)]
pub struct Call {
    name: String,
    running: Running,
    folder: PathBuf,
}

impl Call {
    /// Waits until the peer is done; an error with sipp's own words when its
    /// scenario did not go as written.
    pub fn finish(mut self) -> Result<Seen> {
        let status = self.running.wait(Duration::from_secs(90))?;
        let seen = Seen::read(&self.folder)?;
        if !status.success() {
            let errors = fs::read_to_string(self.folder.join("errors.log")).unwrap_or_default();
            bail!("{} did not end as it should ({status}):\n{}\n{}", self.name, errors.trim(), seen.heads());
        }
        Ok(seen)
    }

    /// Waits until the peer has received something that contains this.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let file = self.folder.join("messages.log");
        let arrived = || fs::read_to_string(&file).is_ok_and(|log| received(&log).contains(text));
        self.running.wait_until(&format!("`{text}` arrived"), Duration::from_secs(20), arrived)
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// What a peer saw.
#[derive(Clone, Debug)]
pub struct Seen {
    headers: BTreeMap<String, String>,
    received: String,
}

impl Seen {
    fn read(folder: &Path) -> Result<Self> {
        let messages = folder.join("messages.log");
        let log = fs::read(&messages).with_context(|| format!("cannot read {}", messages.display()))?;
        let seen = fs::read_to_string(folder.join("seen.log")).unwrap_or_default();
        let headers = seen
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Ok(Self { headers, received: received(&String::from_utf8_lossy(&log)) })
    }

    /// A header of the message that matters to the role (the INVITE, or the
    /// answer to it).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The user part of the URI in a header: the number that is shown there.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<&str> {
        user_part(self.header(name)?)
    }

    /// Everything that the peer received, as text.
    #[must_use]
    pub fn received(&self) -> &str {
        &self.received
    }

    /// The first lines of what was received, for an error message.
    fn heads(&self) -> String {
        let heads: Vec<&str> = self
            .received
            .lines()
            .filter(|line| line.starts_with("SIP/2.0 ") || line.ends_with(" SIP/2.0"))
            .collect();
        format!("it received: {}", if heads.is_empty() { "nothing".to_owned() } else { heads.join("; ") })
    }
}

/// The user part of the first SIP or tel URI in a text.
fn user_part(text: &str) -> Option<&str> {
    let start =
        ["sip:", "sips:", "tel:"].iter().find_map(|scheme| Some(text.find(scheme)? + scheme.len()))?;
    let rest = &text[start..];
    rest.split(['@', ';', '>', '?', ' ']).next().filter(|user| !user.is_empty())
}

/// Of sipp's message log, what was received.
fn received(log: &str) -> String {
    let mut text = String::new();
    let mut keep = false;
    for line in log.lines() {
        if line.starts_with("-----------------------------------------------") {
            keep = false;
        } else if line.starts_with("UDP message ") {
            keep = line.starts_with("UDP message received");
        } else if keep {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_in_a_header_is_its_user_part() {
        assert_eq!(user_part("\"X\" <sip:+14155550100@10.0.0.1:5060>;tag=1"), Some("+14155550100"));
        assert_eq!(user_part("INVITE sip:911@10.0.0.1 SIP/2.0"), Some("911"));
        assert_eq!(user_part("<tel:+4930123>"), Some("+4930123"));
        assert_eq!(user_part("*"), None);
    }

    #[test]
    fn an_unused_line_leaves_nothing_behind() {
        let peer = Peer::new("x", Place::Customer, Role::Caller, "+1", "+2");
        let scenario = peer.scenario();
        assert!(!scenario.contains('@') || !scenario.contains("@headers@"), "{scenario}");
        assert!(scenario.contains("Max-Forwards: 70\n      Content-Type: application/sdp"), "{scenario}");
    }

    #[test]
    fn what_a_peer_says_is_in_every_message_it_sends() {
        let says = Says { headers: vec!["X-Secret: 7".to_owned()], ..Says::default() };
        let roles = [Role::Caller, Role::CallerReinvites, Role::Callee, Role::CalleeHangsUp];
        for role in roles {
            let scenario = Peer::new("x", Place::Agent, role, "+1", "+2").saying(says.clone()).scenario();
            let messages = scenario.matches("<![CDATA[").count();
            assert_eq!(scenario.matches("X-Secret: 7").count(), messages, "{role:?}");
        }
    }

    #[test]
    fn only_what_was_received_counts() {
        let log = "----------------------------------------------- 2026-11-22\nUDP message sent (3 bytes):\n\nINVITE a\n\
                   ----------------------------------------------- 2026-11-22\nUDP message received [3] bytes :\n\nSIP/2.0 200 OK\n";
        assert_eq!(received(log).trim(), "SIP/2.0 200 OK");
    }
}
