//! What is wrong is refused with a clear word, and nothing else suffers.

use harness::lab::Place;
use harness::process::output;
use harness::sipp::Role;
use harness::vizard::gives_up;

use crate::world::{AGENT, CUSTOMER, Plan, binary, bind, callee_at, caller_at, world};

#[test]
fn a_broken_configuration_is_refused_with_all_its_errors() {
    let Some(world) = world(Plan::default()) else { return };
    let config = world
        .config()
        .replace("ports = \"20000-20999\"", "ports = \"lots\"")
        .replace("country = \"US\"", "country = \"Utopia\"");
    let (code, said) = gives_up(&world.lab, binary(), &world.write("vizard.toml", &config)).unwrap();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("ports") && said.contains("Utopia"), "all errors at once:\n{said}");
}

#[test]
fn a_missing_interface_is_named() {
    let Some(world) = world(Plan::default()) else { return };
    let config = world.config().replace("vz-agent", "nonesuch0");
    let (code, said) = gives_up(&world.lab, binary(), &world.write("vizard.toml", &config)).unwrap();
    assert_ne!(code, 0);
    assert!(said.contains("nonesuch0") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_second_daemon_is_told_who_is_in_its_way() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let (code, said) = gives_up(&world.lab, binary(), &world.write("second.toml", &world.config())).unwrap();
    assert_ne!(code, 0);
    assert!(
        said.contains(&vizard.process().to_string()),
        "the holder is process {}:\n{said}",
        vizard.process()
    );
    assert!(!said.contains("panicked"), "{said}");
    bind(&vizard);
}

#[test]
fn garbage_is_counted_and_calls_go_on() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let before = vizard.counter("sip.malformed").unwrap();
    let towards = world.lab.vizard(Place::Customer, world.plan.family);
    let garbage = [
        "head -c 1400 /dev/urandom",
        "printf 'INVITE sip:x SIP/2.0\\r\\nContent-Length: 99999999999999999999\\r\\n\\r\\n'",
        "printf 'SIP/2.0 200 OK\\r\\nVia: SIP/2.0/UDP x;branch=z9hG4bK\\r\\nCSeq: 1 INVITE\\r\\n\\r\\n'",
        "printf 'INVITE sip:+12125550123@h SIP/2.0\\r\\n: : :\\r\\n\\r\\nv=0'",
        "yes 'X: y' | head -c 60000",
        "true",
    ];
    for command in garbage {
        let line = format!("{command} > /dev/udp/{towards}/{}", world.lab.sip_port());
        output(world.lab.at(Place::Customer, "bash").args(["-c", &line])).unwrap();
    }
    let outcome = world.call(
        caller_at(Place::Customer, Role::Caller, &bound.customer_dials),
        callee_at(Place::Agent, Role::Callee),
    );
    assert_eq!(outcome.callee.number("From"), Some(bound.agent_dials.as_str()));
    assert!(vizard.counter("sip.malformed").unwrap() > before);
    assert!(!vizard.log().contains("panicked"), "{}", vizard.log());
}

#[test]
fn a_full_pool_says_so() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let create = ["bind", "create", "--key", "k", "--customer", CUSTOMER, "--agent", AGENT];
    let (code, said) = vizard.refused(&create).unwrap();
    assert_eq!(code, 7, "{said}");
    assert!(!said.contains(&CUSTOMER[2..]) && !said.contains(&AGENT[2..]), "{said}");
}
