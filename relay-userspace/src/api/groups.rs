//! The groups of whoever is at the other end of a socket, by the kernel's word.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// More than anybody is in, as a start.
const USUAL: usize = 64;

/// The supplementary groups that the peer had when it connected.
pub(super) fn of_peer(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; USUAL];
    loop {
        let mut bytes = length(&groups);
        // SAFETY: the buffer has as many bytes as is said, and both pointers are
        // good for the call.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let needed = usize::try_from(bytes).unwrap_or(0) / size_of::<u32>();
        if failed == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

fn length(groups: &[u32]) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(groups)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_of_this_process_has_its_groups() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut found = of_peer(&ours).unwrap();
        let mut own: Vec<u32> =
            rustix::process::getgroups().unwrap().into_iter().map(rustix::process::Gid::as_raw).collect();
        found.sort_unstable();
        own.sort_unstable();
        assert_eq!(found, own);
    }
}
