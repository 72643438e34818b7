//! Who the two legs of a new call are, and what each of them is shown.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::body;
use super::call::Facts;
use super::context::Context;
use super::exchange::Arrival;
use super::leg::Leg;
use super::refusal::Refusal;
use super::setup::is_secure;
use crate::engine::cdr::Cause;
use crate::engine::config::{NumberFormat, Trunk, TrunkId};
use crate::engine::directory::{PartyAddress, Ring};
use crate::engine::egress::Secrets;
use crate::engine::number::{Area, Country, ProxyNumber};
use crate::engine::policy::Bridge;
use crate::engine::sip::build::RequestBuilder;
use crate::engine::sip::dialog::Initiator;
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::transport::{SentBy, Transport};
use crate::engine::sip::uri::Uri;

/// A call as it is about to be.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) facts: Facts,
    pub(super) caller: Party,
    pub(super) callee: Party,
    pub(super) invitation: Invitation,
    /// Further addresses of the callee.
    pub(super) more: More,
    /// The number whose calls begin with another address each.
    pub(super) turn: Option<ProxyNumber>,
    /// A caller who may get a binding of its own first, and the agent number that it
    /// calls.
    pub(super) newcomer: Option<(ProxyNumber, PartyAddress)>,
}

/// Where else a callee may be.
#[derive(Debug, Default)]
pub(super) struct More {
    /// What rings at the same time.
    pub(super) beside: Vec<Target>,
    /// What rings when nobody has answered there, one group after the other.
    pub(super) after: VecDeque<Vec<Target>>,
}

impl More {
    /// Ringing as `ring` says. At the same time rings only what shares a media address
    /// with the first: one offer goes to all of them, and its ports are there.
    fn of(context: &Context, first: TrunkId, targets: impl Iterator<Item = Target>, ring: Ring) -> Self {
        let media = |trunk| context.trunk(trunk).map(|trunk| (trunk.media, &trunk.media_source, trunk.ice));
        let mut more = Self::default();
        for target in targets {
            let at = media(target.party.trunk);
            match ring {
                Ring::InOrder | Ring::InTurn => more.after.push_back(vec![target]),
                Ring::Together if at == media(first) => more.beside.push(target),
                Ring::Together => {
                    let shares = |group: &&mut Vec<Target>| {
                        group.first().is_some_and(|other| media(other.party.trunk) == at)
                    };
                    match more.after.iter_mut().find(shares) {
                        Some(group) => group.push(target),
                        None => more.after.push_back(vec![target]),
                    }
                }
            }
        }
        more
    }
}

/// An address of the callee.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) party: Party,
    pub(super) invitation: Invitation,
}

impl Target {
    /// Of somebody who sees `bridge.callee_sees` there.
    fn of(
        context: &Context,
        bridge: &Bridge,
        (callee, trunk): (&PartyAddress, TrunkId),
        caller_ends: &[IpAddr],
        secure: bool,
    ) -> Option<Self> {
        let to = context.trunk(trunk)?;
        let shown = here(context, to, &bridge.callee_sees)?;
        let user = match callee {
            PartyAddress::Number(number) => written(number.reveal(), to.format),
            PartyAddress::Extension { user, .. } => user.reveal().to_owned(),
        };
        let at = SentBy { transport: to.transport, address: to.targets.first() };
        let ours = context.listen(to)?.sent_by();
        let known = [to.targets.hosts(), vec![ours.address.ip()]].concat();
        Some(Self {
            party: Party {
                trunk,
                proxy: Some(bridge.callee_sees),
                remote: callee.masked(),
                country: country(callee),
                area: area(callee),
                contact: contact(to, &bridge.callee_sees, ours, secure),
                secrets: Some(Secrets::of(Some(&bridge.caller_address), caller_ends, &known)),
            },
            invitation: Invitation {
                to: Uri::sip_at(Some(&user), to.targets.first()),
                target: Uri::reached_at(Some(&user), at, secure),
                fields: vec![(Name::PAssertedIdentity, format!("<{}>", shown.as_str()))],
                from: shown,
                display: None,
                whole_body: false,
            },
        })
    }
}

