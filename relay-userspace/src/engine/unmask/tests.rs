//! Who is shown what, and when.

use super::*;
use crate::engine::audit::entry::Proof;
use crate::engine::ids::SessionId;
use crate::engine::privacy::{Digest, Role};

const REASON: &str = "complaint 4711";

fn at(seconds: u64) -> Now {
    Now::default().after(Duration::from_secs(1_000_000 + seconds))
}

fn user(id: u32) -> Asker {
    Asker { user: id, name: None, role: Some(Role::Privacy) }
}

fn rules(two_person: bool) -> config::Unmask {
    config::Unmask { two_person, per_hour: 3, approve_within: Duration::from_mins(10) }
}

fn binding() -> BindingId {
    BindingId::from_bits(7)
}

fn show(reason: &str) -> UnmaskRequest {
    let of = Subject::Session(SessionId::from_bits(9));
    UnmaskRequest::Show { of, reason: reason.to_owned(), recorded: None }
}

/// Judges, and goes on as if the entry had become durable as number `seq`.
fn ask(
    desk: &mut Unmasking,
    now: Now,
    seq: u64,
    id: u32,
    request: &UnmaskRequest,
) -> Result<(Note, Step), Refusal> {
    let note = desk.judge(now, &user(id), request, Some(binding()))?.expect("it is noted");
    Ok((note, desk.proceed(now, seq, user(id), request.clone(), Some(binding()))?))
}

fn kind(result: Result<(Note, Step), Refusal>) -> RefusalKind {
    result.unwrap_err().kind
}

#[test]
fn one_person_is_shown_what_they_have_a_reason_for() {
    let mut desk = Unmasking::new(rules(false), at(0), &[]);
    let (note, step) = ask(&mut desk, at(0), 1, 5, &show(REASON)).unwrap();
    assert_eq!((note.act, note.reason.as_str()), (Act::Unmask, REASON));
    assert_eq!(note.on, format!("{} {}", SessionId::from_bits(9), binding()), "both can be searched for");
    assert!(matches!(step, Step::Reveal { binding: found, .. } if found == binding()));
    for reason in
        ["", "short", "   because    ", "a\nreason of two lines", "about +1 212 555 1200", &"x".repeat(201)]
    {
        let refused = desk.judge(at(0), &user(5), &show(reason), Some(binding()));
        assert_eq!(refused.unwrap_err().kind, RefusalKind::Invalid, "{reason}");
    }
    let unknown = desk.judge(at(0), &user(5), &show(REASON), None).unwrap_err();
    assert_eq!(unknown.kind, RefusalKind::NotFound);
}

#[test]
fn each_user_has_a_limit_an_hour_that_a_restart_does_not_forget() {
    let mut desk = Unmasking::new(rules(false), at(0), &[]);
    for seq in 0..3 {
        ask(&mut desk, at(seq), seq, 5, &show(REASON)).unwrap();
    }
    assert_eq!(kind(ask(&mut desk, at(10), 4, 5, &show(REASON))), RefusalKind::Exhausted);
    assert_eq!(desk.counters()[1].1, 1);
    ask(&mut desk, at(10), 5, 6, &show(REASON)).unwrap();

    let entry = |seconds, act, who| Entry {
        seq: 1,
        at: at(seconds).wall,
        who,
        act,
        on: String::new(),
        reason: String::new(),
        before: Digest::default(),
        proof: Proof::default(),
    };
    let by = |id| Who::User(user(id));
    let tail = [
        entry(0, Act::Unmask, by(5)),
        entry(100, Act::UnmaskRequest, by(5)),
        entry(100, Act::Unmask, by(6)),
        entry(100, Act::BindClose, by(5)),
        entry(100, Act::Seal, Who::Vizard),
        entry(200, Act::Unmask, by(5)),
    ];
    let mut again = Unmasking::new(rules(false), at(3_000), &tail);
    assert_eq!(kind(ask(&mut again, at(3_000), 1, 5, &show(REASON))), RefusalKind::Exhausted);
    ask(&mut again, at(3_601), 1, 5, &show(REASON)).unwrap();
    assert_eq!(kind(ask(&mut again, at(3_602), 2, 5, &show(REASON))), RefusalKind::Exhausted);
}

