use stun_types::message::{MessageType, TransactionId};

use super::*;

/// A check by `partner` to who is known by `name` and `password`, with these attributes
/// besides (without values).
pub(crate) fn request(name: &str, password: &str, partner: &str, more: &[u16]) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Request, BINDING);
    let transaction = TransactionId::from(0x7392_u128);
    let mut request = Message::builder(kind, transaction, MessageWriteVec::new());
    request.add_attribute(&Username::new(&format!("{name}:{partner}")).unwrap()).unwrap();
    for &kind in more {
        let value: &[u8] = if kind == ICE_CONTROLLED { &[0; 8] } else { &[] };
        let attribute = stun_types::attribute::RawAttribute::new(AttributeType::new(kind), value);
        request.add_attribute(&attribute).unwrap();
    }
    let key = ShortTermCredentials::new(password.to_owned()).into();
    request.add_message_integrity(&key, IntegrityAlgorithm::Sha1).unwrap();
    request.add_fingerprint().unwrap();
    request.finish()
}

fn ours() -> IceCredentials {
    Agent::new(&mut ChaCha8Rng::from_seed([7; 32])).credentials
}

fn asked(password: &str, partner: &str, more: &[u16]) -> Result<Check, Unanswered> {
    let ours = ours();
    let bytes = request(ours.name.as_str(), password, partner, more);
    check(&ours, "theirs", source(), &bytes)
}

fn source() -> SocketAddr {
    "198.51.100.7:6000".parse().unwrap()
}

#[test]
fn a_signed_check_is_answered_with_where_it_came_from() {
    let password = ours().password;
    for (more, nominates) in [(&[][..], false), (&[USE_CANDIDATE][..], true)] {
        let check = asked(password.as_str(), "theirs", more).unwrap();
        assert_eq!(check.nominates, nominates);
        let answer = Message::from_bytes(&check.answer).unwrap();
        assert!(answer.has_class(MessageClass::Success));
        let transaction = answer.transaction_id();
        assert_eq!(transaction, 0x7392_u128.into());
        assert_eq!(answer.attribute::<XorMappedAddress>().unwrap().addr(transaction), source());
        let key = ShortTermCredentials::new(password.as_str().to_owned()).into();
        answer.validate_integrity(&key).unwrap();
    }
}

#[test]
fn whoever_is_not_the_signalled_far_end_gets_no_answer() {
    let password = ours().password;
    assert_eq!(asked("another password of some length", "theirs", &[]), Err(Unanswered::Unauthenticated));
    assert_eq!(asked(password.as_str(), "another", &[]), Err(Unanswered::Unauthenticated));
    let bytes = request("another", password.as_str(), "theirs", &[]);
    assert_eq!(check(&ours(), "theirs", source(), &bytes), Err(Unanswered::Unauthenticated));
    let mut unsigned = Message::builder(
        MessageType::from_class_method(MessageClass::Request, BINDING),
        1_u128.into(),
        MessageWriteVec::new(),
    );
    let user = format!("{}:theirs", ours().name.as_str());
    unsigned.add_attribute(&Username::new(&user).unwrap()).unwrap();
    unsigned.add_fingerprint().unwrap();
    assert_eq!(check(&ours(), "theirs", source(), &unsigned.finish()), Err(Unanswered::Unauthenticated));
    let bytes = request(ours().name.as_str(), password.as_str(), "theirs", &[USE_CANDIDATE]);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        assert!(check(&ours(), "theirs", source(), &changed).is_err(), "byte {at}");
        assert!(check(&ours(), "theirs", source(), &bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn what_is_signed_and_cannot_be_done_is_told_so() {
    let password = ours().password;
    for (more, code) in [(&[ICE_CONTROLLED, USE_CANDIDATE][..], 487), (&[0x0031, USE_CANDIDATE][..], 420)] {
        let check = asked(password.as_str(), "theirs", more).unwrap();
        assert!(!check.nominates);
        let answer = Message::from_bytes(&check.answer).unwrap();
        assert_eq!(answer.attribute::<ErrorCode>().unwrap().code(), code);
    }
}

#[test]
fn a_far_end_asks_so_often_and_no_more() {
    let said = RemoteIce { name: "theirs".into(), candidates: Vec::new() };
    let mut partner = Partner::new(&said);
    let at = |seconds| Instant::ORIGIN + std::time::Duration::from_secs(seconds);
    let admitted = |partner: &mut Partner, now| (0..500).filter(|_| partner.admits(now)).count();
    assert_eq!(admitted(&mut partner, at(10)), CHECKS_PER_SECOND as usize);
    assert_eq!(admitted(&mut partner, at(11)), CHECKS_PER_SECOND as usize);
}

#[test]
fn the_trunk_says_where_a_far_end_may_be() {
    let candidates = vec![(Component::Rtp, source())];
    let partner = Partner::new(&RemoteIce { name: "theirs".into(), candidates });
    let stranger = "192.0.2.200:9".parse().unwrap();
    for (rule, component, at, may) in [
        (MediaSource::Signalled, Component::Rtp, source(), true),
        (MediaSource::Signalled, Component::Rtcp, source(), false),
        (MediaSource::Signalled, Component::Rtp, stranger, false),
        (MediaSource::Nat, Component::Rtp, stranger, true),
        (MediaSource::Network("192.0.2.0/24".parse().unwrap()), Component::Rtp, stranger, true),
        (MediaSource::Network("192.0.2.0/24".parse().unwrap()), Component::Rtp, source(), false),
    ] {
        assert_eq!(partner.may_be_at(component, at, rule, |_| false), may, "{rule:?} {at}");
    }
}
