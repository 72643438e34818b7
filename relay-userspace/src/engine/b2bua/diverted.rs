//! A call that goes to a service in place of a party: the callback IVR, or an
//! announcement.
//!
//! The service is the operator's, and still learns no number of a party: it sees
//! the number that was dialled, and is told in header fields of ours what the
//! call is about. Every value is a pseudonym, or a key that was refused if it held
//! a number:
//!
//! | field | value |
//! |---|---|
//! | From | the number dialled, at our address |
//! | `X-Vizard-Session` | `sess_...`: this call |
//! | `X-Vizard-Reason` | `ended`, `unknown` or `anonymous` |
//! | `X-Vizard-Binding` | `bind_...`, where it is known what the call is about |
//! | `X-Vizard-Match` | how: `pair` (number and caller), `caller` (its only binding) |
//! | `X-Vizard-Kind` | the binding's kind |
//! | `X-Vizard-Case` | the binding's key |
//! | `X-Vizard-Tenant` | who owns the binding |

use super::call::Facts;
use super::context::Context;
use super::exchange::Arrival;
use super::plan::{Invitation, More, Party, Plan, area, contact, country, here};
use super::setup::is_secure;
use crate::engine::directory::{Binding, PartyAddress};
use crate::engine::egress::Secrets;
use crate::engine::ids::SessionId;
use crate::engine::policy::{About, Diverted};
use crate::engine::sip::name::Name;

/// The call to a service. `None` when a trunk is not what the configuration says.
pub(super) fn plan(
    context: &Context,
    session: SessionId,
    arrival: &Arrival,
    diverted: &Diverted,
) -> Option<Plan> {
    let Diverted { diversion, proxy, caller, from: caller_address, about } = diverted;
    let (_, target) = context.config.services.find(diversion.to)?;
    let binding = about.and_then(|about| context.directory.binding(about.binding()));
    // Only the pair's own binding is held by the call.
    let held = binding.as_ref().filter(|_| matches!(about, Some(About::Pair(_))));
    let (from, to) = (context.trunk(arrival.trunk)?, context.trunk(target.trunk)?);
    let caller_ends = [from.targets.hosts(), vec![arrival.source.ip()]].concat();
    let callee_ends = to.targets.hosts();
    let secure = is_secure(&arrival.request);
    let here_for_caller = context.listen_of(from, arrival.way)?.sent_by();
    let here_for_callee = context.listen(to)?.sent_by();
    let ours = [here_for_caller.address.ip(), here_for_callee.address.ip()];
    let shown = here(context, to, proxy)?;
    let remote = caller_address.as_ref().map_or_else(|| "anonymous".to_owned(), PartyAddress::masked);
    let owner = |name: fn(&Binding) -> &String| held.map(name).cloned().unwrap_or_default();
    Some(Plan {
        facts: Facts {
            binding: held.map(|binding| binding.id),
            tenant: owner(|binding| &binding.tenant),
            project: owner(|binding| &binding.project),
            caller: *caller,
            emergency: false,
            diversion: Some(*diversion),
            encryption: held
                .and_then(|binding| binding.encryption)
                .unwrap_or(context.config.media.permissions.encryption),
            max_call: None,
        },
        caller: Party {
            trunk: arrival.trunk,
            proxy: Some(*proxy),
            remote,
            country: caller_address.as_ref().and_then(country),
            area: caller_address.as_ref().and_then(area),
            contact: contact(from, proxy, here_for_caller, secure),
            secrets: Some(Secrets::of(None, &callee_ends, &[&caller_ends[..], &ours].concat())),
        },
        callee: Party {
            trunk: target.trunk,
            proxy: Some(*proxy),
            remote: diversion.to.as_str().to_owned(),
            country: None,
            area: None,
            contact: contact(to, proxy, here_for_callee, secure),
            secrets: Some(Secrets::of(
                caller_address.as_ref(),
                &caller_ends,
                &[&callee_ends[..], &ours].concat(),
            )),
        },
        invitation: Invitation {
            target: target.uri.clone(),
            to: target.uri.clone(),
            from: shown,
            display: None,
            fields: fields(session, diverted, binding.as_ref()),
            whole_body: false,
        },
        more: More::default(),
        turn: None,
        newcomer: None,
    })
}

fn fields(session: SessionId, diverted: &Diverted, binding: Option<&Binding>) -> Vec<(Name, String)> {
    let mut fields = vec![
        (Name::VizardSession, session.to_string()),
        (Name::VizardReason, diverted.diversion.because.as_str().to_owned()),
    ];
    if let Some((about, binding)) = diverted.about.zip(binding) {
        fields.extend([
            (Name::VizardBinding, binding.id.to_string()),
            (Name::VizardMatch, about.as_str().to_owned()),
            (Name::VizardKind, binding.kind.as_str().to_owned()),
            (Name::VizardCase, binding.key.clone()),
            (Name::VizardTenant, binding.tenant.clone()),
        ]);
    }
    fields
}
