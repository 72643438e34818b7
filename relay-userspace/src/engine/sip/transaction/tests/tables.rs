//! Every state of every machine meets every event: the tables of RFC 3261
//! section 17 and RFC 6026, transition by transition.

use std::time::Duration;

use crate::engine::config::Timers;
use crate::engine::sip::transaction::effects::{Effects, Failure};
use crate::engine::sip::transaction::timing::{Deadline, Pace, Timer};
use crate::engine::sip::transaction::{invite_client, invite_server, non_invite_client, non_invite_server};
use crate::engine::sip::transport::Transport;
use crate::engine::time::Instant;

/// What a step did, in a form that a table can hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    state: &'static str,
    send: Option<&'static str>,
    deliver: bool,
    cancel: bool,
    failure: Option<Failure>,
}

pub(super) fn seen(state: &'static str, effects: &Effects) -> Seen {
    let send = effects.send.as_deref().map(|bytes| match bytes {
        b"request" => "request",
        b"ack" => "ack",
        b"trying" => "trying",
        b"response" => "response",
        b"provisional" => "provisional",
        b"refusal" => "refusal",
        other => panic!("{other:?}"),
    });
    Seen { state, send, deliver: effects.deliver, cancel: effects.cancel, failure: effects.failure }
}

/// `-> State [send x] [deliver] [cancel] [timeout] [no-ack] [unreachable]`
pub(super) fn expected(text: &'static str) -> Seen {
    let mut words = text.split(' ');
    let mut seen =
        Seen { state: words.next().unwrap(), send: None, deliver: false, cancel: false, failure: None };
    for word in words {
        match word {
            "deliver" => seen.deliver = true,
            "cancel" => seen.cancel = true,
            "timeout" => seen.failure = Some(Failure::Timeout),
            "no-ack" => seen.failure = Some(Failure::AckTimeout),
            "unreachable" => seen.failure = Some(Failure::Unreachable),
            other => seen.send = Some(other),
        }
    }
    seen
}

fn udp() -> Pace {
    Pace::over(Timers::default(), Transport::Udp)
}

pub(super) fn at(milliseconds: u64) -> Instant {
    Instant::after_origin(Duration::from_millis(milliseconds))
}

pub(super) fn deadline(found: Option<Deadline>) -> Option<(u128, Timer)> {
    found.map(|(at, timer)| (at.since_origin().as_millis(), timer))
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Status(u16),
    Again,
    Ack,
    Cancel,
    Early,
    Late,
}

mod invite_client_table {
    use super::*;
    use invite_client::State;

    const STATES: [&str; 5] = ["calling", "proceeding", "completed", "accepted", "terminated"];

