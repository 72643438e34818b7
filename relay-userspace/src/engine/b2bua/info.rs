//! INFO inside a call (RFC 6086): digits that somebody dials.
//!
//! A digit crosses in words of ours, whichever of the two usual forms it came in; the
//! answer is the other side's, as far as whether it was taken. Every other content is
//! refused with 415, and every package with 469, since nothing is known to be safe in
//! them. An INFO without content asks whether we are there.

use super::call::{Call, Ending};
use super::context::{Context, Purpose};
use super::exchange::Arrival;
use crate::engine::ids::LegName;
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::transaction::ClientKey;

/// What we take.
const ACCEPT: &str = "application/dtmf-relay, application/dtmf";
/// What we send.
const RELAY: &str = "application/dtmf-relay";
/// Digits of one call that wait for their answer.
const MOST: usize = 16;
/// In milliseconds, where nobody says.
const USUAL: u32 = 250;
const LONGEST: u32 = 10_000;

/// A digit that waits for its answer.
#[derive(Debug)]
pub(super) struct Informing {
    key: ClientKey,
    /// Who pressed it.
    from: LegName,
    arrival: Arrival,
}

/// A key that was pressed, and for how many milliseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digit(char, u32);

impl Digit {
    /// The digit in a message; `None` when it holds something else.
    fn of(message: &Message) -> Option<Self> {
        let body = std::str::from_utf8(message.body()).ok()?;
        if message.content_is("application/dtmf") {
            return Some(Self(key(body)?, USUAL));
        }
        let value = |name: &str| {
            body.lines().find_map(|line| {
                let (found, value) = line.split_once('=')?;
                found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        if !message.content_is(RELAY) {
            return None;
        }
        let duration = value("duration").and_then(|text| text.parse().ok()).unwrap_or(USUAL);
        Some(Self(key(value("signal")?)?, duration.clamp(1, LONGEST)))
    }

    fn text(self) -> String {
        format!("Signal={}\r\nDuration={}\r\n", self.0, self.1)
    }
}

fn key(text: &str) -> Option<char> {
    match text.trim() {
        "10" => Some('*'),
        "11" => Some('#'),
        text => {
            let mut keys = text.chars();
            let key = keys.next()?.to_ascii_uppercase();
            let known = matches!(key, '0'..='9' | 'A'..='D' | '*' | '#');
            (known && keys.next().is_none()).then_some(key)
        }
    }
}

impl Call {
    /// An INFO in leg `name`'s dialog.
    pub(super) fn informed(&mut self, context: &mut Context, name: LegName, arrival: Arrival) {
        let request = &arrival.request;
        if request.header(Name::InfoPackage).is_some() {
            return context.answer(&arrival, 469, None, &[(Name::RecvInfo, "")]);
        }
        if request.body().is_empty() {
            return context.answer(&arrival, 200, None, &[]);
        }
        let Some(digit) = Digit::of(request) else {
            return context.answer(&arrival, 415, None, &[(Name::Accept, ACCEPT)]);
        };
        let other = name.other();
        if self.informing.len() == MOST || self.legs[other].dialog().is_none() {
            return context.answer(&arrival, 500, None, &[(Name::RetryAfter, "1")]);
        }
        let Some((request, way)) = self.in_dialog(context, other, Method::Info) else { return };
        let request = request.build_with_body(RELAY, digit.text().as_bytes());
        if request.as_ref().is_ok_and(|request| self.leaks(context, other, &request.bytes)) {
            context.answer(&arrival, 500, None, &[]);
            return self.end(context, Ending::LEAK);
        }
        let Some(key) = context.request(Purpose::Info(self.id), request, way) else {
            return context.answer(&arrival, 500, None, &[(Name::RetryAfter, "1")]);
        };
        self.unanswered += 1;
        self.informing.push(Informing { key, from: name, arrival });
    }

    /// The other side has answered, or never will (408).
    pub(super) fn info_answered(&mut self, context: &mut Context, key: ClientKey, status: u16) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Some(at) = self.informing.iter().position(|informing| informing.key == key) {
            let Informing { from, arrival, .. } = self.informing.remove(at);
            let status = match status {
                200..300 => 200,
                405 | 415 | 469 | 501 => 415,
                _ if self.legs[from].has_ended() => 481,
                _ => 500,
            };
            context.answer(&arrival, status, None, &[]);
        }
        self.settle(context);
    }
}
