//! Our part in ICE as a lite agent (RFC 8445 section 2.5): we have one host
//! candidate for each port, send no connectivity check, and answer the far end's.
//!
//! STUN never crosses: each leg has an agent of its own, with its own credentials,
//! and what a far end calls itself or says of its addresses stays on its leg. A check
//! counts for something only when it carries both sides' names and is signed with
//! our password, which only the signalled far end has (RFC 8445 section 7.3).
//! Whoever cannot sign gets no answer, not even a refusal: nothing here can be made
//! to send to somebody who did not ask.
//!
//! A check with `USE-CANDIDATE` nominates the address that it came from: media goes
//! there from now on, and is taken from there alone. How far that may lead is the
//! trunk's business ([`MediaSource`]): to a candidate that was signalled; behind NAT
//! wherever the signed check came from; or into the operator's network. A lite agent
//! does not check in its turn, so whoever reads a check on its way can send it again
//! from elsewhere. Once an address is nominated, the next one is therefore a signalled
//! candidate, unless signalling begins anew.

use std::net::{IpAddr, SocketAddr};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stun_types::attribute::{AttributeType, ErrorCode, Fingerprint, Username, XorMappedAddress};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageClass, MessageIntegrityCredentials, MessageWriteVec,
    ShortTermCredentials,
};
use stun_types::prelude::*;

use super::{MediaSession, StreamPorts};
use crate::engine::call_record::IceRecord;
use crate::engine::config::MediaSource;
use crate::engine::ids::LegName;
use crate::engine::io::{Datagram, Output};
use crate::engine::sip::sdp::{Component, IceCredentials, RemoteIce, Token};
use crate::engine::time::Instant;

/// Checks of one far end in a second that are looked at: several candidates with
/// several addresses each, every 50 ms (RFC 8445 section 14).
const CHECKS_PER_SECOND: u32 = 100;
/// `USE-CANDIDATE`, `ICE-CONTROLLED` (RFC 8445 section 16.1).
const USE_CANDIDATE: u16 = 0x0025;
const ICE_CONTROLLED: u16 = 0x8029;
/// A far end that thinks that we lead (RFC 8445 section 7.3.1.1).
const ROLE_CONFLICT: u16 = 487;
const UNKNOWN_ATTRIBUTE: u16 = 420;

/// Our agent on one leg.
#[derive(Debug)]
pub(crate) struct Agent {
    random: ChaCha8Rng,
    credentials: IceCredentials,
}

impl Agent {
    /// A new one, whose names and passwords follow from `random`.
    pub(crate) fn new(random: &mut impl Rng) -> Self {
        let mut seed = [0; 32];
        random.fill_bytes(&mut seed);
        let mut random = ChaCha8Rng::from_seed(seed);
        let credentials = draw(&mut random);
        Self { random, credentials }
    }

    /// With credentials that the far end knows from before a restart of ours.
    pub(crate) fn known_as(self, credentials: IceCredentials) -> Self {
        Self { credentials, ..self }
    }

    pub(super) const fn credentials(&self) -> &IceCredentials {
        &self.credentials
    }

    /// The far end has begun anew, and so do we (RFC 8445 section 9).
    pub(super) fn begin_anew(&mut self) {
        self.credentials = draw(&mut self.random);
    }
}

fn draw(random: &mut ChaCha8Rng) -> IceCredentials {
    IceCredentials { name: Token::random(random), password: Token::random(random) }
}

/// The far end of a stream that speaks ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partner {
    /// What it calls itself.
    pub(super) name: String,
    pub(super) candidates: Vec<(Component, SocketAddr)>,
    /// Whether it has nominated an address.
    pub(super) nominated: bool,
    /// Since when, and how many checks.
    window: (Instant, u32),
}

impl Partner {
    pub(super) fn new(said: &RemoteIce) -> Self {
        let RemoteIce { name, candidates } = said.clone();
        Self { name, candidates, nominated: false, window: (Instant::ORIGIN, 0) }
    }

    pub(super) fn restored(record: &IceRecord) -> Self {
        let IceRecord { ours: _, name, candidates, nominated } = record.clone();
        Self { name, candidates, nominated, window: (Instant::ORIGIN, 0) }
    }

    pub(super) fn record(&self, ours: IceCredentials) -> IceRecord {
        let Self { name, candidates, nominated, window: _ } = self.clone();
        IceRecord { ours, name, candidates, nominated }
    }

    /// Whether another check may be looked at.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.window;
        if now.saturating_since(*since).as_secs() > 0 {
            self.window = (now, 1);
            return true;
        }
        *count += 1;
        *count <= CHECKS_PER_SECOND
    }

    /// Whether checks, and then media, may come from here.
    pub(super) fn may_be_at(
        &self,
        component: Component,
        source: SocketAddr,
        rule: MediaSource,
        allowed: impl Fn(IpAddr) -> bool,
    ) -> bool {
        match rule {
            MediaSource::Signalled => allowed(source.ip()) || self.candidates.contains(&(component, source)),
            MediaSource::Nat => true,
            MediaSource::Network(network) => network.contains(&source.ip()),
        }
    }
}

impl StreamPorts {
    /// Whether a far end may have its media elsewhere than where it has it.
    fn may_move_to(&self, leg: LegName, component: Component, source: SocketAddr) -> bool {
        let free =
            |partner: &Partner| !partner.nominated || partner.candidates.contains(&(component, source));
        self.ice[leg].as_ref().is_some_and(free)
    }
}