    fn name(state: &State) -> &'static str {
        STATES[match state {
            State::Calling(_) => 0,
            State::Proceeding(_) => 1,
            State::Completed(_) => 2,
            State::Accepted(_) => 3,
            State::Terminated => 4,
        }]
    }

    fn respond(state: State, status: u16) -> (State, Effects) {
        state.respond(at(0), status, |request| (request == b"request").then(|| b"ack".to_vec()), &udp())
    }

    fn enter(name: &str) -> State {
        let calling = State::start(at(0), b"request".to_vec(), &udp());
        match name {
            "calling" => calling,
            "proceeding" => respond(calling, 180).0,
            "completed" => respond(calling, 486).0,
            "accepted" => respond(calling, 200).0,
            _ => calling.expire(at(32_000)).0,
        }
    }

    #[test]
    fn every_transition() {
        use Event::{Cancel, Early, Late, Status};
        let events = [Status(100), Status(199), Status(200), Status(300), Status(699), Cancel, Early, Late];
        let table = [
            (
                "calling",
                [
                    "proceeding deliver",
                    "proceeding deliver",
                    "accepted deliver",
                    "completed ack deliver",
                    "completed ack deliver",
                    "calling",
                    "calling request",
                    "terminated timeout",
                ],
            ),
            (
                "proceeding",
                [
                    "proceeding deliver",
                    "proceeding deliver",
                    "accepted deliver",
                    "completed ack deliver",
                    "completed ack deliver",
                    "proceeding cancel",
                    "terminated timeout",
                    "terminated timeout",
                ],
            ),
            (
                "completed",
                [
                    "completed",
                    "completed",
                    "completed",
                    "completed ack",
                    "completed ack",
                    "completed",
                    "terminated",
                    "terminated",
                ],
            ),
            (
                "accepted",
                [
                    "accepted",
                    "accepted",
                    "accepted deliver",
                    "accepted",
                    "accepted",
                    "accepted",
                    "terminated",
                    "terminated",
                ],
            ),
            ("terminated", ["terminated"; 8]),
        ];
        assert_eq!(table.map(|(state, _)| state), STATES);
        for (state, row) in table {
            for (event, outcome) in events.into_iter().zip(row) {
                let before = enter(state);
                assert_eq!(name(&before), state);
                let (after, effects) = match event {
                    Status(status) => respond(before, status),
                    Cancel => before.cancel(at(0), &udp()),
                    Early => before.expire(at(500)),
                    Late => before.expire(at(32_000)),
                    Event::Again | Event::Ack => unreachable!(),
                };
                assert_eq!(seen(name(&after), &effects), expected(outcome), "{state} on {event:?}");
            }
        }
    }

    #[test]
    fn timers_as_in_table_4() {
        assert_eq!(deadline(enter("calling").deadline()), Some((500, Timer::A)));
        assert_eq!(deadline(enter("proceeding").deadline()), None);
        assert_eq!(deadline(enter("completed").deadline()), Some((32_000, Timer::D)));
        assert_eq!(deadline(enter("accepted").deadline()), Some((32_000, Timer::M)));
        assert_eq!(deadline(enter("terminated").deadline()), None);
        let cancelled = enter("proceeding").cancel(at(1_000), &udp()).0;
        assert_eq!(deadline(cancelled.deadline()), Some((33_000, Timer::Cancelled)));
    }

    #[test]
    fn timer_a_doubles_until_timer_b() {
        let mut state = enter("calling");
        let mut sent = Vec::new();
        while let Some((when, timer)) = state.deadline() {
            sent.push((when.since_origin().as_millis(), timer));
            state = state.expire(when).0;
        }
        let at = [500, 1_500, 3_500, 7_500, 15_500, 31_500].map(|at| (at, Timer::A));
        assert_eq!(sent, [at.as_slice(), &[(32_000, Timer::B)]].concat());
    }

    #[test]
    fn a_cancel_is_sent_once_and_not_before_a_provisional_response() {
        let (state, effects) = enter("calling").cancel(at(0), &udp());
        assert!(!effects.cancel);
        let (state, effects) = respond(state, 100);
        assert!(effects.cancel);
        let (state, effects) = respond(state, 180);
        assert!(!effects.cancel);
        assert!(!state.cancel(at(0), &udp()).1.cancel);
    }
}

mod non_invite_client_table {
    use super::*;
    use non_invite_client::State;

    const STATES: [&str; 4] = ["trying", "proceeding", "completed", "terminated"];

