//! How a planned call begins: who dials what, saying what about itself.

use std::time::Duration;

use crate::atlas::{LegId, Side};
use crate::network::Happening;
use crate::peer::{Dialog, Endpoint};
use crate::scenario::{CallPlan, Party, Purpose};
use crate::setup;
use crate::world::World;

impl World {
    /// Somebody dials.
    pub(crate) fn dial(&mut self, index: usize) -> Result<(), String> {
        if self.stopping {
            return Ok(());
        }
        let leg = LegId { call: index, side: Side::Caller };
        let plan = self.scenario.calls[index].clone();
        let (caller, other) = self.parties_of(&plan);
        let dialled = self.dialled(&plan, &other);
        let host = caller.host;
        let (here, there) = (host.address(), setup::vizard_of(self.scenario.topology, host));
        let identity = setup::identity(
            &self.scenario,
            (leg, plan.purpose, plan.canaries),
            (&caller, &other),
            &mut self.peer_dice,
        );
        let call_id = format!("{}@{}", self.peer_dice.token(), here.ip());
        let target = format!("sip:{dialled}@{there}");
        let mut dialog = Dialog::outgoing(
            (here, there),
            (identity.from, identity.contact_user),
            (format!("<{target}>"), target),
            (call_id.clone(), self.peer_dice.token()),
        );
        let mut headers = identity.headers;
        if plan.record_route {
            let route = format!("<sip:{here};lr>");
            headers.push(("Record-Route".into(), route.clone()));
            dialog.record_route = Some(route);
        }
        self.legs.insert((host, call_id.clone()), leg);
        let was_bound = self.expected_callee(&plan).is_some();
        let call = &mut self.calls[index];
        call.caller_leg.host = Some(host);
        call.caller_leg.call_id = call_id;
        call.caller_leg.own = identity.own;
        call.caller_leg.own.push(dialled);
        if plan.purpose == Purpose::RealNumber {
            call.caller_leg.own.insert(0, other.user);
        }
        call.was_bound = was_bound;
        call.caller = Some(Endpoint::caller(leg, dialog, plan.caller.clone(), plan.canaries));
        self.report.calls += 1;
        for tick in 1..24 {
            let at = self.now + Duration::from_millis(tick * 500);
            self.agenda.plan(at, Happening::Media(index));
        }
        self.act(leg, |endpoint, fx| endpoint.dial(headers, fx))
    }

    /// What the caller dials.
    fn dialled(&self, plan: &CallPlan, other: &Party) -> String {
        let style = plan.style;
        let country = self.scenario.country;
        let proxy = self.known[plan.binding]
            .as_ref()
            .map(|known| if plan.from_customer { known.customer.digits() } else { known.agent.digits() });
        match plan.purpose {
            Purpose::Emergency if country == "DE" => "112".into(),
            Purpose::Emergency => "911".into(),
            Purpose::WrongNumber => setup::written("16469009999", country, style),
            Purpose::RealNumber if !other.extension => setup::written(&other.user, country, style),
            Purpose::Bound
            | Purpose::Asserted
            | Purpose::Impostor
            | Purpose::Stranger
            | Purpose::Anonymous
            | Purpose::RealNumber => setup::written(proxy.unwrap_or("16469009998"), country, style),
        }
    }
}
