//! Logs: one line per thing that somebody may have to act on.
//!
//! Calls are told at `debug`, since their records say the same for good; what
//! is refused, refuses to work or is an emergency is told at `info` and above.
//! Lines that a peer can provoke at will are limited per second and kind, and
//! what was left out is told as a number, so that a flood of bad packets fills
//! no disk. Events are free of personal numbers by their types.

use std::io::IsTerminal;
use std::time::Duration;

use tracing::{Level, debug, error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::engine::event::Event;
use crate::engine::time::Instant;
use crate::settings::{Log, LogFormat};

/// Lines of one kind in one window; what is beyond is counted.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Starts logging to standard error, for the whole process. Fails when the
/// filter is not in tracing's syntax, or on a second call.
pub fn init(log: &Log) -> anyhow::Result<()> {
    // It warns of every malformed datagram, which anybody can send; those are counted.
    let filter = EnvFilter::builder().parse(&log.filter)?.add_directive("stun_types=off".parse()?);
    let coloured = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(coloured)
        .with_target(false);
    let started = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error))
}

/// Turns the engine's events into log lines.
#[derive(Debug, Default)]
pub struct EventLog {
    windows: [Throttle; Kind::COUNT],
}

impl EventLog {
    /// Logs an event, unless there were too many of its kind.
    pub fn record(&mut self, now: Instant, event: &Event) {
        let kind = Kind::of(event);
        if let Some(kind) = kind {
            let throttle = &mut self.windows[kind as usize];
            if let Some(left_out) = throttle.close(now) {
                kind.summarise(left_out);
            }
            if !throttle.admit(now) {
                return;
            }
        }
        match level(event) {
            Level::ERROR => error!("{event}"),
            Level::WARN => warn!("{event}"),
            Level::INFO => info!("{event}"),
            _ => debug!("{event}"),
        }
    }

    /// Tells what was left out in windows that have passed.
    pub fn summarise(&mut self, now: Instant) {
        for (throttle, kind) in self.windows.iter_mut().zip(Kind::ALL) {
            if let Some(left_out) = throttle.close(now) {
                kind.summarise(left_out);
            }
        }
    }

    /// When [`summarise`](Self::summarise) will have something to tell.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.windows.iter().filter(|throttle| throttle.left_out > 0).map(|throttle| throttle.ends).min()
    }
}

/// How loud an event is.
fn level(event: &Event) -> Level {
    match event {
        Event::CallStarted { .. }
        | Event::CallAnswered { .. }
        | Event::CallEnded { .. }
        | Event::CallDiverted { .. }
        | Event::BindingEntombed { .. }
        | Event::BindingReopened { .. }
        | Event::BindingForgotten { .. } => Level::DEBUG,
        Event::GuardChanged { .. }
        | Event::PoolLevel { low: false, .. }
        | Event::CaptureBegan { masked: true, .. }
        | Event::TargetUp { .. }
        | Event::FailedOver { .. }
        | Event::CallsRestored { ended: 0, .. } => Level::INFO,
        Event::CallRefused { .. } | Event::Malformed { .. } | Event::EmergencyCall { routed: true, .. } => {
            Level::INFO
        }
        Event::CallsRestored { .. }
        | Event::UnknownSource { .. }
        | Event::SourceDenied { .. }
        | Event::CaptureBegan { masked: false, .. }
        | Event::PoolExhausted { .. }
        | Event::PoolLevel { low: true, .. }
        | Event::OneWayAudio { .. }
        | Event::EncryptionRefused { .. }
        | Event::Unprotected { .. }
        | Event::ConnectionFailed { .. }
        | Event::TargetDown { .. }
        | Event::LargeRequest { .. }
        | Event::TrunkChallenged { .. } => Level::WARN,
        Event::EmergencyCall { routed: false, .. }
        | Event::LeakStopped { .. }
        | Event::AuditMended { .. }
        | Event::CommitFailed { .. }
        | Event::GuardFailed { .. }
        | Event::FlowRefused { .. } => Level::ERROR,
    }
}

