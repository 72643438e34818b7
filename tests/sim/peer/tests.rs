//! The peers by themselves: two of them, back to back through a lossy network,
//! must come to an end without a complaint. Whatever they complain of with
//! Vizard between them is then Vizard's doing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::script::{CalleeScript, CallerScript, Decision};
use super::{Dialog, Effects, Endpoint, Wake};
use crate::atlas::{LegId, Side};
use crate::dice::Dice;
use crate::message::Message;
use crate::network::Link;

enum Due {
    Message(Side, Message),
    Wake(Side, Wake),
}

struct Pair {
    dice: Dice,
    link: Link,
    now: Duration,
    due: BTreeMap<(Duration, usize), Due>,
    planned: usize,
}

impl Pair {
    fn plan(&mut self, after: Duration, due: Due) {
        self.due.insert((self.now + after, self.planned), due);
        self.planned += 1;
    }

    fn act<T>(&mut self, side: Side, act: impl FnOnce(&mut Effects<'_>) -> T) -> Result<T, String> {
        let mut dice = Dice::new(self.planned as u64, "act");
        let mut fx = Effects {
            now: self.now,
            dice: &mut dice,
            sends: Vec::new(),
            wakes: Vec::new(),
            complaints: Vec::new(),
        };
        let result = act(&mut fx);
        let Effects { sends, wakes, complaints, .. } = fx;
        for message in sends {
            for delay in self.link.deliveries(&mut self.dice) {
                let message = Message::parse(&message.bytes())?;
                self.plan(delay, Due::Message(side.other(), message));
            }
        }
        for (after, wake) in wakes {
            self.plan(after, Due::Wake(side, wake));
        }
        match complaints.into_iter().next() {
            Some(complaint) => Err(format!("{side:?} at {:?}: {complaint}", self.now)),
            None => Ok(result),
        }
    }
}

fn converse(seed: u64) -> Result<(), String> {
    let mut dice = Dice::new(seed, "pair");
    let (caller_script, mut callee_script) =
        (CallerScript::roll(&mut dice, false), CalleeScript::roll(&mut dice, false));
    callee_script.forks = false;
    if callee_script.decision == Decision::RingOn {
        callee_script.decision = Decision::Refuse(480);
    }
    let mut caller_script = caller_script;
    caller_script.talk.hangup = Some(Duration::from_secs(9));
    let (here, there) = (([192, 0, 2, 10], 5060).into(), ([198, 51, 100, 10], 5060).into());
    let names = |user: &str| (format!("<sip:{user}@example.com>"), user.to_owned());
    let target = (names("b").0, format!("sip:b@{there}"));
    let dialog = Dialog::outgoing((here, there), names("a"), target, ("call".into(), "tag".into()));
    let leg = LegId { call: 1, side: Side::Caller };
    let mut caller = Endpoint::caller(leg, dialog, caller_script, false);
    let mut callee: Option<Endpoint> = None;
    let link = Link { loss: 80, duplication: 60, delay: 200, stray: 5 };
    let mut pair = Pair { dice, link, now: Duration::ZERO, due: BTreeMap::new(), planned: 0 };
    pair.act(Side::Caller, |fx| caller.dial(Vec::new(), fx))?;
    while let Some(((at, _), due)) = pair.due.pop_first() {
        pair.now = at;
        match due {
            Due::Message(Side::Caller, message) => {
                pair.act(Side::Caller, |fx| caller.receive(&message, fx))?;
            }
            Due::Wake(Side::Caller, wake) => pair.act(Side::Caller, |fx| caller.wake(wake, fx))?,
            Due::Message(Side::Callee, message) => match callee.as_mut() {
                Some(callee) => pair.act(Side::Callee, |fx| callee.receive(&message, fx))?,
                None if message.method() == "INVITE" => {
                    let dialog = Dialog::incoming(&message, (there, here), "b".into(), "gat".into());
                    let script = callee_script.clone();
                    let called = |fx: &mut Effects<'_>| {
                        Endpoint::called(leg.other(), dialog, &script, &message, false, fx)
                    };
                    callee = Some(pair.act(Side::Callee, called)?);
                }
                None => {}
            },
            Due::Wake(Side::Callee, wake) => {
                if let Some(callee) = callee.as_mut() {
                    pair.act(Side::Callee, |fx| callee.wake(wake, fx))?;
                }
            }
        }
    }
    let dead = |end: &Endpoint| end.dead();
    let anybody_died = dead(&caller) || callee.as_ref().is_some_and(dead);
    let open = [caller.unfinished(), callee.and_then(|callee| callee.unfinished())];
    match open.into_iter().flatten().next() {
        Some(problem) if !anybody_died => Err(problem),
        Some(_) | None => Ok(()),
    }
}

#[test]
fn peers_come_to_an_end_without_vizard() {
    for seed in 0..3000 {
        converse(seed).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}
