//! What a step of a machine asks of its surroundings.

/// Why a transaction ends without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No final response came.
    Timeout,
    /// No ACK came.
    AckTimeout,
    /// The connection that it went over is no more, or never came about.
    Unreachable,
}

/// The outcome of one step, beside the next state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Send this to the peer.
    pub(super) send: Option<Vec<u8>>,
    /// Hand the message that caused the step to the transaction's user.
    pub(super) deliver: bool,
    /// Send the CANCEL that was asked for.
    pub(super) cancel: bool,
    /// Tell the user that the transaction has failed.
    pub(super) failure: Option<Failure>,
}

impl Effects {
    pub(super) fn none() -> Self {
        Self::default()
    }

    pub(super) fn send(bytes: Vec<u8>) -> Self {
        Self { send: Some(bytes), ..Self::default() }
    }

    pub(super) fn deliver() -> Self {
        Self { deliver: true, ..Self::default() }
    }

    pub(super) fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }
}
