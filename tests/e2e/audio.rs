//! Real audio: two phones that are not ours play a recording each, and what each
//! hears is, sample for sample, what the other played; in the clear, encrypted from
//! one to the other, and where they insist on ICE.

use std::time::Duration;

use harness::audio::{longest_run, sweep};
use harness::baresip::{Encryption, Manner, Phone};
use harness::lab::{Link, Place};

use crate::world::{AGENT, CUSTOMER, MediaPath, Plan, bind, in_progress, leg, other, world};

const SECONDS: u16 = 6;
/// Samples per packet of 20 ms.
const PACKET: usize = 160;

#[test]
fn phones_hear_each_other_in_the_driver() {
    phones_hear_each_other(Plan::default(), Manner::default());
}

#[test]
fn phones_hear_each_other_over_sockets() {
    phones_hear_each_other(Plan { path: MediaPath::Sockets, ..Plan::default() }, Manner::default());
}

#[test]
fn phones_with_keys_in_their_descriptions_hear_each_other() {
    let manner = Manner { encryption: Some(Encryption::Srtp), ..Manner::default() };
    phones_hear_each_other(Plan::default(), manner);
    phones_hear_each_other(Plan { path: MediaPath::Sockets, ..Plan::default() }, manner);
}

#[test]
fn phones_that_agree_on_keys_by_dtls_hear_each_other() {
    let manner = Manner { encryption: Some(Encryption::DtlsSrtp), ..Manner::default() };
    phones_hear_each_other(Plan::default(), manner);
    phones_hear_each_other(Plan { path: MediaPath::Sockets, ..Plan::default() }, manner);
}

#[test]
fn phones_that_speak_ice_hear_each_other() {
    phones_hear_each_other(Plan::default(), Manner { ice: true, ..Manner::default() });
    let encryption = Some(Encryption::DtlsSrtp);
    phones_hear_each_other(Plan::default(), Manner { ice: true, encryption, ..Manner::default() });
}

#[test]
fn phones_over_tls_hear_phones_over_udp_whoever_calls() {
    for links in [[Link::Tls, Link::Udp], [Link::Udp, Link::Tls], [Link::Tls, Link::Tls]] {
        phones_hear_each_other(Plan { links, ..Plan::default() }, Manner::default());
    }
}

/// What cannot be scrubbed on its way does not cross unless that was decided.
#[test]
fn a_phone_that_insists_on_encryption_is_refused_by_default() {
    for encryption in [Encryption::Srtp, Encryption::DtlsSrtp] {
        let Some(world) = world(Plan::default()) else { return };
        let vizard = world.start();
        let bound = bind(&vizard);
        let manner = Manner { encryption: Some(encryption), ..Manner::default() };
        let dials = &bound.customer_dials;
        let mut caller =
            Phone::calling(&world.lab, Place::Customer, CUSTOMER, &[0; 8000], manner, dials).unwrap();
        caller.wait_for("488 ").unwrap();
        let record = &vizard.records(1).unwrap()[0];
        assert_eq!(record["release"]["cause"], "not_acceptable", "{record:#}");
        assert_eq!(vizard.counter("media.encryption_refused").unwrap(), 1);
        vizard.stop().unwrap();
    }
}

fn phones_hear_each_other(plan: Plan, manner: Manner) {
    let Some(world) = world(plan) else { return };
    let mut config = world.config();
    if manner.encryption.is_some() {
        config = config.replace("[media]\n", "[media]\nencryption = \"end-to-end\"\n");
    }
    if manner.ice {
        config = config.replace("trusted = true\n", "trusted = true\nice = \"lite\"\n");
    }
    let vizard = world.start_with(&config);
    assert_eq!(vizard.ask(&["status"]).unwrap()["datapath"]["path"], plan.path.word());
    let bound = bind(&vizard);
    let customer_plays = sweep(SECONDS, 300, 3300);
    let agent_plays = sweep(SECONDS, 3100, 400);

    let lab = &world.lab;
    let [customer, agent] =
        [Place::Customer, Place::Agent].map(|place| Manner { link: plan.link_of(place), ..manner });
    let called = Phone::answering(lab, Place::Agent, AGENT, &agent_plays, agent).unwrap();
    let dials = &bound.customer_dials;
    let caller = Phone::calling(lab, Place::Customer, CUSTOMER, &customer_plays, customer, dials).unwrap();
    let carries = if manner.encryption.is_some() { "srtp" } else { "rtp" };
    in_progress(&vizard, Duration::from_secs(20), "no flow of the right sort", |call| {
        let content = call["flows"][0]["content"].as_str()?;
        (call["state"] == "answered" && content.starts_with(carries)).then_some(())
    });
    let (customer_hears, agent_hears) = (caller.finish().unwrap(), called.finish().unwrap());

    let records = vizard.records(2).unwrap();
    for (speaker, plays, hears) in
        [(Place::Customer, &customer_plays, &agent_hears), (Place::Agent, &agent_plays, &customer_hears)]
    {
        let run = longest_run(plays, hears);
        // Who answers speaks before its answer has arrived anywhere: the first packets
        // come before the call does, and before keys and ways are agreed on.
        let late = if manner == Manner::default() { 5 * PACKET } else { 100 * PACKET };
        assert!(run.sent <= late, "{speaker:?} was not heard from the start: {run:?}");
        assert_eq!(run.sent + run.length, plays.len(), "{speaker:?} was heard with a gap: {run:?}");
        let counted = |place, way: &str| leg(&records, place)[way]["packets"].as_u64().unwrap();
        assert_eq!(counted(speaker, "received"), counted(other(speaker), "sent"), "{records:#?}");
    }
    vizard.stop().unwrap();
}
