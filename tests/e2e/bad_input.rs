//! What is wrong is refused with a clear word, and nothing else suffers.

use harness::lab::Place;
use harness::process::output;
use harness::sipp::Role;
use harness::vizard::{Vizard, gives_up};

use crate::world::{AGENT, CUSTOMER, MediaPath, Plan, binary, bind, callee_at, caller_at, world};

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

/// One line each: what is typed, the exit code, and what the error says.
#[test]
fn what_makes_no_sense_is_refused_with_a_reason_and_nothing_is_half_done() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let held = |vizard: &Vizard<'_>| {
        let lists = [&["bind", "list", "--state", "all"][..], &["pool", "list"], &["agent", "list"]];
        lists.map(|list| vizard.ask(list).unwrap())
    };
    let before = held(&vizard);
    let proxy = bound.customer_dials.as_str();
    let with = |customer: &'static str, agent: &'static str| {
        ["bind", "create", "--key", "bad", "--customer", customer, "--agent", agent]
    };
    let usual = with("+13105550177", "+16465550177");
    let past = |what: &'static str| [&usual[..], &["--ttl", what]].concat();
    let hand_over = |to: &'static str| ["bind", "handover", &bound.id, "--party", "agent", "--to", to];
    let lines = "number,type\n+12125550144,local\n+12125550144,local\n+12125550145,landline\n+1,local\n";
    let twice = world.write("numbers.csv", lines);
    let own = world.write("own.csv", &format!("number\n+12125550146\n{CUSTOMER}\n"));
    let (twice, own) = (twice.to_str().unwrap(), own.to_str().unwrap());
    for (line, code, says) in [
        (with("3105550177", AGENT).to_vec(), 2, "the customer: an E.164 number starts with '+'"),
        (with("+999999", AGENT).to_vec(), 2, "the customer: "),
        (with("+131055501", AGENT).to_vec(), 2, "the customer: "),
        (with(CUSTOMER, "1001@nowhere").to_vec(), 2, "not the name of a trunk"),
        (with(CUSTOMER, "10 01@pbx").to_vec(), 2, "not an extension"),
        (with(CUSTOMER, CUSTOMER).to_vec(), 2, "are the same address"),
        (with(CUSTOMER, "+12125550123").to_vec(), 2, "one of the pool's own"),
        (with(CUSTOMER, "911").to_vec(), 2, "the agent: "),
        (with(CUSTOMER, "+1911").to_vec(), 2, "the agent: "),
        (with(CUSTOMER, "+112").to_vec(), 2, "the agent: "),
        (with(CUSTOMER, "911@pbx").to_vec(), 2, "is an emergency number"),
        (hand_over("+12125550188").to_vec(), 2, "one of the pool's own"),
        (hand_over(CUSTOMER).to_vec(), 2, "is the other party of"),
        (hand_over("911@pbx").to_vec(), 2, "is an emergency number"),
        (past("0s"), 2, "write a duration"),
        (past("-5m"), 2, "write a duration"),
        (past("20y"), 2, "write a duration"),
        (past("40000d"), 2, "longer than ten years"),
        ([&usual[..], &["--kind", "rental"]].concat(), 2, "rental"),
        ([&usual[..], &["--mode", "fax"]].concat(), 2, "fax"),
        ([&usual[..], &["--ring", "twice"]].concat(), 2, "twice"),
        (vec!["bind", "extend", &bound.id, "--ttl", "0s"], 2, "write a duration"),
        (vec!["bind", "reopen", &bound.id], 6, "has not ended"),
        (vec!["bind", "show", "bind_00000000000000000000000001"], 5, "there is no binding"),
        (vec!["agent", "open", "--key", "k", "--agent", "911@pbx"], 2, "is an emergency number"),
        (
            vec!["agent", "open", "--key", "k", "--agent", AGENT, "--number", "+12125550199"],
            5,
            "is not in the pool",
        ),
        (vec!["agent", "open", "--key", "k", "--agent", AGENT, "--number", proxy], 6, "has bindings"),
        (vec!["pool", "add", CUSTOMER], 6, "the real number of a party"),
        (vec!["pool", "add", "+12125550199", "+99955512345"], 2, "numbering plan"),
        (vec!["pool", "remove", proxy], 6, proxy),
        (vec!["pool", "import", twice], 2, "line 3: +12125550144 stands in line 2 already"),
        (vec!["pool", "import", twice], 2, "line 4: \"landline\" is no type"),
        (vec!["pool", "import", own], 2, "line 3"),
        ([&with("+4930123456", AGENT)[..], &["--country", "DE"]].concat(), 7, "of DE"),
    ] {
        let (exit, said) = vizard.refused(&line).unwrap();
        assert!(exit == code && said.contains(says), "{line:?} ends with {exit}: {said}");
        assert!(said.contains("remedy: ") || said.contains("Usage") || said.contains("--help"), "{said}");
        for secret in [&CUSTOMER[2..], &AGENT[2..]] {
            assert!(!said.contains(secret), "{line:?} shows a number: {said}");
        }
    }
    assert_eq!(held(&vizard), before, "something of what was refused was done");
    vizard.stop().unwrap();
}
