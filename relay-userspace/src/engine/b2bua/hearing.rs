//! Whether both sides of an answered call are heard, and what follows when not.
//!
//! Every few seconds the datapath is asked what the call's flows have counted.
//! One silent side is reported and recorded; when nobody is heard for long, the
//! far ends have gone without saying so, and the call is ended, or it would be
//! paid for until its longest permitted length. Emergency calls are never ended
//! for silence: somebody may be hiding. A call that outlived a restart is listened to
//! from then on; the journal keeps who is on hold, and who was not heard before.

use std::net::SocketAddr;

use rand::RngExt;

use super::call::{Call, Ending};
use super::context::Context;
use super::timers::Timer;
use crate::engine::cdr::Cause;
use crate::engine::counters::Counter;
use crate::engine::event::Event;
use crate::engine::flow::FlowStats;
use crate::engine::io::Datagram;
use crate::engine::media::{Finding, Unanswered};

impl Call {
    /// Begins to listen: both sides have just agreed on something. The first
    /// look comes at a random moment, so that calls which began together are
    /// not looked at together.
    pub(super) fn begin_listening(&mut self, context: &mut Context) {
        if !self.is_answered() || self.release.is_some() {
            return;
        }
        self.media.settled(context.now.mono);
        let pause = self.media.next_look(context.now.mono, &context.config.media.patience);
        let first = pause.mul_f64(context.random.random_range(0.5..=1.0));
        context.timers.arm(self.id, Timer::Media, context.now.mono + first);
    }

    /// Looks at what was counted, and asks for new counts.
    pub(super) fn listen(&mut self, context: &mut Context) {
        if self.release.is_some() {
            return;
        }
        let patience = context.config.media.patience;
        for finding in self.media.judge(context.now.mono, &patience) {
            match finding {
                Finding::OneWay(leg) => {
                    context.count(Counter::OneWay);
                    context.event(Event::OneWayAudio { session: self.id, leg });
                    self.changed(context);
                }
                Finding::Dead if self.facts.emergency => {}
                Finding::Dead => {
                    context.count(Counter::MediaTimeout);
                    return self.end(context, Ending::by_platform(Cause::MediaTimeout, 480));
                }
            }
        }
        context.outputs.extend(self.media.look());
        let pause = self.media.next_look(context.now.mono, &patience);
        context.timers.arm(self.id, Timer::Media, context.now.mono + pause);
    }

    /// What a flow has counted.
    pub(super) fn flow_read(&mut self, context: &mut Context, local: SocketAddr, stats: &FlowStats) {
        let media = &context.config.media;
        let outputs = self.media.counted(context.now.mono, local, stats, &media.patience, media.dscp);
        if !outputs.is_empty() {
            self.changed(context);
        }
        self.carry(context, outputs);
    }

    /// STUN has come to a port where it is spoken.
    pub(super) fn asked(&mut self, context: &mut Context, datagram: &Datagram) {
        let dscp = context.config.media.dscp;
        match self.media.stun(context.now.mono, datagram, dscp) {
            Ok((outputs, nominated)) => {
                context.count(Counter::IceChecks);
                self.carry(context, outputs);
                if nominated {
                    self.changed(context);
                }
            }
            Err(Unanswered::Malformed) => context.count(Counter::IceMalformed),
            Err(Unanswered::Unauthenticated) => context.count(Counter::IceUnauthenticated),
            Err(Unanswered::Elsewhere) => context.count(Counter::IceElsewhere),
            Err(Unanswered::TooMany) => context.count(Counter::IceTooMany),
        }
    }
}