#[test]
fn under_the_two_person_rule_another_one_approves_and_the_first_one_sees_once() {
    let mut desk = Unmasking::new(rules(true), at(0), &[]);
    let (note, step) = ask(&mut desk, at(0), 81, 5, &show(REASON)).unwrap();
    assert_eq!(note.act, Act::UnmaskRequest);
    let Step::Answer(UnmaskReply::Waiting(request)) = step else { panic!("{step:?}") };
    assert_eq!(request.id, 81, "it is named by its audit entry");
    let (approve, fetch) = (UnmaskRequest::Approve { id: 81 }, UnmaskRequest::Fetch { id: 81 });
    assert_eq!(kind(ask(&mut desk, at(1), 82, 5, &fetch)), RefusalKind::Conflict, "not approved yet");
    assert_eq!(kind(ask(&mut desk, at(1), 82, 5, &approve)), RefusalKind::Forbidden, "not by oneself");
    let (note, step) = ask(&mut desk, at(1), 82, 6, &approve).unwrap();
    assert_eq!(note.act, Act::UnmaskApprove);
    assert!(matches!(step, Step::Answer(UnmaskReply::Approved(_))));
    assert_eq!(kind(ask(&mut desk, at(1), 83, 7, &approve)), RefusalKind::Conflict, "approved already");
    assert_eq!(
        kind(ask(&mut desk, at(1), 83, 6, &fetch)),
        RefusalKind::Forbidden,
        "whoever approves sees nothing"
    );
    let (note, step) = ask(&mut desk, at(2), 83, 5, &fetch).unwrap();
    assert_eq!(note.act, Act::Unmask);
    assert!(note.reason.contains("approved by user 6") && note.reason.contains(REASON), "{note:?}");
    assert!(note.on.contains("request 81"), "{note:?}");
    assert!(matches!(step, Step::Reveal { .. }));
    assert_eq!(kind(ask(&mut desk, at(3), 84, 5, &fetch)), RefusalKind::NotFound, "once");
}

#[test]
fn a_request_is_rejected_withdrawn_or_expires() {
    let mut desk = Unmasking::new(rules(true), at(0), &[]);
    for (seq, id) in [(1, 6), (2, 5)] {
        ask(&mut desk, at(0), seq, 5, &show(REASON)).unwrap();
        let (note, step) = ask(&mut desk, at(0), 9, id, &UnmaskRequest::Reject { id: seq }).unwrap();
        assert_eq!(note.act, Act::UnmaskReject);
        assert!(matches!(step, Step::Answer(UnmaskReply::Rejected(_))));
    }
    ask(&mut desk, at(0), 3, 5, &show(REASON)).unwrap();
    assert_eq!(desk.poll_timeout(at(0)).map(|(due, _)| due), Some(at(600).mono));
    assert_eq!(desk.handle_timeout(at(599)), []);
    let expired = desk.handle_timeout(at(600));
    assert_eq!(expired.iter().map(|note| note.act).collect::<Vec<_>>(), [Act::UnmaskExpire]);
    assert_eq!(kind(ask(&mut desk, at(601), 4, 6, &UnmaskRequest::Approve { id: 3 })), RefusalKind::NotFound);
    assert_eq!(desk.poll_timeout(at(601)), None);
}

#[test]
fn two_who_approve_at_once_approve_once() {
    let mut desk = Unmasking::new(rules(true), at(0), &[]);
    ask(&mut desk, at(0), 1, 5, &show(REASON)).unwrap();
    let approve = UnmaskRequest::Approve { id: 1 };
    for id in [6, 7] {
        desk.judge(at(1), &user(id), &approve, None).unwrap();
    }
    desk.proceed(at(2), 2, user(6), approve.clone(), None).unwrap();
    let late = desk.proceed(at(2), 3, user(7), approve, None).unwrap_err();
    assert_eq!(late.kind, RefusalKind::Conflict);
}