    fn name(state: &State) -> &'static str {
        STATES[match state {
            State::Trying(_) => 0,
            State::Proceeding(_) => 1,
            State::Completed(_) => 2,
            State::Terminated => 3,
        }]
    }

    fn enter(name: &str) -> State {
        let trying = State::start(at(0), b"request".to_vec(), &udp());
        match name {
            "trying" => trying,
            "proceeding" => trying.respond(at(0), 100, &udp()).0,
            "completed" => trying.respond(at(0), 200, &udp()).0,
            _ => trying.expire(at(32_000), &udp()).0,
        }
    }

    #[test]
    fn every_transition() {
        use Event::{Early, Late, Status};
        let events = [Status(100), Status(199), Status(200), Status(300), Status(699), Early, Late];
        let table = [
            (
                "trying",
                [
                    "proceeding deliver",
                    "proceeding deliver",
                    "completed deliver",
                    "completed deliver",
                    "completed deliver",
                    "trying request",
                    "terminated timeout",
                ],
            ),
            (
                "proceeding",
                [
                    "proceeding deliver",
                    "proceeding deliver",
                    "completed deliver",
                    "completed deliver",
                    "completed deliver",
                    "proceeding request",
                    "terminated timeout",
                ],
            ),
            (
                "completed",
                ["completed", "completed", "completed", "completed", "completed", "terminated", "terminated"],
            ),
            ("terminated", ["terminated"; 7]),
        ];
        assert_eq!(table.map(|(state, _)| state), STATES);
        for (state, row) in table {
            for (event, outcome) in events.into_iter().zip(row) {
                let before = enter(state);
                let (after, effects) = match event {
                    Status(status) => before.respond(at(0), status, &udp()),
                    Early => before.expire(at(500), &udp()),
                    Late => before.expire(at(32_000), &udp()),
                    Event::Again | Event::Ack | Event::Cancel => unreachable!(),
                };
                assert_eq!(seen(name(&after), &effects), expected(outcome), "{state} on {event:?}");
            }
        }
    }

    #[test]
    fn timer_e_doubles_to_t2_and_stays_there_until_timer_f() {
        let mut state = enter("trying");
        let mut sent = Vec::new();
        while let Some((when, timer)) = state.deadline() {
            sent.push((when.since_origin().as_millis(), timer));
            state = state.expire(when, &udp()).0;
        }
        let at = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(sent, [at.map(|at| (at, Timer::E)).as_slice(), &[(32_000, Timer::F)]].concat());
        assert_eq!(deadline(enter("completed").deadline()), Some((5_000, Timer::K)));
    }

    #[test]
    fn a_provisional_response_slows_timer_e_and_keeps_timer_f() {
        let mut state = enter("proceeding");
        let mut sent = Vec::new();
        while let Some((when, timer)) = state.deadline() {
            sent.push((when.since_origin().as_millis(), timer));
            state = state.expire(when, &udp()).0;
        }
        let at = [500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500].map(|at| (at, Timer::E));
        assert_eq!(sent, [at.as_slice(), &[(32_000, Timer::F)]].concat());
    }
}

mod invite_server_table {
    use super::*;
    use invite_server::State;

    const STATES: [&str; 6] = ["new", "proceeding", "completed", "confirmed", "accepted", "terminated"];

