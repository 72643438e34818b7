//! Who the two legs of a new call are, and what each of them is shown.

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
use crate::engine::directory::PartyAddress;
use crate::engine::egress::Secrets;
use crate::engine::number::{Country, ProxyNumber};
use crate::engine::policy::Bridge;
use crate::engine::sip::build::RequestBuilder;
use crate::engine::sip::dialog::Initiator;
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::transport::SentBy;
use crate::engine::sip::uri::Uri;

/// A call as it is about to be.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) facts: Facts,
    pub(super) caller: Party,
    pub(super) callee: Party,
    pub(super) invitation: Invitation,
    /// A caller who may get a binding of its own first, and the agent number that it
    /// calls.
    pub(super) newcomer: Option<(ProxyNumber, PartyAddress)>,
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
        let (from, to) = (context.trunk(arrival.trunk)?, context.trunk(bridge.callee_trunk)?);
        let shown = here(context, to, &bridge.callee_sees)?;
        let user = match &bridge.callee {
            PartyAddress::Number(number) => written(number.reveal(), to.format),
            PartyAddress::Extension { user, .. } => user.reveal().to_owned(),
        };
        let secure = is_secure(&arrival.request);
        let at = SentBy { transport: to.transport, address: to.target };
        let target = Uri::reached_at(Some(&user), at, secure);
        let here_for_caller = context.listen_of(from, arrival.way)?.sent_by();
        let here_for_callee = context.listen(to)?.sent_by();
        let (caller_ends, callee_ends) = ([from.target.ip(), arrival.source.ip()], [to.target.ip()]);
        let ours = [here_for_caller.address.ip(), here_for_callee.address.ip()];
        let hidden = |party, ends: &[IpAddr], known: &[IpAddr]| Some(hidden(party, ends, known, ours));
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
                contact: contact(from, &bridge.caller_dialled, here_for_caller, secure),
                secrets: hidden(&bridge.callee, &callee_ends, &caller_ends),
            },
            callee: Party {
                trunk: bridge.callee_trunk,
                proxy: Some(bridge.callee_sees),
                remote: bridge.callee.masked(),
                country: country(&bridge.callee),
                contact: contact(to, &bridge.callee_sees, here_for_callee, secure),
                secrets: hidden(caller_address, &caller_ends, &callee_ends),
            },
            invitation: Invitation {
                to: Uri::sip_at(Some(&user), to.target),
                target,
                fields: vec![(Name::PAssertedIdentity, format!("<{}>", shown.as_str()))],
                from: shown,
                display: None,
                whole_body: false,
            },
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