/// One leg's far end.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) trunk: TrunkId,
    /// The number that it dialled or sees.
    pub(super) proxy: Option<ProxyNumber>,
    /// Masked.
    pub(super) remote: String,
    pub(super) country: Option<Country>,
    pub(super) area: Option<Area>,
    /// Our Contact towards it.
    pub(super) contact: Uri,
    /// What must never leave towards it; nothing on emergency legs.
    pub(super) secrets: Option<Secrets>,
}

/// What the callee's INVITE shows.
#[derive(Debug)]
pub(super) struct Invitation {
    /// The Request-URI.
    pub(super) target: Uri,
    pub(super) to: Uri,
    pub(super) from: Uri,
    /// The caller's display name, on emergency legs alone.
    pub(super) display: Option<String>,
    /// Identity, and on emergency legs location.
    pub(super) fields: Vec<(Name, String)>,
    /// Whether the parts of the caller's body other than the session
    /// description go along.
    pub(super) whole_body: bool,
}

impl Plan {
    /// Of a call between two parties. `None` when a trunk is
    /// not what the configuration says.
    pub(super) fn masked(context: &Context, arrival: &Arrival, bridge: &Bridge) -> Option<Self> {
        let configured = context.config.media.permissions.encryption;
        let caller_address = &bridge.caller_address;
        let from = context.trunk(arrival.trunk)?;
        let secure = is_secure(&arrival.request);
        let here_for_caller = context.listen_of(from, arrival.way)?.sent_by();
        let ours = here_for_caller.address.ip();
        let caller_ends = [from.targets.hosts(), vec![arrival.source.ip()]].concat();
        // Our address on the caller's side is nobody's secret, also where it is the peer's too.
        let hidden_ends: Vec<IpAddr> = caller_ends.iter().copied().filter(|end| *end != ours).collect();
        let callees = callees(context, bridge, secure);
        let mut targets = Vec::new();
        let mut callee_ends = Vec::new();
        let mut known = caller_ends;
        known.push(ours);
        for (callee, trunk) in callees {
            targets.push(Target::of(context, bridge, (callee, trunk), &hidden_ends, secure)?);
            let trunk = context.trunk(trunk)?;
            callee_ends.extend(trunk.targets.hosts());
            known.push(context.listen(trunk)?.advertised.ip());
        }
        let mut targets = targets.into_iter();
        let first = targets.next()?;
        let secrets = Secrets::of(Some(&bridge.callee), &callee_ends, &known);
        let secrets = bridge.also.iter().fold(secrets, |secrets, (callee, _)| secrets.and(callee));
        Some(Self {
            facts: Facts {
                binding: bridge.binding,
                tenant: bridge.tenant.clone(),
                project: bridge.project.clone(),
                caller: bridge.caller,
                emergency: false,
                diversion: None,
                encryption: bridge.encryption.unwrap_or(configured),
                max_call: bridge.max_call,
            },
            caller: Party {
                trunk: arrival.trunk,
                proxy: Some(bridge.caller_dialled),
                remote: caller_address.masked(),
                country: country(caller_address),
                area: area(caller_address),
                contact: contact(from, &bridge.caller_dialled, here_for_caller, secure),
                secrets: Some(secrets),
            },
            more: More::of(context, first.party.trunk, targets, bridge.ring),
            callee: first.party,
            invitation: first.invitation,
            turn: (bridge.ring == Ring::InTurn).then_some(bridge.caller_dialled),
            newcomer: None,
        })
    }

