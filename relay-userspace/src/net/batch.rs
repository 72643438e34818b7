//! `recvmmsg` and `sendmmsg`: many datagrams for one entry into the kernel.
//!
//! At thousands of calls a second the entries themselves are a cost worth
//! saving. The two calls have no safe wrapper for what is needed here (source
//! addresses with truncation marks), so their unsafety is kept in this file.

use std::array;
use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use socket2::{SockAddr, SockAddrStorage};

use crate::engine::io::Signal;

/// The most datagrams that one call moves.
pub(super) const BATCH: usize = 32;

/// A received datagram, as it lies in the buffer.
pub(super) struct Arrived<'a> {
    /// Who sent it.
    pub(super) from: SocketAddr,
    /// What came, cut to the buffer's width.
    pub(super) bytes: &'a [u8],
    /// Whether something was cut off.
    pub(super) truncated: bool,
}

/// Receives at most [`BATCH`] datagrams, each into `width` bytes of `buffer`,
/// and shows them to `each`. Returns how many there were.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    width: usize,
    mut each: impl FnMut(Arrived<'_>),
) -> io::Result<usize> {
    let slots = (buffer.len() / width).min(BATCH);
    let mut names: [SockAddrStorage; BATCH] = array::from_fn(|_| SockAddrStorage::zeroed());
    let (mut pieces, mut headers) = blank();
    for (index, chunk) in buffer.chunks_exact_mut(width).take(slots).enumerate() {
        pieces[index] = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: width };
        let header = &mut headers[index].msg_hdr;
        header.msg_namelen = names[index].size_of();
        header.msg_name = (&raw mut names[index]).cast();
        header.msg_iov = &raw mut pieces[index];
        header.msg_iovlen = 1;
    }
    // SAFETY: the first `slots` headers point to a name of the stated length and
    // to one piece of `buffer` each, none shared, all alive until after the call;
    // a null timeout is allowed.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            c_uint(slots),
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let arrived = names.into_iter().zip(&headers).zip(buffer.chunks_exact(width));
    for ((name, header), chunk) in arrived.take(received) {
        // SAFETY: the kernel wrote an address of `msg_namelen` bytes into this
        // name, which was zeroed before.
        let name = unsafe { SockAddr::new(name, header.msg_hdr.msg_namelen) };
        let Some(from) = name.as_socket() else { continue };
        let bytes = &chunk[..(header.msg_len as usize).min(width)];
        each(Arrived { from, bytes, truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 });
    }
    Ok(received)
}

/// Sends the first datagrams of `queue`, at most [`BATCH`]; returns how many
/// went. An error is about the first of them; none went then.
pub(super) fn send<'a>(socket: BorrowedFd<'_>, queue: impl Iterator<Item = &'a Signal>) -> io::Result<usize> {
    let mut names: [Option<SockAddr>; BATCH] = [const { None }; BATCH];
    let (mut pieces, mut headers) = blank();
    let mut count = 0;
    for (index, signal) in queue.take(BATCH).enumerate() {
        let name = names[index].insert(signal.way.remote.into());
        pieces[index] =
            libc::iovec { iov_base: signal.bytes.as_ptr().cast_mut().cast(), iov_len: signal.bytes.len() };
        let header = &mut headers[index].msg_hdr;
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
        header.msg_iov = &raw mut pieces[index];
        header.msg_iovlen = 1;
        count = index + 1;
    }
    // SAFETY: the first `count` headers point to an initialised name and to the
    // bytes of a datagram that `queue` borrows for longer than this call; the
    // kernel only reads through both, so the lost `const` does not matter.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            c_uint(count),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Pieces and headers that point to nothing yet.
fn blank() -> ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) {
    // SAFETY: both are plain C structures of integers and pointers, for which all
    // bits zero is a valid value.
    unsafe { zeroed() }
}

/// At most [`BATCH`], which fits.
fn c_uint(count: usize) -> libc::c_uint {
    libc::c_uint::try_from(count).unwrap_or(0)
}