/// What a check asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What is to be sent back.
    pub(super) answer: Vec<u8>,
    /// Whether media is wanted where it came from.
    pub(super) nominates: bool,
}

/// Why a datagram gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Not a STUN request.
    Malformed,
    /// Not signed by the far end.
    Unauthenticated,
    /// From where the far end may not be.
    Elsewhere,
    /// More than one far end needs.
    TooMany,
}

/// Reads a check by `partner` to the agent that is known as `ours`.
pub(super) fn check(
    ours: &IceCredentials,
    partner: &str,
    source: SocketAddr,
    bytes: &[u8],
) -> Result<Check, Unanswered> {
    let message = Message::from_bytes(bytes).map_err(|_| Unanswered::Malformed)?;
    // A fingerprint that is there is right (RFC 8445 section 7.1.1 asks for one).
    let is_check = message.has_class(MessageClass::Request)
        && message.has_method(BINDING)
        && message.has_attribute(Fingerprint::TYPE);
    if !is_check {
        return Err(Unanswered::Malformed);
    }
    let user = message.attribute::<Username>().map_err(|_| Unanswered::Unauthenticated)?;
    let named = user.username().split_once(':') == Some((ours.name.as_str(), partner));
    let key = MessageIntegrityCredentials::from(ShortTermCredentials::new(ours.password.as_str().to_owned()));
    if !named || message.validate_integrity(&key).is_err() {
        return Err(Unanswered::Unauthenticated);
    }
    let written = answer(&message, source, &key).map_err(|_| Unanswered::Malformed)?;
    let (answer, succeeded) = written;
    let nominates = succeeded && message.has_attribute(AttributeType::new(USE_CANDIDATE));
    Ok(Check { answer, nominates })
}

/// The signed answer to a signed request, and whether it is a success.
fn answer(
    request: &Message<'_>,
    source: SocketAddr,
    key: &MessageIntegrityCredentials,
) -> Result<(Vec<u8>, bool), stun_types::message::StunWriteError> {
    /// `PRIORITY`, `USERNAME`, `MESSAGE-INTEGRITY` and its longer kin, besides.
    const UNDERSTOOD: [u16; 5] = [USE_CANDIDATE, 0x0024, 0x0006, 0x0008, 0x001c];
    let is_strange = |kind: u16| kind < 0x8000 && !UNDERSTOOD.contains(&kind);
    let strange = request.iter_attributes().any(|(_, attribute)| is_strange(attribute.get_type().value()));
    let code = if strange {
        Some(UNKNOWN_ATTRIBUTE)
    } else if request.has_attribute(AttributeType::new(ICE_CONTROLLED)) {
        Some(ROLE_CONFLICT)
    } else {
        None
    };
    let mut written = if let Some(code) = code {
        let mut error = Message::builder_error(request, MessageWriteVec::new());
        error.add_attribute(&ErrorCode::builder(code).build()?)?;
        error
    } else {
        let mut success = Message::builder_success(request, MessageWriteVec::new());
        success.add_attribute(&XorMappedAddress::new(source, request.transaction_id()))?;
        success
    };
    written.add_message_integrity(key, IntegrityAlgorithm::Sha1)?;
    written.add_fingerprint()?;
    Ok((written.finish(), code.is_none()))
}

impl MediaSession {
    /// Takes what came to a port where ICE is spoken. Returns what is to be sent back
    /// and what the datapath must do, and whether an address was nominated.
    pub(crate) fn stun(
        &mut self,
        now: Instant,
        datagram: &Datagram,
        dscp: u8,
    ) -> Result<(Vec<Output>, bool), Unanswered> {
        let &Datagram { local, remote: source, ref bytes } = datagram;
        let leg = self.flows.get(&local).map(|carried| carried.spec.owner.leg);
        let leg = leg.ok_or(Unanswered::Elsewhere)?;
        let is_at =
            |ports: &&mut StreamPorts| [ports.pairs[leg].rtp(), ports.pairs[leg].rtcp()].contains(&local);
        let ports = self.streams.iter_mut().flatten().find(is_at).ok_or(Unanswered::Elsewhere)?;
        let component = if local == ports.pairs[leg].rtp() { Component::Rtp } else { Component::Rtcp };
        let allowed = ports.ends[leg].map(|end| end.allowed);
        let (Some(agent), Some(partner)) = (&self.agents[leg], &mut ports.ice[leg]) else {
            return Err(Unanswered::Elsewhere);
        };
        if !partner.admits(now) {
            return Err(Unanswered::TooMany);
        }
        let allowed = |address| allowed.is_some_and(|net| net.contains(&address));
        if !partner.may_be_at(component, source, self.sides[leg].source, allowed) {
            return Err(Unanswered::Elsewhere);
        }
        let Check { answer, nominates } = check(agent.credentials(), &partner.name, source, bytes)?;
        let nominates = nominates && ports.may_move_to(leg, component, source);
        if nominates {
            ports.nominate(leg, component, source);
        }
        let mut outputs = vec![Output::Stun(Datagram { local, remote: source, bytes: answer })];
        outputs.extend(self.apply(dscp));
        Ok((outputs, nominates))
    }
}

#[cfg(test)]
pub(crate) mod tests;
