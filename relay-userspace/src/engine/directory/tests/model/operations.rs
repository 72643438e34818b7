//! What is asked for at random.

use super::*;

impl Simulation {
    pub(super) fn create(&mut self) {
        let key = format!("k{}", self.pick(9));
        let (customer, agent) = (PARTIES[self.pick(6)], PARTIES[self.pick(6)]);
        let mut wanted = wanted(&key, customer, agent);
        wanted.time_to_live = [None, Some(Duration::from_secs(5))][self.pick(2)];
        wanted.numbers = [NumberWish::default(), NumberWish::default(), within("GB")][self.pick(3)].clone();
        wanted.numbers.strict = self.pick(4) == 0;
        wanted.one_number = self.pick(6) == 0;
        if self.pick(5) == 0 {
            let also = Typed(PARTIES[self.pick(6)].into());
            wanted.also[self.pick(2)].push(also);
        }
        wanted.usage.idle = [None, None, Some(Duration::from_secs(7))][self.pick(3)];
        wanted.tags = vec!["t".to_owned(); self.pick(2)];
        self.ask(AdminRequest::BindCreate(wanted.clone()));
        if self.pick(4) == 0 {
            self.ask(AdminRequest::BindCreate(wanted));
        }
    }

    pub(super) fn some_binding(&mut self) -> Option<BindingId> {
        let ids: Vec<_> = self.acknowledged.bindings.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[self.random.random_range(0..ids.len())])
    }

    pub(super) fn close(&mut self) {
        let id = self.some_binding().unwrap_or(BindingId::from_bits(3));
        let time_to_live = [None, Some(Duration::from_secs(9))][self.pick(2)];
        match self.pick(4) {
            _ if self.pick(5) == 0 => {
                let leg = LegName::BOTH[self.pick(2)];
                let to = Typed(PARTIES[self.pick(6)].into());
                return self.ask(AdminRequest::BindHandover { id, leg, to });
            }
            0 => return self.ask(AdminRequest::BindExtend { id, time_to_live }),
            1 => return self.ask(AdminRequest::BindReopen { id, time_to_live }),
            _ => {}
        }
        self.ask(AdminRequest::BindClose { id });
    }

    pub(super) fn some_number(&mut self) -> ProxyNumber {
        let all: Vec<&str> = POOL.into_iter().chain(MORE).collect();
        all[self.pick(all.len())].parse().unwrap()
    }

    pub(super) fn change_pool(&mut self) {
        let (number, another) = (self.some_number(), self.some_number());
        let guest: ProxyNumber = MORE[self.pick(3)].parse().unwrap();
        let states = [NumberState::Active, NumberState::Active, NumberState::Draining, NumberState::Disabled];
        let to = states[self.pick(4)];
        let pool = |request| AdminRequest::Pool(request);
        match self.pick(4) {
            0 => {
                // Half of them for texts alone, so that no binding keeps them here.
                let voice = self.pick(2) == 0;
                let numbers =
                    vec![with(&guest.to_string(), |traits| (traits.voice, traits.sms) = (voice, true))];
                self.ask(pool(PoolRequest::Add { numbers }));
            }
            1 => {
                let numbers = vec![guest];
                self.ask(pool(PoolRequest::Remove { numbers: numbers.clone() }));
                self.ask(pool(PoolRequest::SetState { numbers, to: NumberState::Draining }));
            }
            2 => self.ask(pool(PoolRequest::SetState { numbers: vec![number, another], to })),
            _ => self.import([number, another]),
        }
    }

    pub(super) fn import(&mut self, numbers: [ProxyNumber; 2]) {
        self.ask(AdminRequest::Pool(PoolRequest::ImportBegin { update: self.next.is_multiple_of(2) }));
        let Some(AdminReply::Pool(PoolReply::ImportBegun(import))) = self.last_reply.take() else { return };
        let line = |(at, number)| ImportLine {
            line: at,
            country: None,
            state: None,
            number: with(&ProxyNumber::to_string(&number), |traits| traits.sms = at == 2),
        };
        let lines = (2..).zip(numbers).map(line).collect();
        self.ask(AdminRequest::Pool(PoolRequest::ImportLines { import, lines }));
        let keep = self.pick(4) > 0;
        self.ask(AdminRequest::Pool(PoolRequest::ImportEnd { import, keep }));
    }

    /// Agents get numbers and lose them, and are called.
    pub(super) fn agents(&mut self) {
        let of_agents: Vec<ProxyNumber> = self.acknowledged.agents.keys().copied().collect();
        let some = (!of_agents.is_empty()).then(|| of_agents[self.random.random_range(0..of_agents.len())]);
        match (self.pick(6), some) {
            (0, Some(number)) => self.ask(AdminRequest::Agent(AgentRequest::Close { number })),
            (1.., Some(number)) => {
                for _ in 0..3 {
                    self.ring(number);
                }
            }
            (_, None) => {
                let wanted = NewAgent {
                    tenant: "acme".into(),
                    project: "main".into(),
                    key: format!("a{}", self.pick(2)),
                    agent: Typed(PARTIES[self.pick(6)].into()),
                    also: vec![Typed(PARTIES[self.pick(6)].into()); self.pick(2)],
                    ring: None,
                    number: None,
                    numbers: NumberWish::default(),
                };
                self.ask(AdminRequest::Agent(AgentRequest::Open(wanted)));
            }
        }
    }

    pub(super) fn ring(&mut self, number: ProxyNumber) {
        let caller = self.pairs[self.random.random_range(0..self.pairs.len())].1.clone();
        let is_live = matches!(self.directory.lookup(&number, &caller), Lookup::Live(_));
        if is_live || self.directory.agent_at(&number, &caller).is_none() {
            return;
        }
        self.next += 1;
        let request = RequestId(self.next);
        self.asked.insert(request);
        let met = self.directory.meet(self.now, request, &number, &caller);
        if !met {
            self.asked.remove(&request);
        }
        *self.answers.entry(if met { "met" } else { "shared" }).or_default() += 1;
        self.drain();
    }

    pub(super) fn look_around(&mut self) {
        let id = self.some_binding().unwrap_or(BindingId::from_bits(3));
        self.ask(AdminRequest::BindShow { id });
        let filter = BindFilter { state: Shown::All, tag: Some("t".into()), ..BindFilter::default() };
        self.ask(AdminRequest::BindList { filter, after: None, limit: 5 });
        self.ask(AdminRequest::Pool(PoolRequest::List {
            filter: PoolFilter::default(),
            after: None,
            limit: 5,
        }));
    }
}
