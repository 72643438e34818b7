//! Phones: `baresip`, an implementation of SIP, RTP and G.711 that is not ours,
//! which plays a recording and records what it hears.
//!
//! No sound card takes part: what is sent comes from a WAV file, and what is heard
//! is written down as it is decoded, without a jitter buffer that might hide a gap.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::audio;
use crate::capture::occurrences;
use crate::lab::{Family, Lab, Link, Place};
use crate::process::Running;

const LOG: &str = "baresip.log";
/// For how many samples whoever is called listens after its own recording: it is
/// the caller who hangs up, and nobody's last words are cut.
const LISTENS: usize = 3 * 8000;

/// How a phone speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// What it speaks SIP over; with TLS it shows and believes what stands in
    /// [`Lab::certificates`].
    pub link: Link,
    /// How it encrypts, if it does; then it takes nothing that is not.
    pub encryption: Option<Encryption>,
    /// Whether it speaks ICE.
    pub ice: bool,
}

/// How a phone encrypts its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// SRTP, with keys in the session description.
    Srtp,
    /// SRTP, with keys by DTLS on the media's own ports.
    DtlsSrtp,
}

impl Manner {
    /// What an account says of its media.
    fn account(self) -> String {
        let encryption = match self.encryption {
            None => "",
            Some(Encryption::Srtp) => ";mediaenc=srtp-mand",
            Some(Encryption::DtlsSrtp) => ";mediaenc=dtls_srtp",
        };
        format!("{encryption}{}", if self.ice { ";medianat=ice" } else { "" })
    }
}

/// A phone with one account, in a place of a lab.
#[derive(Debug)]
pub struct Phone {
    running: Running,
    folder: PathBuf,
}

impl Phone {
    /// Starts a phone that answers whoever calls it, and is ready when this returns.
    /// When its recording has ended it goes on listening for a while.
    pub fn answering(lab: &Lab, place: Place, number: &str, plays: &[i16], manner: Manner) -> Result<Self> {
        Self::start(lab, (place, number, manner), (plays, LISTENS), None)
    }

    /// Starts a phone that dials, and hangs up a little after its recording has ended.
    pub fn calling(
        lab: &Lab,
        place: Place,
        number: &str,
        plays: &[i16],
        manner: Manner,
        dials: &str,
    ) -> Result<Self> {
        Self::start(lab, (place, number, manner), (plays, LISTENS / 3), Some(dials))
    }

    fn start(
        lab: &Lab,
        (place, number, manner): (Place, &str, Manner),
        (plays, silence): (&[i16], usize),
        dials: Option<&str>,
    ) -> Result<Self> {
        let folder = lab.folder().join(format!("phone-{number}"));
        let heard = folder.join("heard");
        fs::create_dir_all(&heard).with_context(|| format!("cannot create {}", heard.display()))?;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        let own = SocketAddr::new(lab.peer(place, Family::V4), lab.sip_port());
        let vizard = SocketAddr::new(lab.vizard(place, Family::V4), lab.port_over(manner.link));
        let over = manner.link.word();
        let plays: Vec<i16> = plays.iter().copied().chain(std::iter::repeat_n(0, silence)).collect();
        audio::write_wav(&folder.join("plays.wav"), &plays)?;
        write("config", &configuration(lab, (own, manner.link), &folder))?;
        let account = format!(
            "<sip:{number}@{own}>;regint=0;answermode=auto;outbound=\"sip:{vizard};transport={over}\";audio_codecs=pcmu/8000/1{}\n",
            manner.account()
        );
        write("accounts", &account)?;
        write("contacts", "")?;

        let mut baresip = lab.at(place, "baresip");
        baresip.arg("-f").arg(&folder);
        if let Some(dials) = dials {
            baresip.args(["-e", &format!("/dial sip:{dials}@{vizard};transport={over}")]);
        }
        let mut running = Running::start("baresip", baresip, &folder.join(LOG))?;
        let log = folder.join(LOG);
        let ready = || fs::read(&log).is_ok_and(|text| occurrences(&text, b"baresip is ready") > 0);
        running.wait_until("ready", Duration::from_secs(10), ready)?;
        Ok(Self { running, folder })
    }

    /// Waits until the phone says this.
    pub fn wait_for(&mut self, words: &str) -> Result<()> {
        let log = self.folder.join(LOG);
        let said = || fs::read(&log).is_ok_and(|text| occurrences(&text, words.as_bytes()) > 0);
        self.running.wait_until(words, Duration::from_secs(30), said)
    }

    /// Waits until the phone's call is over, switches it off, and returns what it heard.
    pub fn finish(mut self) -> Result<Vec<i16>> {
        self.wait_for(" terminated (duration")?;
        self.running.stop(Signal::INT)?;
        self.heard()
    }

    fn heard(&self) -> Result<Vec<i16>> {
        let folder = self.folder.join("heard");
        let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let decoded: Vec<PathBuf> = files
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        match decoded.as_slice() {
            [file] => audio::read_wav(file),
            others => bail!("one recording expected, {} found:\n{}", others.len(), self.running.output()),
        }
    }
}

fn configuration(lab: &Lab, (own, link): (SocketAddr, Link), folder: &Path) -> String {
    let family = match own.ip() {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    };
    let certificates = lab.certificates();
    let certificates = match link {
        Link::Udp | Link::Tcp => String::new(),
        Link::Tls => {
            let folder = certificates.display();
            format!("sip_certificate {folder}/peer.pem\nsip_cafile {folder}/ca.crt\n")
        }
    };
    let folder = folder.display();
    format!(
        "sip_listen {own}\n\
         {certificates}\
         net_interface eth0\n\
         net_af {family}\n\
         audio_source aufile,{folder}/plays.wav\n\
         audio_player aubridge,nobody\n\
         audio_alert aubridge,nobody\n\
         audio_channels 1-1\n\
         ausrc_srate 8000\n\
         auplay_srate 8000\n\
         ausrc_channels 1\n\
         auplay_channels 1\n\
         jitter_buffer_delay 0-0\n\
         rtp_ports 30000-30100\n\
         snd_path {folder}/heard\n\
         module_path /usr/lib/baresip/modules\n\
         module g711.so\n\
         module aufile.so\n\
         module aubridge.so\n\
         module sndfile.so\n\
         module srtp.so\n\
         module dtls_srtp.so\n\
         module stun.so\n\
         module ice.so\n\
         module_app account.so\n\
         module_app contact.so\n\
         module_app menu.so\n"
    )
}
