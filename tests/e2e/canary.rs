//! The canary: a unique token in every field that could carry an identity, in
//! every message, both ways; none may turn up on the far side.

use harness::capture::Capture;
use harness::lab::{Link, Place};
use harness::sipp::{Peer, Role, Says};

use crate::world::{Plan, World, assert_hidden, bind, callee_at, caller_at, number, other, world};

#[test]
fn nothing_that_identifies_a_party_crosses() {
    nothing_crosses(Plan::default());
}

#[test]
fn nothing_that_identifies_a_party_crosses_over_tcp() {
    nothing_crosses(Plan { links: [Link::Tcp; 2], ..Plan::default() });
}

fn nothing_crosses(plan: Plan) {
    let Some(world) = world(plan) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    // Offer, answer, renegotiation, hang-up from either side, refusal, cancellation.
    let conversations = [
        (Place::Customer, Role::Caller, Role::Callee),
        (Place::Agent, Role::Caller, Role::Callee),
        (Place::Customer, Role::CallerReinvites, Role::CalleeHangsUp),
        (Place::Agent, Role::CallerReinvites, Role::CalleeHangsUp),
        (Place::Customer, Role::CallerRefused(486), Role::CalleeRefuses(486)),
        (Place::Agent, Role::CallerRefused(603), Role::CalleeRefuses(603)),
        (Place::Customer, Role::CallerCancels, Role::CalleeCancelled),
        (Place::Agent, Role::CallerCancels, Role::CalleeCancelled),
    ];
    for (from, calls, is_called) in conversations {
        let to = other(from);
        let caller = planted(&world, caller_at(from, calls, bound.proxy_of(from)));
        let callee = planted(&world, callee_at(to, is_called));
        let outcome = world.call(caller, callee);
        let sides = [
            (from, &outcome.near, &outcome.far, &outcome.callee),
            (to, &outcome.far, &outcome.near, &outcome.caller),
        ];
        for (side, own, far, seen) in sides {
            assert_sent(side, own);
            // A segment may end within a token; what a peer has read is whole.
            assert!(!seen.received().contains(prefix(side)), "{}", seen.received());
            let leaked = far.words(prefix(side));
            assert!(
                leaked.is_empty(),
                "{calls:?}: of the {side:?} leaked {leaked:?}, see {}",
                far.file().display()
            );
            assert_hidden(&world.lab, plan.family, side, own);
        }
    }
}

/// A peer whose every message is full of tokens.
fn planted(world: &World, peer: Peer) -> Peer {
    let place = peer.place;
    let t = prefix(place);
    let own = number(place);
    let address = world.lab.peer(place, world.plan.family);
    let headers = [
        format!("P-Asserted-Identity: \"{t}pai\" <sip:{own}@{address}>"),
        format!("P-Preferred-Identity: \"{t}ppi\" <sip:{own}@{t}ppihost.example>"),
        format!("Remote-Party-ID: \"{t}rpid\" <sip:{own}@{address}>;party=calling;screen=yes"),
        format!("Reply-To: <sip:{t}replyto@{address}>"),
        format!("Diversion: \"{t}diversion\" <sip:{own}@{address}>;reason=unconditional"),
        format!("History-Info: <sip:{t}history@{address}>;index=1"),
        format!("Referred-By: <sip:{t}referredby@{address}>"),
        format!("Call-Info: <http://{t}callinfo.example/card>;purpose=card"),
        format!("Alert-Info: <http://{t}alertinfo.example/ring>"),
        format!("Error-Info: <sip:{t}errorinfo@{address}>"),
        format!("Organization: {t}organization"),
        format!("Subject: {t}subject"),
        format!("User-Agent: {t}useragent"),
        format!("Server: {t}server"),
        format!("Warning: 399 {t}warninghost \"{t}warningtext\""),
        format!("Reason: Q.850;cause=16;text=\"{t}reasontext\""),
        format!("User-to-User: {t}uui;encoding=hex"),
        format!("Geolocation: <cid:{t}geolocation@{address}>"),
        format!("P-Access-Network-Info: 3GPP-UTRAN;utran-cell-id-3gpp={t}cell"),
        format!("P-Charging-Vector: icid-value={t}icid"),
        format!("P-Called-Party-ID: <sip:{t}calledparty@{address}>"),
        format!("In-Reply-To: {t}inreplyto@{address}"),
        format!("Session-ID: {t}sessionid"),
        format!("Identity: {t}passport"),
        format!("Timestamp: 54 {t}timestamp"),
        format!("X-Customer-Name: {t}xcustomer"),
        format!("{t}headername: {t}headervalue"),
    ];
    let session_lines = [
        format!("i={t}information"),
        format!("u=http://{t}uri.example/"),
        format!("e={t}mail@example.com"),
        format!("p=+1 310 555 0199 ({t}phone)"),
    ];
    let media_lines = [
        format!("a=tool:{t}tool"),
        format!("a=candidate:{t}candidate 1 UDP 2130706431 {address} 8998 typ host"),
        format!("a=ice-ufrag:{t}ufrag"),
        format!("a=ssrc:1 cname:{t}cname"),
        format!("a=msid:{t}msid {t}track"),
        format!("a=label:{t}label"),
        format!("a=x-unknown:{t}unknown"),
    ];
    peer.saying(Says {
        headers: headers.into(),
        display: format!("\"{t}display\" "),
        origin: Some(format!("{t}origin")),
        session: Some(format!("{t}session")),
        session_lines: session_lines.into(),
        media_lines: media_lines.into(),
        audio_port: None,
        renewed: Vec::new(),
    })
}

/// The capture at the sender's end holds the tokens: a silent capture proves nothing.
fn assert_sent(side: Place, capture: &Capture) {
    let sent = capture.words(prefix(side));
    assert!(sent.len() > 25, "the {side:?} sent only {sent:?}");
}

/// Starts every token of a side; nothing else in a capture does.
const fn prefix(place: Place) -> &'static str {
    match place {
        Place::Agent => "CNRYAGT",
        Place::Customer | Place::Vizard => "CNRYCST",
    }
}