    /// A refusal of this call.
    pub(super) fn refusal(&self, status: u16, cause: Cause) -> Refusal {
        let refusal =
            Refusal::new(status, cause).on(self.facts.caller, self.facts.binding, self.caller.proxy);
        if self.facts.emergency { refusal.emergency() } else { refusal }
    }
}

impl Invitation {
    /// The INVITE up to its body.
    pub(super) fn request(
        &self,
        context: &Context,
        initiator: &Initiator,
        leg: &Leg,
        branch: &str,
        hops: u8,
    ) -> RequestBuilder {
        let request = RequestBuilder::new(Method::Invite, &self.target, leg.sent_by, branch)
            .max_forwards(hops)
            .from(self.display.as_deref(), &initiator.local_uri, &initiator.local_tag)
            .to(None, &initiator.remote_uri, None)
            .call_id(&initiator.call_id)
            .cseq(initiator.cseq)
            .contact(&leg.contact)
            .header(Name::Allow, super::context::ALLOW)
            .header(Name::UserAgent, &context.config.sip.product);
        self.fields.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }

    /// The INVITE's content type and body, around our session description.
    pub(super) fn body(&self, caller_invite: &Message, session: Option<Vec<u8>>) -> (String, Vec<u8>) {
        let whole = self.whole_body.then(|| body::replaced(caller_invite, session.as_deref())).flatten();
        whole.unwrap_or_else(|| (body::SDP.to_owned(), session.unwrap_or_default()))
    }
}

/// Where the callee is, in the order in which that rings. Who insists on TLS is not led
/// anywhere else (RFC 3261 section 19.1).
fn callees<'a>(context: &Context, bridge: &'a Bridge, secure: bool) -> Vec<(&'a PartyAddress, TrunkId)> {
    let also = bridge.also.iter().map(|(address, trunk)| (address, *trunk));
    let mut all: Vec<_> = std::iter::once((&bridge.callee, bridge.callee_trunk)).chain(also).collect();
    if bridge.ring == Ring::InTurn {
        let turn = context.turns.get(&bridge.caller_dialled).map_or(0, |turn| turn % all.len());
        all.rotate_left(turn);
    }
    let is_tls = |(_, trunk): &(_, TrunkId)| {
        context.trunk(*trunk).is_some_and(|trunk| trunk.transport == Transport::Tls)
    };
    if secure && all.iter().any(is_tls) {
        all.retain(is_tls);
    }
    all
}

/// What must never leave towards somebody who knows the addresses in `known`,
/// and ours: `party` and its `ends`.
pub(super) fn hidden(party: &PartyAddress, ends: &[IpAddr], known: &[IpAddr], ours: [IpAddr; 2]) -> Secrets {
    Secrets::of(Some(party), ends, &[known, &ours].concat())
}

/// A proxy number at our address, as a trunk writes it.
pub(super) fn here(context: &Context, trunk: &Trunk, proxy: &ProxyNumber) -> Option<Uri> {
    let advertised = context.listen(trunk)?.advertised;
    Some(Uri::sip_at(Some(&written(proxy.digits(), trunk.format)), advertised))
}

/// Our Contact towards a trunk for a proxy number.
pub(super) fn contact(trunk: &Trunk, proxy: &ProxyNumber, at: SentBy, secure: bool) -> Uri {
    Uri::reached_at(Some(&written(proxy.digits(), trunk.format)), at, secure)
}

/// A number as a trunk writes it.
fn written(digits: &str, format: NumberFormat) -> String {
    match format {
        NumberFormat::E164 => format!("+{digits}"),
        NumberFormat::Plain => digits.to_owned(),
    }
}

pub(super) fn country(party: &PartyAddress) -> Option<Country> {
    match party {
        PartyAddress::Number(number) => number.country(),
        PartyAddress::Extension { .. } => None,
    }
}

pub(super) fn area(party: &PartyAddress) -> Option<Area> {
    match party {
        PartyAddress::Number(number) => number.area(),
        PartyAddress::Extension { .. } => None,
    }
}
