//! What bounds connections, and what is counted of them.

use std::time::Duration;

/// What bounds connections. Each is counted when it bites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time that one address has made.
    pub per_source: usize,
    /// How long a connection may take until it carries messages.
    pub handshake: Duration,
    /// How long a message may take from its first byte to its last.
    pub message: Duration,
    /// How long a peer may take nothing of what waits for it.
    pub stall: Duration,
    /// How long a connection may carry nothing.
    pub idle: Duration,
    /// Bytes that wait for one peer.
    pub queue_bytes: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            per_source: 256,
            handshake: Duration::from_secs(5),
            message: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            idle: Duration::from_mins(10),
            queue_bytes: 256 * 1024,
        }
    }
}

/// Declares the counters and their names in one place.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What connections counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StreamCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl StreamCounters {
            /// With their names, for status and metrics.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$(($text, self.$name),)*]
            }
        }
    };
}

counters! {
    /// Open now.
    open = "connections.open",
    /// Made by peers.
    accepted = "connections.accepted",
    /// Made by us.
    connected = "connections.connected",
    /// Messages received.
    received = "connections.received",
    /// Messages handed to the kernel or waiting for it.
    sent = "connections.sent",
    /// Keep-alives answered.
    pings = "connections.pings",
    /// Turned away: from an address of no trunk.
    strangers = "connections.strangers",
    /// Turned away, or not made: too many there are.
    over_limit = "connections.over_limit",
    /// Turned away: too many from one address.
    over_source_limit = "connections.over_source_limit",
    /// Not accepted: no descriptor was left.
    accept_errors = "connections.accept_errors",
    /// Of ours, that could not be made.
    connect_errors = "connections.connect_errors",
    /// Ended: no TLS, or none that we may speak.
    handshake_errors = "connections.handshake_errors",
    /// Ended: it took too long until it could carry messages.
    handshake_timeouts = "connections.handshake_timeouts",
    /// Ended: a message without a length.
    unframed = "connections.unframed",
    /// Ended: a message over the limit.
    too_long = "connections.too_long",
    /// Ended: a message that came too slowly.
    slow = "connections.slow",
    /// Ended: a peer that took nothing of what waited for it.
    stalled = "connections.stalled",
    /// Ended: nothing was carried for long.
    idle = "connections.idle",
    /// Ended by an error.
    broken = "connections.broken",
    /// Messages dropped because too much waited for the peer.
    send_overflow = "connections.send_overflow",
}
