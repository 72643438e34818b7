//! `vizard capture`: what it writes is what tshark reads, both ways, and the far
//! ends' addresses are in it only for those who may see them.

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use harness::capture::Capture;
use harness::lab::{Family, Place};
use harness::process::output;
use harness::sipp::Role;
use harness::vizard::Vizard;

use crate::world::{MediaPath, Plan, World, bind, callee_at, caller_at, world};

/// What stands for the far ends of the legs A and B.
const MASKED: [&str; 2] = ["198.51.100.1", "203.0.113.1"];
const MASKED_V6: [&str; 2] = ["2001:db8:a::1", "2001:db8:b::1"];

/// How long both sides talk: through two captures.
const TALK: Duration = Duration::from_secs(6);

#[test]
fn a_call_in_the_driver_is_captured() {
    captured(Plan::default(), MASKED);
}

#[test]
fn a_call_over_sockets_is_captured() {
    captured(Plan { path: MediaPath::Sockets, ..Plan::default() }, MASKED);
}

#[test]
fn a_call_over_ipv6_is_captured() {
    captured(Plan { family: Family::V6, ..Plan::default() }, MASKED_V6);
}

/// One call, captured masked, then unmasked.
fn captured(plan: Plan, masks: [&str; 2]) {
    let Some(world) = world(plan) else { return };
    let open = format!("{}\n[control]\nmode = \"0666\"\n", world.config());
    let vizard = world.start_with(&open);
    let bound = bind(&vizard);
    let callee = callee_at(Place::Agent, Role::Callee).over(plan.family).talking(TALK);
    let callee = callee.start(&world.lab).unwrap();
    let mut caller = caller_at(Place::Customer, Role::Caller, &bound.customer_dials)
        .over(plan.family)
        .talking(TALK)
        .start(&world.lab)
        .unwrap();
    caller.wait_for("SIP/2.0 200").unwrap();
    let calls = vizard.ask(&["calls"]).unwrap();
    let session = calls["calls"][0]["session"].as_str().unwrap().to_owned();

    let file = world.lab.folder().join("masked.pcapng");
    let file_name = file.to_str().unwrap();
    let said = vizard.ask(&["capture", &session, "-w", file_name, "--packets", "60"]).unwrap();
    assert_eq!((said["packets"].as_u64(), said["lost"].as_u64()), (Some(60), Some(0)), "{said:#}");
    let peers = [Place::Customer, Place::Agent].map(|place| world.lab.peer(place, plan.family));
    sees_both_ways(&world, &file, masks.map(|mask| mask.parse().unwrap()));
    for peer in peers {
        assert!(!holds(&file, peer), "{peer} is in a masked capture");
    }
    refused_to_others(&vizard, &session);

    // To the end of the call, with the real addresses, by standard output.
    let unmasked = world.lab.folder().join("unmasked.pcapng");
    let text = output(&mut to_file(&vizard, &session, &unmasked)).unwrap();
    assert!(text.contains("the call has ended"), "{text}");
    sees_both_ways(&world, &unmasked, peers);
    caller.finish().unwrap();
    callee.finish().unwrap();
    let log = vizard.log();
    assert!(log.contains(&format!("captures the packets of call {session}, masked")), "{log}");
    assert!(log.contains(&format!("captures the packets of call {session}, unmasked")), "{log}");
    let (code, said) = vizard.refused(&["capture", &session, "-w", file_name]).unwrap();
    assert_eq!(code, 5, "the call is over: {said}");
}

/// RTP from each of these addresses, and nothing that tshark finds broken.
fn sees_both_ways(world: &World, file: &std::path::Path, far_ends: [IpAddr; 2]) {
    let capture = Capture::read(file).unwrap();
    assert_eq!(capture.broken().unwrap(), Vec::<String>::new());
    // Without a word about what the packets are.
    let table =
        output(Command::new("tshark").args(["-n", "-q", "-z", "rtp,streams", "-r"]).arg(file)).unwrap();
    for (far_end, place) in far_ends.into_iter().zip([Place::Customer, Place::Agent]) {
        let ours = world.lab.vizard(place, world.plan.family).to_string();
        let stream = table.lines().find(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.contains(&far_end.to_string().as_str()) && words.contains(&ours.as_str())
        });
        let stream = stream.unwrap_or_else(|| panic!("no RTP from {far_end} to {ours}:\n{table}"));
        assert!(stream.contains("0 (0.0%)") && stream.contains("g711U"), "{stream}");
    }
}

/// Whether an address stands in the file as packets have it.
fn holds(file: &std::path::Path, address: IpAddr) -> bool {
    let bytes = fs::read(file).unwrap();
    let needle = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    harness::capture::occurrences(&bytes, &needle) > 0
}

/// Who has no role that may see real addresses sees none.
fn refused_to_others(vizard: &Vizard<'_>, session: &str) {
    let mut command = vizard.command_as(65_534, &[]);
    let output = command.args(["capture", session, "-w", "-", "--unmasked"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(9), "{said}");
    assert!(said.contains("privacy, admin"), "{said}");
    let noted = vizard.ask(&["audit", "list", "--act", "denied"]).unwrap();
    assert_eq!(noted["entries"][0]["on"], format!("capture-unmasked {session}"), "{noted:#}");
}

/// `vizard capture … -w - --unmasked > file`, and what it said.
fn to_file(vizard: &Vizard<'_>, session: &str, file: &std::path::Path) -> Command {
    let own = vizard.command();
    let mut command = Command::new("sh");
    let words: Vec<String> = std::iter::once(own.get_program())
        .chain(own.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let line = format!("exec {} capture {session} -w - --unmasked 2>&1 >{}", words.join(" "), file.display());
    command.args(["-c", &line]);
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}
