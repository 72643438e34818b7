//! What the program itself reports: control-path diagnostics such as a learned
//! source, at debug level. Nothing is reported per packet, and nothing at all
//! unless debug logging was on when the program was loaded.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use aya::Ebpf;
use aya_log::EbpfLogger;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The thread that reads the program's reports.
pub(super) struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts reading; `None`, with a warning, when that is not possible.
    pub(super) fn start(program: &mut Ebpf) -> Option<Self> {
        let logger = EbpfLogger::init_with_logger(program, Tracing)
            .map_err(|error| tracing::warn!(%error, "the XDP program's reports cannot be read"))
            .ok()?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("xdp-log".to_owned())
            .spawn(move || read(logger, &told))
            .map_err(|error| tracing::warn!(%error, "no thread reads the XDP program's reports"))
            .ok()?;
        Some(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
    }
}

fn read(mut logger: EbpfLogger<Tracing>, stop: &AtomicBool) {
    const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: the ring belongs to `logger`, which outlives this borrow.
        let ring = unsafe { BorrowedFd::borrow_raw(logger.as_raw_fd()) };
        // An interrupted or failed wait is a short turn.
        let _ = poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&TURN));
        logger.flush();
    }
}

/// Hands `log` records to `tracing`.
struct Tracing;

impl ::log::Log for Tracing {
    fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        tracing::debug!(target: "xdp", "{}", record.args());
    }

    fn flush(&self) {}
}