/// Kinds of events that others can provoke in any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Refused,
    Encrypted,
    Malformed,
    Unknown,
    Exhausted,
    Store,
    Media,
    Challenge,
    Leak,
    Denied,
    Silence,
    Transport,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Refused,
        Self::Encrypted,
        Self::Malformed,
        Self::Unknown,
        Self::Exhausted,
        Self::Store,
        Self::Media,
        Self::Challenge,
        Self::Leak,
        Self::Denied,
        Self::Silence,
        Self::Transport,
    ];
    const COUNT: usize = Self::ALL.len();

    /// `None` for what is always logged: it is either wanted in full or costs
    /// its author a call each time.
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::CallStarted { .. }
            | Event::CallAnswered { .. }
            | Event::CallEnded { .. }
            | Event::CallDiverted { .. }
            | Event::FailedOver { .. }
            | Event::CallsRestored { .. }
            | Event::EmergencyCall { .. }
            | Event::BindingEntombed { .. }
            | Event::BindingReopened { .. }
            | Event::BindingForgotten { .. }
            | Event::PoolLevel { .. }
            | Event::GuardChanged { .. }
            | Event::GuardFailed { .. }
            | Event::AuditMended { .. }
            | Event::CaptureBegan { .. } => None,
            Event::CallRefused { .. } => Some(Self::Refused),
            Event::EncryptionRefused { .. } => Some(Self::Encrypted),
            Event::Malformed { .. } => Some(Self::Malformed),
            Event::UnknownSource { .. } => Some(Self::Unknown),
            Event::PoolExhausted { .. } => Some(Self::Exhausted),
            Event::CommitFailed { .. } => Some(Self::Store),
            Event::FlowRefused { .. } => Some(Self::Media),
            Event::TrunkChallenged { .. } => Some(Self::Challenge),
            Event::LeakStopped { .. } => Some(Self::Leak),
            Event::SourceDenied { .. } => Some(Self::Denied),
            Event::OneWayAudio { .. } => Some(Self::Silence),
            Event::Unprotected { .. }
            | Event::ConnectionFailed { .. }
            | Event::TargetDown { .. }
            | Event::TargetUp { .. }
            | Event::LargeRequest { .. } => Some(Self::Transport),
        }
    }

    fn summarise(self, left_out: u64) {
        let what = match self {
            Self::Refused => "refused calls",
            Self::Encrypted => "offers of encrypted media alone",
            Self::Malformed => "malformed messages",
            Self::Unknown => "messages from unknown sources",
            Self::Exhausted => "bindings without a free number",
            Self::Store => "transactions that the store did not take",
            Self::Media => "media flows that could not be made",
            Self::Challenge => "calls for which a trunk wanted credentials",
            Self::Denied => "strangers that are denied",
            Self::Silence => "sides of calls that were not heard",
            Self::Transport => "messages on a way that is not theirs, or has an end",
            Self::Leak => "messages that would have shown a party to the other",
        };
        info!("{left_out} more {what} in the last second, not listed");
    }
}

/// So many lines in a window of time.
#[derive(Clone, Copy, Debug, Default)]
struct Throttle {
    ends: Instant,
    lines: u32,
    left_out: u64,
}

impl Throttle {
    /// Whether one more line fits.
    fn admit(&mut self, now: Instant) -> bool {
        if now >= self.ends {
            (self.ends, self.lines) = (now + WINDOW, 0);
        }
        if self.lines < LINES {
            self.lines += 1;
            return true;
        }
        self.left_out += 1;
        false
    }

    /// How many lines a window that has passed left out.
    fn close(&mut self, now: Instant) -> Option<u64> {
        if now < self.ends || self.left_out == 0 {
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_told_once_its_window_has_passed() {
        let at = |ms| Instant::after_origin(Duration::from_millis(ms));
        let event = Event::Malformed { source: "192.0.2.1:5060".parse().unwrap(), problem: "no".into() };
        let mut log = EventLog::default();
        for n in 0..25 {
            log.record(at(n), &event);
        }
        let window = log.windows[Kind::Malformed as usize];
        assert_eq!((window.lines, window.left_out), (LINES, 15));
        assert_eq!(log.deadline(), Some(at(0) + WINDOW));
        log.summarise(at(999));
        assert!(log.deadline().is_some(), "the window is still open");
        log.summarise(at(1000));
        assert_eq!(log.deadline(), None);
        log.record(at(1001), &event);
        assert_eq!(log.windows[Kind::Malformed as usize].lines, 1);
    }

    #[test]
    fn kinds_stand_at_their_index() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
