//! Nothing is done whose entry is not durable, in the store and beside the keys.

use super::*;
use crate::engine::privacy::Role;

fn drain(client: &mut Client) -> AdminReply {
    match client.ask(Request::Admin(AdminRequest::Drain { on: true })).unwrap() {
        Response::Admin(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn counter(client: &mut Client, name: &str) -> u64 {
    let counters = status(client).counters;
    counters.into_iter().find(|(found, _)| found == name).map_or(0, |(_, count)| count)
}

#[test]
fn without_its_anchor_an_act_is_refused_and_not_done() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let parts = Parts { anchor_file: keys.join("audit.anchor"), ..parts(&directory) };
    let _daemon = Daemon::start(parts).unwrap();
    assert!(keys.join("audit.anchor").exists(), "a new log has its anchor before it begins");
    let mut client = client(&directory);

    std::fs::rename(&keys, directory.path().join("aside")).unwrap();
    std::fs::write(&keys, "in the way").unwrap();
    let AdminReply::Refused(refusal) = drain(&mut client) else { panic!("it was done") };
    assert_eq!(refusal.kind, RefusalKind::Unavailable);
    assert!(refusal.what.contains("nothing was done") && refusal.what.contains("anchor"), "{refusal:?}");
    assert_eq!(counter(&mut client, "calls.draining"), 0);

    std::fs::remove_file(&keys).unwrap();
    assert_eq!(drain(&mut client), AdminReply::Drain { on: true, calls: 0 });
    assert_eq!(counter(&mut client, "calls.draining"), 1);
    assert!(counter(&mut client, "audit.commit_failures") >= 1);
    assert_eq!(counter(&mut client, "audit.pending"), 0, "what failed was written with what came next");
}

#[test]
fn an_anchor_of_another_log_ends_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let anchor_file = directory.path().join("audit.anchor");
    let mut random = crate::engine::privacy::tests::random(5);
    let keyring = crate::engine::privacy::Keyring::generate(&mut random);
    let (other, _) = Vault::open(&keyring, &[], &mut random).unwrap();
    std::fs::write(&anchor_file, Anchor::default().to_text(other.notary())).unwrap();
    let error = format!("{:#}", Daemon::start(parts(&directory)).err().unwrap());
    assert!(error.contains("another log") && error.contains("anchor_file"), "{error}");
}

#[test]
fn an_unknown_account_ends_the_start_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut parts = parts(&directory);
    parts.control.roles.insert(Role::Noc, vec!["@no-such-group".to_owned()]);
    let error = format!("{:#}", Daemon::start(parts).err().unwrap());
    assert!(error.contains("[roles]") && error.contains("no-such-group"), "{error}");
}
