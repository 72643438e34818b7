//! Everything that the engine counts.
//!
//! A refusal, a limit that bites, a message that is dropped: each has a counter
//! of its own, so that an operator can see from the outside what the engine
//! does without a line of log per message.

/// Declares the counters and their names in one place.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Counter {
            $($(#[$doc])* $name,)*
        }

        /// Names in the order of [`Counter`].
        const NAMES: &[&str] = &[$($text,)*];
    };
}

counters! {
    /// Messages that arrived.
    Received = "sip.received",
    /// Dropped: the source belongs to no trunk.
    UnknownSource = "sip.unknown_source",
    /// Dropped: over another transport than TLS, from a trunk that is known by it.
    Unprotected = "sip.unprotected",
    /// Requests over UDP that are too long for it (RFC 3261 section 18.1.1).
    LargeRequests = "sip.large_requests",
    /// Dropped: not SIP, or SIP that must not be answered.
    Malformed = "sip.malformed",
    /// INVITEs that came twice over different ways, answered with 482.
    Merged = "sip.merged",
    /// Failures of ours that were never acknowledged.
    Unacknowledged = "sip.unacknowledged",
    /// Requests of ours that could not be sent: too many transactions.
    TransactionLimit = "sip.transaction_limit",
    /// Messages of ours that could not be written.
    Unwritable = "sip.unwritable",
    /// Messages that would have shown one party to the other, not sent.
    LeakStopped = "sip.leak_stopped",
    /// Forks of a call whose early media was not let through: too many of them.
    ForksNotHeard = "calls.forks_not_heard",
    /// Calls that matched a binding or an emergency number.
    Started = "calls.started",
    /// Calls that were answered.
    Answered = "calls.answered",
    /// Calls that were refused before a second leg existed.
    Refused = "calls.refused",
    /// Times that a call went to another target of its trunk: the one before failed.
    Failovers = "calls.failovers",
    /// OPTIONS sent to targets of trunks.
    Probes = "targets.probes",
    /// Calls that went to a service in place of a party.
    Diverted = "calls.diverted",
    /// Calls that a limit of ours refused.
    Overload = "calls.overload",
    /// Sides of calls that were not heard while the other one was.
    OneWay = "calls.one_way_audio",
    /// Calls that were ended because neither side was heard.
    MediaTimeout = "calls.media_timeout",
    /// Calls whose caller never acknowledged a provisional response (RFC 3262).
    Unproven = "calls.unacknowledged_progress",
    /// Refreshes of sessions that we sent (RFC 4028).
    Refreshes = "calls.session_refreshes",
    /// Calls that were ended because their session was not refreshed.
    SessionExpired = "calls.session_expired",
    /// Descriptions of nothing but encrypted media, refused by the policy.
    EncryptionRefused = "media.encryption_refused",
    /// Streams for which no port pair was free.
    NoPorts = "media.no_ports",
    /// Connectivity checks of far ends that were answered.
    IceChecks = "media.ice_checks",
    /// Dropped on ports where ICE is spoken: not a check.
    IceMalformed = "media.ice_malformed",
    /// Checks that the signalled far end has not signed, dropped.
    IceUnauthenticated = "media.ice_unauthenticated",
    /// Checks from where the far end may not be, dropped.
    IceElsewhere = "media.ice_elsewhere",
    /// Checks that were more than a far end needs, dropped.
    IceTooMany = "media.ice_too_many",
    /// Flows that something slower than XDP in the driver carries.
    SlowPath = "media.slow_path_flows",
    /// Flows that the datapath could not make.
    FlowRefused = "media.flow_refused",
    /// Flows of calls that nobody knew any more after a restart.
    FlowsSwept = "media.flows_swept",
    /// Calls in progress that were taken over after a restart.
    Restored = "calls.restored",
    /// Calls in progress that could not go on after a restart.
    NotRestored = "calls.not_restored",
    /// Writes of calls in progress that the store did not take, repeated later.
    JournalFailed = "journal.failed",
    /// Writes of call records that the store did not take, repeated later.
    RecordsFailed = "records.failed",
}

/// One count for each [`Counter`].
#[derive(Clone, Debug)]
pub(crate) struct Counters(Vec<u64>);

impl Default for Counters {
    fn default() -> Self {
        Self(vec![0; NAMES.len()])
    }
}

impl Counters {
    /// One more.
    pub(crate) fn add(&mut self, counter: Counter) {
        self.add_many(counter, 1);
    }

    /// So many more.
    pub(crate) fn add_many(&mut self, counter: Counter, more: usize) {
        if let Some(count) = self.0.get_mut(counter as usize) {
            *count = count.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        }
    }

    /// Every counter and its name, in a fixed order.
    pub(crate) fn list(&self) -> Vec<(String, u64)> {
        NAMES.iter().zip(&self.0).map(|(name, &count)| ((*name).to_owned(), count)).collect()
    }
}
