//! One end of a call: its dialog, its ports, and what it may say.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::lab::Place;

use super::sip::{Description, Dialog, Message, Way};
use super::sound::{Account, Ear, PACE, Token};

/// RFC 3261's T1: after this a request is sent again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long something may still arrive at a port that was given up: what was under
/// way, and what waited in queues of this busy machine.
pub(super) const STRAGGLERS: Duration = Duration::from_millis(400);

/// Where an end's dialog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Opening,
    Talking,
    Over,
}

/// An end of a call.
pub(super) struct End {
    pub(super) side: Place,
    pub(super) stage: Stage,
    /// The ports that it listens on; it speaks from the last.
    pub(super) ears: Vec<Ear>,
    /// A port that it has announced, and that the other side has not yet accepted.
    announced: Option<Ear>,
    pub(super) remote: Option<SocketAddr>,
    /// The way media flows, as this end sees it.
    pub(super) way: Way,
    /// What it says.
    pub(super) account: Account,
    dialog: Dialog,
    next_packet: Instant,
    version: u32,
    /// A request that awaits its final answer.
    request: Option<Request>,
    /// Answers given, by branch and method, for requests that come again.
    given: HashMap<String, String>,
    acknowledged: HashMap<u32, String>,
}

struct Request {
    text: String,
    method: &'static str,
    again: Option<Instant>,
}

/// What a message has brought about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The call is up at this end.
    Up,
    /// The other side has agreed to what this end wanted changed.
    Changed,
    /// The call is over at this end.
    Over,
    /// A request was refused, with this first line.
    Refused(String),
}

