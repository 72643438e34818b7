//! Copies of the packets of a call, for whoever captures it.
//!
//! A copy holds the UDP payload of a packet that a flow has admitted, whence it
//! came, and when. Copies go into a bounded queue; what does not fit is lost and
//! counted, since media waits for nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

use crate::engine::ids::LegName;
use crate::engine::time::Timestamp;

/// Copies that wait for a reader.
const QUEUE: usize = 4_096;

/// A copy of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Which flow it is of.
    pub flow: Tapped,
    /// When it arrived.
    pub at: Timestamp,
    /// Who sent it.
    pub source: SocketAddr,
    /// The bytes of payload that it had.
    pub length: usize,
    /// Payload; less than `length` where it was cut.
    pub payload: Vec<u8>,
}

/// A flow that is tapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tapped {
    /// The leg whose far end sends.
    pub leg: LegName,
    /// Where its packets arrive.
    pub local: SocketAddr,
    /// Whether it carries RTCP alone.
    pub control: bool,
}

/// Where copies of a call's packets go.
#[derive(Clone, Debug)]
pub struct TapSink {
    sender: mpsc::Sender<Copied>,
    lost: Arc<AtomicU64>,
}

/// Where they come out: until every [`TapSink`] is dropped.
#[derive(Debug)]
pub struct TapStream {
    /// The copies.
    pub copies: mpsc::Receiver<Copied>,
    lost: Arc<AtomicU64>,
}

impl TapStream {
    /// A queue and its two ends.
    #[must_use]
    pub fn new() -> (TapSink, Self) {
        let (sender, copies) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        (TapSink { sender, lost: Arc::clone(&lost) }, Self { copies, lost })
    }

    /// Packets that were not copied since there was no room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl TapSink {
    /// Hands over a copy.
    pub fn give(&self, copy: Copied) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(copy) {
            self.lose(1);
        }
    }

    /// Counts packets that could not be copied.
    pub fn lose(&self, packets: u64) {
        self.lost.fetch_add(packets, Ordering::Relaxed);
    }
}

/// The wall clock.
pub(super) fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_microseconds(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(length: usize) -> Copied {
        let local: SocketAddr = "192.0.2.10:20000".parse().unwrap();
        let flow = Tapped { leg: LegName::A, local, control: false };
        Copied { flow, at: wall(), source: local, length, payload: vec![0; length] }
    }

    #[test]
    fn what_nobody_reads_is_lost_and_counted() {
        let (sink, mut stream) = TapStream::new();
        for length in 0..QUEUE + 7 {
            sink.give(copy(length % 100));
        }
        sink.lose(3);
        assert_eq!(stream.lost(), 10);
        drop(sink);
        let read = std::iter::from_fn(|| stream.copies.blocking_recv()).count();
        assert_eq!(read, QUEUE, "what was queued is still read, then it ends");
    }
}
