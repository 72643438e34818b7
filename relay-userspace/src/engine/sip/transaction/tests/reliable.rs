//! The same tables over a connection: nothing is sent again, nothing is waited for
//! that might come again, and a lost connection ends what it carried.

use super::tables::{at, deadline, expected, seen};
use crate::engine::config::Timers;
use crate::engine::sip::transaction::effects::Effects;
use crate::engine::sip::transaction::timing::{Pace, Timer};
use crate::engine::sip::transaction::{invite_client, invite_server, non_invite_client, non_invite_server};
use crate::engine::sip::transport::Transport;

fn paces() -> [Pace; 2] {
    [Transport::Tcp, Transport::Tls].map(|transport| Pace::over(Timers::default(), transport))
}

/// Holds a machine's outcomes against its table: a row for each state, a column for
/// each event.
fn check<E: Copy + std::fmt::Debug>(
    events: &[E],
    table: &[(&'static str, &[&'static str])],
    step: impl Fn(&Pace, &str, E) -> (&'static str, Effects),
) {
    for pace in paces() {
        for (state, row) in table {
            assert_eq!(row.len(), events.len(), "{state}");
            for (&event, outcome) in events.iter().zip(*row) {
                let (after, effects) = step(&pace, state, event);
                assert_eq!(seen(after, &effects), expected(outcome), "{state} on {event:?}, {pace:?}");
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Status(u16),
    Again,
    Ack,
    Early,
    Late,
    Lost,
}

use Event::{Ack, Again, Early, Late, Lost, Status};

#[test]
fn invite_client() {
    use invite_client::State;
    fn name(state: &State) -> &'static str {
        match state {
            State::Calling(_) => "calling",
            State::Proceeding(_) => "proceeding",
            State::Completed(_) => "completed",
            State::Accepted(_) => "accepted",
            State::Terminated => "terminated",
        }
    }
    let respond =
        |pace: &Pace, state: State, status| state.respond(at(0), status, |_| Some(b"ack".to_vec()), pace);
    let enter = |pace: &Pace, name: &str| {
        let calling = State::start(at(0), b"request".to_vec(), pace);
        match name {
            "calling" => calling,
            "proceeding" => respond(pace, calling, 180).0,
            "accepted" => respond(pace, calling, 200).0,
            _ => respond(pace, calling, 486).0,
        }
    };
    let events = [Status(100), Status(200), Status(486), Early, Late, Lost];
    let table: [(&str, &[&str]); 4] = [
        (
            "calling",
            &[
                "proceeding deliver",
                "accepted deliver",
                "terminated ack deliver",
                "calling",
                "terminated timeout",
                "terminated unreachable",
            ],
        ),
        (
            "proceeding",
            &[
                "proceeding deliver",
                "accepted deliver",
                "terminated ack deliver",
                "terminated timeout",
                "terminated timeout",
                "proceeding",
            ],
        ),
        ("accepted", &["accepted", "accepted deliver", "accepted", "terminated", "terminated", "accepted"]),
        ("terminated", &["terminated"; 6]),
    ];
    check(&events, &table, |pace, state, event| {
        let before = enter(pace, state);
        let (after, effects) = match event {
            Status(status) => respond(pace, before, status),
            Early => before.expire(at(500)),
            Late => before.expire(at(32_000)),
            Lost => before.disconnected(),
            Again | Ack => unreachable!(),
        };
        (name(&after), effects)
    });
    for pace in paces() {
        assert_eq!(deadline(enter(&pace, "calling").deadline()), Some((32_000, Timer::B)));
        assert_eq!(deadline(enter(&pace, "accepted").deadline()), Some((32_000, Timer::M)));
    }
}

#[test]
fn non_invite_client() {
    use non_invite_client::State;
    fn name(state: &State) -> &'static str {
        match state {
            State::Trying(_) => "trying",
            State::Proceeding(_) => "proceeding",
            State::Completed(_) => "completed",
            State::Terminated => "terminated",
        }
    }
    let enter = |pace: &Pace, name: &str| {
        let trying = State::start(at(0), b"request".to_vec(), pace);
        match name {
            "trying" => trying,
            "proceeding" => trying.respond(at(0), 100, pace).0,
            _ => trying.respond(at(0), 200, pace).0,
        }
    };
    let events = [Status(100), Status(200), Status(486), Early, Late, Lost];
    let answered = "terminated deliver";
    let table: [(&str, &[&str]); 3] = [
        (
            "trying",
            &[
                "proceeding deliver",
                answered,
                answered,
                "trying",
                "terminated timeout",
                "terminated unreachable",
            ],
        ),
        (
            "proceeding",
            &[
                "proceeding deliver",
                answered,
                answered,
                "proceeding",
                "terminated timeout",
                "terminated unreachable",
            ],
        ),
        ("terminated", &["terminated"; 6]),
    ];
    check(&events, &table, |pace, state, event| {
        let before = enter(pace, state);
        let (after, effects) = match event {
            Status(status) => before.respond(at(0), status, pace),
            Early => before.expire(at(500), pace),
            Late => before.expire(at(32_000), pace),
            Lost => before.disconnected(),
            Again | Ack => unreachable!(),
        };
        (name(&after), effects)
    });
    for pace in paces() {
        for state in ["trying", "proceeding"] {
            assert_eq!(deadline(enter(&pace, state).deadline()), Some((32_000, Timer::F)));
        }
    }
}

#[test]
fn invite_server() {
    use invite_server::State;
    fn name(state: &State) -> &'static str {
        match state {
            State::Proceeding(_) => "proceeding",
            State::Completed(_) => "completed",
            State::Confirmed(_) => "confirmed",
            State::Accepted(_) => "accepted",
            State::Terminated => "terminated",
        }
    }
    let respond = |pace: &Pace, state: State, status| {
        let bytes: &[u8] = match status {
            ..200 => b"provisional",
            200..300 => b"response",
            300.. => b"refusal",
        };
        state.respond(at(0), status, bytes.to_vec(), pace)
    };
    let enter = |pace: &Pace, name: &str| {
        let proceeding = respond(pace, State::start(at(0), b"trying".to_vec()), 180).0;
        match name {
            "proceeding" => proceeding,
            "completed" => respond(pace, proceeding, 486).0,
            "accepted" => respond(pace, proceeding, 200).0,
            _ => respond(pace, proceeding, 486).0.acknowledged(at(0), pace).0,
        }
    };
    let events = [Status(180), Status(200), Status(486), Again, Ack, Early, Late];
    let table: [(&str, &[&str]); 4] = [
        (
            "proceeding",
            &[
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
            &[
                "completed",
                "completed",
                "completed",
                "completed refusal",
                "terminated",
                "completed",
                "terminated no-ack",
            ],
        ),
        (
            "accepted",
            &[
                "accepted",
                "accepted response",
                "accepted",
                "accepted",
                "accepted deliver",
                "terminated",
                "terminated",
            ],
        ),
        ("terminated", &["terminated"; 7]),
    ];
    check(&events, &table, |pace, state, event| {
        let before = enter(pace, state);
        let (after, effects) = match event {
            Status(status) => respond(pace, before, status),
            Again => before.retransmitted(),
            Ack => before.acknowledged(at(0), pace),
            Early => before.expire(at(500), pace),
            Late => before.expire(at(32_000), pace),
            Lost => unreachable!(),
        };
        (name(&after), effects)
    });
    for pace in paces() {
        assert_eq!(deadline(enter(&pace, "completed").deadline()), Some((32_000, Timer::H)));
        assert_eq!(deadline(enter(&pace, "accepted").deadline()), Some((32_000, Timer::L)));
    }
}

#[test]
fn non_invite_server() {
    use non_invite_server::State;
    fn name(state: &State) -> &'static str {
        match state {
            State::Trying => "trying",
            State::Proceeding(_) => "proceeding",
            State::Completed(_) => "completed",
            State::Terminated => "terminated",
        }
    }
    let respond = |pace: &Pace, state: State, status| {
        let bytes: &[u8] = if status < 200 { b"provisional" } else { b"response" };
        state.respond(at(0), status, bytes.to_vec(), pace)
    };
    let events = [Status(100), Status(200), Again, Late];
    let table: [(&str, &[&str]); 3] = [
        ("trying", &["proceeding provisional", "terminated response", "trying", "trying"]),
        (
            "proceeding",
            &["proceeding provisional", "terminated response", "proceeding provisional", "proceeding"],
        ),
        ("terminated", &["terminated"; 4]),
    ];
    check(&events, &table, |pace, state, event| {
        let before = match state {
            "trying" => State::Trying,
            "proceeding" => respond(pace, State::Trying, 100).0,
            _ => respond(pace, State::Trying, 200).0,
        };
        let (after, effects) = match event {
            Status(status) => respond(pace, before, status),
            Again => before.retransmitted(),
            Late => before.expire(),
            Ack | Early | Lost => unreachable!(),
        };
        (name(&after), effects)
    });
}