    fn name(state: &State) -> &'static str {
        match state {
            State::Proceeding(_) if state.deadline().is_some() => STATES[0],
            State::Proceeding(_) => STATES[1],
            State::Completed(_) => STATES[2],
            State::Confirmed(_) => STATES[3],
            State::Accepted(_) => STATES[4],
            State::Terminated => STATES[5],
        }
    }

    fn respond(state: State, status: u16) -> (State, Effects) {
        let bytes: &[u8] = match status {
            ..200 => b"provisional",
            200..300 => b"response",
            300.. => b"refusal",
        };
        state.respond(at(0), status, bytes.to_vec(), &udp())
    }

    fn enter(name: &str) -> State {
        let new = State::start(at(0), b"trying".to_vec());
        match name {
            "new" => new,
            "proceeding" => respond(new, 180).0,
            "completed" => respond(new, 486).0,
            "confirmed" => respond(new, 486).0.acknowledged(at(0), &udp()).0,
            "accepted" => respond(new, 200).0,
            _ => respond(new, 486).0.expire(at(32_000), &udp()).0,
        }
    }

    #[test]
    fn every_transition() {
        use Event::{Ack, Again, Early, Late, Status};
        let events = [Status(180), Status(200), Status(486), Again, Ack, Early, Late];
        let table = [
            (
                "new",
                [
                    "proceeding provisional",
                    "accepted response",
                    "completed refusal",
                    "proceeding trying",
                    "new",
                    "proceeding trying",
                    "proceeding trying",
                ],
            ),
            (
                "proceeding",
                [
                    "proceeding provisional",
                    "accepted response",
                    "completed refusal",
                    "proceeding provisional",
                    "proceeding",
                    "proceeding provisional",
                    "proceeding provisional",
                ],
            ),
            (
                "completed",
                [
                    "completed",
                    "completed",
                    "completed",
                    "completed refusal",
                    "confirmed",
                    "completed refusal",
                    "terminated no-ack",
                ],
            ),
            (
                "confirmed",
                ["confirmed", "confirmed", "confirmed", "confirmed", "confirmed", "terminated", "terminated"],
            ),
            (
                "accepted",
                [
                    "accepted",
                    "accepted response",
                    "accepted",
                    "accepted",
                    "accepted deliver",
                    "terminated",
                    "terminated",
                ],
            ),
            ("terminated", ["terminated"; 7]),
        ];
        assert_eq!(table.map(|(state, _)| state), STATES);
        for (state, row) in table {
            for (event, outcome) in events.into_iter().zip(row) {
                let before = enter(state);
                assert_eq!(name(&before), state);
                let (after, effects) = match event {
                    Status(status) => respond(before, status),
                    Again => before.retransmitted(),
                    Ack => before.acknowledged(at(0), &udp()),
                    Early => before.expire(at(500), &udp()),
                    Late => before.expire(at(32_000), &udp()),
                    Event::Cancel => unreachable!(),
                };
                assert_eq!(seen(name(&after), &effects), expected(outcome), "{state} on {event:?}");
            }
        }
    }

    #[test]
    fn timers_as_in_table_4() {
        assert_eq!(deadline(enter("new").deadline()), Some((200, Timer::Trying)));
        assert_eq!(deadline(enter("proceeding").deadline()), None);
        assert_eq!(deadline(enter("confirmed").deadline()), Some((5_000, Timer::I)));
        assert_eq!(deadline(enter("accepted").deadline()), Some((32_000, Timer::L)));
        let mut state = enter("completed");
        let mut sent = Vec::new();
        while let Some((when, timer)) = state.deadline() {
            sent.push((when.since_origin().as_millis(), timer));
            state = state.expire(when, &udp()).0;
        }
        let at = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(sent, [at.map(|at| (at, Timer::G)).as_slice(), &[(32_000, Timer::H)]].concat());
    }
}

mod non_invite_server_table {
    use super::*;
    use non_invite_server::State;

    const STATES: [&str; 4] = ["trying", "proceeding", "completed", "terminated"];

    fn name(state: &State) -> &'static str {
        STATES[match state {
            State::Trying => 0,
            State::Proceeding(_) => 1,
            State::Completed(_) => 2,
            State::Terminated => 3,
        }]
    }

    fn respond(state: State, status: u16) -> (State, Effects) {
        let bytes: &[u8] = if status < 200 { b"provisional" } else { b"response" };
        state.respond(at(0), status, bytes.to_vec(), &udp())
    }

    fn enter(name: &str) -> State {
        match name {
            "trying" => State::Trying,
            "proceeding" => respond(State::Trying, 100).0,
            "completed" => respond(State::Trying, 200).0,
            _ => respond(State::Trying, 200).0.expire().0,
        }
    }

    #[test]
    fn every_transition() {
        use Event::{Again, Late, Status};
        let events = [Status(100), Status(200), Status(486), Again, Late];
        let table = [
            (
                "trying",
                ["proceeding provisional", "completed response", "completed response", "trying", "trying"],
            ),
            (
                "proceeding",
                [
                    "proceeding provisional",
                    "completed response",
                    "completed response",
                    "proceeding provisional",
                    "proceeding",
                ],
            ),
            ("completed", ["completed", "completed", "completed", "completed response", "terminated"]),
            ("terminated", ["terminated"; 5]),
        ];
        assert_eq!(table.map(|(state, _)| state), STATES);
        for (state, row) in table {
            for (event, outcome) in events.into_iter().zip(row) {
                let before = enter(state);
                let (after, effects) = match event {
                    Status(status) => respond(before, status),
                    Again => before.retransmitted(),
                    Late => before.expire(),
                    Event::Ack | Event::Cancel | Event::Early => unreachable!(),
                };
                assert_eq!(seen(name(&after), &effects), expected(outcome), "{state} on {event:?}");
            }
        }
        assert_eq!(deadline(enter("completed").deadline()), Some((32_000, Timer::J)));
    }
}
