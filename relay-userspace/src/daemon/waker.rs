//! Wakes a loop that sleeps in `poll` when another thread has put something
//! into one of its channels.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// A handle that wakes one loop; the loop holds one too.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    descriptor: OwnedFd,
    /// Spares the system call while the loop is awake anyway.
    woken: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Shared { descriptor, woken: AtomicBool::new(false) })))
    }

    /// Makes the loop run at least once more. Call it after filling a channel.
    pub(super) fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            let _a_full_counter_wakes_too = rustix::io::write(&self.0.descriptor, &1_u64.to_ne_bytes());
        }
    }

    /// For the loop, before it looks into its channels: what is put into them
    /// from here on wakes it again.
    pub(super) fn rearm(&self) {
        if self.0.woken.swap(false, Ordering::AcqRel) {
            let _empty_is_fine = rustix::io::read(&self.0.descriptor, &mut [0_u8; 8]);
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.descriptor.as_fd()
    }
}