impl End {
    pub(super) fn new(side: Place, dialog: Dialog, ear: Ear) -> Self {
        Self {
            side,
            stage: Stage::Opening,
            ears: vec![ear],
            announced: None,
            remote: None,
            way: Way::Both,
            account: Account::default(),
            dialog,
            next_packet: Instant::now(),
            version: 0,
            request: None,
            given: HashMap::new(),
            acknowledged: HashMap::new(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.dialog.id
    }

    /// The INVITE that opens the call, or changes it: media flows this way from now
    /// on, and to a new port if there is one.
    pub(super) fn invite(&mut self, way: Way, moves_to: Option<Ear>) -> String {
        self.way = way;
        self.announced = moves_to;
        let description = self.describe();
        self.transact("INVITE", &description)
    }

    pub(super) fn hang_up(&mut self) -> String {
        self.transact("BYE", "")
    }

    fn transact(&mut self, method: &'static str, body: &str) -> String {
        let text = self.dialog.request(method, body);
        let again = Some(Instant::now() + AGAIN);
        self.request = Some(Request { text: text.clone(), method, again });
        text
    }

    /// A request that was not answered in time.
    pub(super) fn repeat(&mut self, now: Instant) -> Option<String> {
        let request = self.request.as_mut()?;
        let due = request.again.is_some_and(|again| again <= now);
        due.then(|| {
            request.again = Some(now + AGAIN);
            request.text.clone()
        })
    }

    fn describe(&mut self) -> String {
        self.version += 1;
        let ear = self.announced.as_ref().or(self.ears.last()).expect("an end has a port");
        Description { media: ear.address, way: self.way }.write(self.version)
    }

    fn take(&mut self, said: Option<Description>) {
        if let Some(said) = said {
            self.remote = Some(said.media);
            self.way = said.way.mirrored();
        }
    }

    /// Takes in a message: what to send back, and what it has brought about.
    pub(super) fn receive(&mut self, message: &Message) -> (Vec<String>, Option<News>) {
        match (message.method(), message.status()) {
            (Some("ACK"), _) if self.stage == Stage::Opening => {
                self.stage = Stage::Talking;
                (Vec::new(), Some(News::Up))
            }
            (Some("ACK"), _) => (Vec::new(), None),
            (Some(method), _) => self.requested(message, method),
            (None, Some(status @ 200..)) => self.answered(message, status),
            (None, _) => {
                if let Some(request) = &mut self.request
                    && request.method == "INVITE"
                {
                    request.again = None;
                }
                (Vec::new(), None)
            }
        }
    }

    fn requested(&mut self, message: &Message, method: &str) -> (Vec<String>, Option<News>) {
        let key = format!("{method} {}", message.branch());
        if let Some(given) = self.given.get(&key) {
            return (vec![given.clone()], None);
        }
        let mut news = None;
        let answer = match method {
            // Both sides change at once: whoever called gives way later (RFC 3261 section 14.2).
            "INVITE" if self.request.as_ref().is_some_and(|request| request.method == "INVITE") => {
                message.response("491 Request Pending", &self.dialog, "")
            }
            "INVITE" | "UPDATE" => {
                self.take(message.media());
                let description = self.describe();
                message.response("200 OK", &self.dialog, &description)
            }
            "BYE" => {
                self.stage = Stage::Over;
                news = Some(News::Over);
                message.response("200 OK", &self.dialog, "")
            }
            _ => message.response("200 OK", &self.dialog, ""),
        };
        self.given.insert(key, answer.clone());
        (vec![answer], news)
    }

    fn answered(&mut self, message: &Message, status: u16) -> (Vec<String>, Option<News>) {
        let sequence = message.sequence();
        if let Some(given) = self.acknowledged.get(&sequence) {
            return (vec![given.clone()], None);
        }
        let Some(request) = self.request.take_if(|request| request.method == message.answers()) else {
            return (Vec::new(), None);
        };
        if request.method == "BYE" {
            self.stage = Stage::Over;
            return (Vec::new(), Some(News::Over));
        }
        if status >= 300 {
            // Acknowledged hop by hop, in the request's own transaction; that it never is
            // here costs a few repeats.
            self.announced = None;
            return (Vec::new(), Some(News::Refused(message.start().to_owned())));
        }
        self.dialog.answered(message);
        self.take(message.media());
        if let Some(ear) = self.announced.take() {
            self.ears.push(ear);
        }
        let acknowledgement = self.dialog.acknowledge(sequence);
        self.acknowledged.insert(sequence, acknowledgement.clone());
        let opened = self.stage == Stage::Opening;
        self.stage = Stage::Talking;
        (vec![acknowledgement], Some(if opened { News::Up } else { News::Changed }))
    }

    /// Says what is due; `owed` if the other side must hear it.
    pub(super) fn speak(&mut self, now: Instant, call: u32, owed: bool) {
        let Some(remote) = self.remote else { return };
        if self.stage != Stage::Talking || now < self.next_packet {
            return;
        }
        // After a pause of this process it goes on from where it is.
        self.next_packet = (self.next_packet + PACE).max(now);
        if self.way.sends() {
            let number = self.account.say(owed);
            let token = Token { call, from: self.side, number: Some(number) };
            self.ears.last().expect("an end has a port").send(token, remote);
        }
    }

    /// What was heard on any port, and when that port should have been silent.
    pub(super) fn hear(&self) -> Vec<(Option<Token>, SocketAddr, Option<Instant>)> {
        let ears = self.ears.iter().chain(&self.announced);
        ears.flat_map(|ear| {
            let packets = std::iter::from_fn(|| ear.hear());
            packets.map(|(packet, reports)| {
                let token = Token::of(&packet).filter(|token| token.number.is_none() == reports);
                (token, ear.address, ear.silent_from)
            })
        })
        .collect()
    }

    /// Its ports, but for the last one or with it, should fall silent soon.
    pub(super) fn expect_silence(&mut self, everywhere: bool) {
        let kept = usize::from(!everywhere);
        let count = self.ears.len().saturating_sub(kept);
        for ear in &mut self.ears[..count] {
            ear.silent_from.get_or_insert(Instant::now() + STRAGGLERS);
        }
    }
}
