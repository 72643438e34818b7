//! Teams whose members do whatever they like, at random: at most one of them has the
//! call, and every other one is cancelled or hung up and has a record of its own.

use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::far_end::{FarEnd, sdp};
use super::ringing::team;
use super::setup::{A, B};
use super::usage::calling;
use super::world::{Msg, World, config};
use crate::engine::directory::Ring;
use crate::engine::time::Instant;

const WORLDS: u64 = 300;

/// An address that was invited.
struct Member {
    end: FarEnd,
    invite: Msg,
    since: Instant,
    /// What it has said last.
    said: u16,
    cancelled: bool,
    acknowledged: bool,
    hung_up: bool,
}

/// The caller.
struct Caller {
    end: FarEnd,
    heard: u16,
    gave_up: bool,
}

struct Team {
    world: World,
    caller: Caller,
    members: Vec<Member>,
}

impl Team {
    /// Everybody takes in what has come, and answers what has to be answered.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            while let Some(msg) = self.world.received(A) {
                idle = false;
                self.caller_hears(&msg);
            }
            while let Some(msg) = self.world.received(B) {
                idle = false;
                self.member_hears(msg);
            }
            if idle {
                return;
            }
        }
    }

    fn caller_hears(&mut self, msg: &Msg) {
        let Caller { end, heard, .. } = &mut self.caller;
        if !msg.start.starts_with("SIP/2.0") {
            return end.respond(&mut self.world, msg, "200", "");
        }
        if !msg.header("CSeq").ends_with("INVITE") {
            return;
        }
        let status: u16 = msg.start[8..11].parse().unwrap();
        assert!(*heard < 200 || *heard == status, "{} after {heard}", msg.start);
        *heard = status;
        match status {
            ..200 => {}
            200..300 => {
                end.learn(msg);
                end.ack(&mut self.world, "");
            }
            300.. => end.ack_failure(&mut self.world),
        }
    }

    fn member_hears(&mut self, msg: Msg) {
        let of = |member: &&mut Member| member.invite.header("Call-ID") == msg.header("Call-ID");
        let member = self.members.iter_mut().find(of);
        match (msg.start.split(' ').next().unwrap(), member) {
            ("INVITE", None) => {
                let end = FarEnd::called(&mut self.world, B, &msg);
                let (since, said) = (self.world.now.mono, 0);
                let (cancelled, acknowledged, hung_up) = (false, false, false);
                self.members.push(Member { end, invite: msg, since, said, cancelled, acknowledged, hung_up });
            }
            ("CANCEL", Some(member)) => {
                member.cancelled = true;
                member.end.respond(&mut self.world, &msg, "200", "");
            }
            ("ACK", Some(member)) => {
                assert!(member.said >= 200, "an ACK of nothing");
                member.acknowledged = true;
            }
            ("BYE", Some(member)) => {
                assert!(member.acknowledged && member.said == 200, "a BYE of nothing");
                member.hung_up = true;
                member.end.respond(&mut self.world, &msg, "200", "");
            }
            // It comes again as long as nothing was said to it.
            ("INVITE", Some(_)) | ("SIP/2.0", _) => {}
            (other, _) => panic!("{other} came"),
        }
    }

    /// A member says something that it may still say. Who never said anything is given
    /// up after 64*T1, and hears nothing more.
    fn says(&mut self, at: usize, random: &mut ChaCha8Rng) {
        let now = self.world.now.mono;
        let late = |member: &Member| now.saturating_since(member.since) >= Duration::from_secs(32);
        let may = |member: &&mut Member| member.said < 200 && (member.said > 0 || !late(member));
        let Some(member) = self.members.get_mut(at).filter(may) else { return };
        let likely: &[u16] = if member.cancelled {
            &[487, 487, 487, 200]
        } else {
            &[180, 180, 183, 200, 486, 480, 302, 503, 603]
        };
        member.said = *likely.choose(random).unwrap();
        let session = matches!(member.said, 183 | 200).then(|| sdp(B, 7000)).unwrap_or_default();
        member.end.respond(&mut self.world, &member.invite, &member.said.to_string(), &session);
    }

    fn connected(&self) -> usize {
        self.members.iter().filter(|member| member.said == 200 && !member.hung_up).count()
    }
}

/// One call, and what must be true of it while it lasts and when it is over.
fn play(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let ring = [Ring::InOrder, Ring::InTurn, Ring::Together][random.random_range(0..3)];
    let (mut world, binding) = team(config(), ring);
    let end = calling(&mut world, &binding);
    let mut team = Team { world, caller: Caller { end, heard: 100, gave_up: false }, members: Vec::new() };
    for _ in 0..random.random_range(2..25) {
        team.settle();
        match random.random_range(0..10) {
            0 if team.caller.heard < 200 && !team.caller.gave_up => {
                team.caller.gave_up = true;
                team.caller.end.cancel(&mut team.world);
            }
            0..=2 => team.world.pass(Duration::from_millis(random.random_range(0..20_000))),
            _ => team.says(random.random_range(0..3), &mut random),
        }
        team.settle();
        assert!(team.connected() <= 1, "two members have the call");
        assert!(team.connected() == 0 || team.caller.heard == 200 || team.caller.heard >= 400);
    }
    if team.caller.heard == 200 {
        team.caller.end.request(&mut team.world, "BYE", "");
    }
    team.settle();
    // Who is cancelled ends; who was never heard of is left to its timers.
    for _ in 0..4 {
        for at in 0..team.members.len() {
            if team.members[at].cancelled {
                team.says(at, &mut random);
            }
        }
        team.world.pass(Duration::from_secs(70));
        team.settle();
    }
    for member in &team.members {
        let ended = member.said != 200 || (member.acknowledged && member.hung_up);
        assert!(ended, "who answered is hung up");
        assert!(!matches!(member.said, 180 | 183) || member.cancelled, "who rang is cancelled");
    }
    let mut forks: Vec<u8> = team.world.cdrs.iter().filter(|cdr| cdr.leg == B).map(|cdr| cdr.fork).collect();
    forks.sort_unstable();
    assert!(forks.iter().copied().eq(0..u8::try_from(team.members.len()).unwrap()), "{forks:?}");
    let answered = team.world.cdrs.iter().filter(|cdr| cdr.leg == B && cdr.answer.is_some());
    assert!(answered.count() <= 1, "one member's record says that it was answered");
    team.world.assert_quiet();
}

#[test]
fn whatever_the_members_of_a_team_do_one_has_the_call_and_the_others_are_let_go() {
    for seed in 0..WORLDS {
        let outcome = std::panic::catch_unwind(|| play(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
