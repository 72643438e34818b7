//! Session descriptions as the peers write and read them.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Which way media flows, as the writer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Both ways.
    SendRecv,
    /// On hold: the writer only sends.
    SendOnly,
    /// The answer to a hold.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    const fn word(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// What an answer to this says.
    pub(crate) const fn mirrored(self) -> Self {
        match self {
            Self::SendRecv => Self::SendRecv,
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::Inactive => Self::Inactive,
        }
    }
}

/// What a peer reads from a description: where its media is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Address and port of the audio stream.
    pub(crate) media: SocketAddr,
    /// As its writer sees it.
    pub(crate) direction: Direction,
    /// Payload types, the preferred first.
    pub(crate) payload_types: Vec<u8>,
    /// Whether RTCP may share the port.
    pub(crate) mux: bool,
}

/// What a peer writes.
pub(crate) struct Local<'a> {
    /// Where its media arrives.
    pub(crate) media: SocketAddr,
    /// The version in `o=`.
    pub(crate) version: u64,
    /// As the peer sees it.
    pub(crate) direction: Direction,
    /// Payload types, the preferred first.
    pub(crate) payload_types: &'a [u8],
    /// Whether RTCP may share the port.
    pub(crate) mux: bool,
    /// A canary for every field that names somebody; none for a plain one.
    pub(crate) canary: Option<&'a str>,
}

impl Local<'_> {
    /// The text of the description.
    pub(crate) fn write(&self) -> String {
        self.try_write().expect("a String takes everything")
    }

    fn try_write(&self) -> Result<String, std::fmt::Error> {
        let ip = self.media.ip();
        let family = if ip.is_ipv6() { "IP6" } else { "IP4" };
        let name = self.canary.unwrap_or("-");
        let mut text = String::with_capacity(512);
        write!(text, "v=0\r\no={name} 7 {} IN {family} {ip}\r\ns={name}\r\n", self.version)?;
        if let Some(canary) = self.canary {
            write!(
                text,
                "i={canary}\r\nu=http://{canary}.example/\r\ne={canary}@example.com\r\np=+1 {canary}\r\n"
            )?;
        }
        write!(text, "c=IN {family} {ip}\r\nt=0 0\r\n")?;
        if let Some(canary) = self.canary {
            write!(text, "a=x-who:{canary}\r\n")?;
        }
        write!(text, "m=audio {} RTP/AVP", self.media.port())?;
        for payload_type in self.payload_types {
            write!(text, " {payload_type}")?;
        }
        text.push_str("\r\n");
        if self.payload_types.contains(&101) {
            text.push_str("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n");
        }
        if let Some(canary) = self.canary {
            let port = self.media.port();
            write!(text, "a=rtcp:{} IN {family} {ip}\r\na=ssrc:1234 cname:{canary}\r\n", port + 1)?;
            write!(
                text,
                "a=candidate:1 1 UDP 2130706431 {ip} {port} typ host\r\na=msid:{canary} {canary}\r\n"
            )?;
            write!(text, "a=label:{canary}\r\na=x-unknown:{canary}\r\n")?;
        }
        if self.mux {
            text.push_str("a=rtcp-mux\r\n");
        }
        write!(text, "a=ptime:20\r\na={}\r\n", self.direction.word())?;
        Ok(text)
    }
}

/// Reads the audio stream of a description that Vizard wrote.
pub(crate) fn read(text: &str) -> Result<Remote, String> {
    if !text.ends_with("\r\n") || !text.starts_with("v=0\r\n") {
        return Err("an SDP that does not begin with v=0 or end with CRLF".into());
    }
    let mut address: Option<IpAddr> = None;
    let mut audio: Option<(u16, Vec<u8>)> = None;
    let mut direction = Direction::SendRecv;
    let mut mux = false;
    for line in text.split_terminator("\r\n") {
        let (kind, value) = line.split_once('=').ok_or_else(|| format!("SDP line '{line}'"))?;
        match kind {
            "c" => address = value.rsplit(' ').next().and_then(|ip| ip.parse().ok()),
            "m" if audio.is_none() => {
                let mut words = value.split(' ').skip(1);
                let port = words.next().and_then(|port| port.parse().ok());
                let types = words.skip(1).map(str::parse).collect::<Result<Vec<u8>, _>>();
                audio = port.zip(types.ok().filter(|types| !types.is_empty()));
            }
            "a" => match value {
                "sendrecv" => direction = Direction::SendRecv,
                "sendonly" => direction = Direction::SendOnly,
                "recvonly" => direction = Direction::RecvOnly,
                "rtcp-mux" => mux = true,
                "inactive" => direction = Direction::Inactive,
                _ => {}
            },
            "v" | "o" | "s" | "t" | "m" | "b" => {}
            other => return Err(format!("an SDP line of kind {other}=")),
        }
    }
    let ip = address.ok_or("an SDP without a connection address")?;
    let (port, payload_types) = audio.ok_or("an SDP without a media line")?;
    Ok(Remote { media: SocketAddr::new(ip, port), direction, payload_types, mux })
}
