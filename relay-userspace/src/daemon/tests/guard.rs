//! The guard over loopback: a flood, an operator, a restart.

use std::time::Instant;

use super::*;
use crate::engine::guard::{GuardAction, GuardReply, GuardRequest, GuardStatus, RuleView, Treatment};
use crate::engine::privacy::tests::{keyring, random};
use crate::store::SledStore;

fn ask(client: &mut Client, request: GuardRequest) -> GuardReply {
    match client.ask(Request::Admin(AdminRequest::Guard(request))).unwrap() {
        Response::Admin(AdminReply::Guard(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

fn rules(client: &mut Client) -> Vec<RuleView> {
    match ask(client, GuardRequest::List) {
        GuardReply::Rules(rules) => rules,
        other => panic!("{other:?}"),
    }
}

fn held(client: &mut Client) -> GuardStatus {
    match ask(client, GuardRequest::Status) {
        GuardReply::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

fn deny(net: &str) -> GuardRequest {
    GuardRequest::Put {
        net: net.parse().unwrap(),
        action: GuardAction::Deny,
        lasting: Some(Duration::from_mins(10)),
        reason: "a test".into(),
        force: false,
    }
}

/// As the settings have it when the guard is on.
fn guarded(directory: &TempDir) -> Parts {
    let Settings { datapath, .. } = configuration();
    let datapath = SocketDatapath::open(&datapath, "a test".into()).unwrap();
    Parts { datapath: Box::new(datapath), ..parts(directory) }
}

#[test]
fn a_flood_is_held_back_and_its_source_denied() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(guarded(&directory)).unwrap();
    let mut client = client(&directory);
    let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
    for _ in 0..400 {
        stranger.send_to(b"OPTIONS sip:x SIP/2.0\r\n\r\n", daemon.listens()[0].local).unwrap();
    }
    let limit = Instant::now() + Duration::from_secs(5);
    while held(&mut client).limited == 0 {
        assert!(Instant::now() < limit);
    }
    // Its bucket lets a hundred through, and the next one that passes is one too many.
    while rules(&mut client).iter().all(|rule| rule.treatment != Treatment::Deny) {
        assert!(Instant::now() < limit);
        stranger.send_to(b"x", daemon.listens()[0].local).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..10 {
        stranger.send_to(b"x", daemon.listens()[0].local).unwrap();
    }
    let denied = |client: &mut Client| {
        let net = "127.0.0.9/32".parse().unwrap();
        rules(client).into_iter().find(|rule| rule.net == net).unwrap()
    };
    while denied(&mut client).packets < Some(10) {
        assert!(Instant::now() < limit);
    }
    assert!(held(&mut client).denied >= 10);
    assert!(denied(&mut client).reason.contains("no trunk"));
    let listed = rules(&mut client);
    let trunk = listed.iter().find(|rule| rule.net == "127.0.0.1/32".parse().unwrap()).unwrap();
    assert_eq!(trunk.treatment, Treatment::Exempt, "loopback's own address is the trunk's");
}

#[test]
fn what_an_operator_denies_stays_denied_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        || Box::new(SledStore::open(&directory.path().join("store"), &keyring(), &mut random(2)).unwrap());
    let daemon = Daemon::start(Parts { store: store(), ..guarded(&directory) }).unwrap();
    let mut operator = client(&directory);
    let GuardReply::Put { rule, .. } = ask(&mut operator, deny("127.0.0.9/32")) else { panic!() };
    assert_eq!((rule.treatment, rule.packets), (Treatment::Deny, Some(0)));
    let refused = operator.ask(Request::Admin(AdminRequest::Guard(deny("127.0.0.1/32")))).unwrap();
    let Response::Admin(AdminReply::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.kind, RefusalKind::Conflict);
    daemon.stop();
    daemon.wait().unwrap();

    let daemon = Daemon::start(Parts { store: store(), ..guarded(&directory) }).unwrap();
    let mut operator = client(&directory);
    let denied = UdpSocket::bind("127.0.0.9:0").unwrap();
    denied.send_to(b"x", daemon.listens()[0].local).unwrap();
    let listed = rules(&mut operator);
    let again = listed.iter().find(|rule| rule.treatment == Treatment::Deny).unwrap();
    assert_eq!((again.packets, again.until), (Some(1), rule.until));
    ask(&mut operator, GuardRequest::Remove { net: again.net });
    assert!(rules(&mut operator).iter().all(|rule| rule.treatment == Treatment::Exempt));
}
