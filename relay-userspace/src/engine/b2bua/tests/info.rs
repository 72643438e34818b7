//! INFO: digits cross in our words, and nothing else does.

use std::time::Duration;

use super::changes::hang_up;
use super::setup::{A, B, talking};
use super::world::{World, carrier};

#[test]
fn a_digit_crosses_in_our_words_and_its_answer_comes_back() {
    let forms = [
        ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", "Signal=5\r\nDuration=160\r\n"),
        ("application/dtmf-relay", "signal = 11\nX=LEAK-OF-?\n", "Signal=#\r\nDuration=250\r\n"),
        ("application/dtmf-relay", "Signal=d\r\nDuration=99999999\r\n", "Signal=D\r\nDuration=10000\r\n"),
        ("application/dtmf", "*", "Signal=*\r\nDuration=250\r\n"),
    ];
    for (kind, body, crosses) in forms {
        for presses in [A, B] {
            for (answer, told) in [("200", "200"), ("415", "415"), ("500", "500"), ("", "500")] {
                let mut world = World::new();
                let (from, to) = talking(&mut world, A);
                let (mut one, other) = if from.leg == presses { (from, to) } else { (to, from) };
                let text = one.text(&mut world, "INFO", "", body).replace("application/sdp", kind);
                world.send(carrier(presses), &text);
                let info = world.expect(presses.other(), "INFO ");
                assert_eq!(info.header("Content-Type"), "application/dtmf-relay");
                assert_eq!(info.body, crosses);
                world.expect_nothing(presses);
                if answer.is_empty() {
                    world.pass(Duration::from_secs(33));
                } else {
                    other.respond(&mut world, &info, answer, "");
                }
                world.expect(presses, &format!("SIP/2.0 {told}"));
                hang_up(&mut world, &mut one, &other);
            }
        }
    }
}

#[test]
fn nothing_else_crosses_in_an_info() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    from.request(&mut world, "INFO", "");
    world.expect(A, "SIP/2.0 200");
    for (kind, body) in [
        ("application/dtmf-relay", "Signal=55\r\n"),
        ("application/dtmf-relay", "Duration=5\r\n"),
        ("application/dtmf", "12125551200"),
        ("application/sdp", "v=0\r\n"),
        ("text/plain", "5"),
    ] {
        let text = from.text(&mut world, "INFO", "", body).replace("application/sdp", kind);
        world.send(carrier(A), &text);
        let refused = world.expect(A, "SIP/2.0 415");
        assert_eq!(refused.header("Accept"), "application/dtmf-relay, application/dtmf");
    }
    from.request_with(&mut world, "INFO", ("Info-Package: foo\r\n", "5"));
    world.expect(A, "SIP/2.0 469");
    world.expect_nothing(B);
    hang_up(&mut world, &mut from, &to);
}
