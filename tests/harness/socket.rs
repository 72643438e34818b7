//! Ports that a test binds.
//!
//! A child that another thread has just forked holds copies of all sockets of
//! the process until it runs its program, even of those that are closed by now.
//! So a port that was given back may be in use for a moment longer, which is no
//! failure: whoever binds one of a given number does it by these.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a child may take to run its program.
const SOON: Duration = Duration::from_secs(5);

/// A UDP socket at this address of the thread's namespace.
pub fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    once_free(|| UdpSocket::bind(address), |error| error.kind() == io::ErrorKind::AddrInUse)
}

/// What `bind` gives once it no longer fails because something is in use.
pub fn once_free<T, E>(bind: impl FnMut() -> Result<T, E>, in_use: impl Fn(&E) -> bool) -> Result<T, E> {
    once_free_within(SOON, bind, in_use)
}

fn once_free_within<T, E>(
    limit: Duration,
    mut bind: impl FnMut() -> Result<T, E>,
    in_use: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let give_up = Instant::now() + limit;
    loop {
        match bind() {
            Err(error) if in_use(&error) && Instant::now() < give_up => sleep(Duration::from_millis(1)),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_waited_for_and_another_error_is_not() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let copy = held.try_clone().unwrap();
        drop(held);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                sleep(Duration::from_millis(30));
                drop(copy);
            });
            assert_eq!(udp(address).unwrap().local_addr().unwrap(), address);
        });
        let elsewhere = "192.0.2.1:5060".parse().unwrap();
        assert_eq!(udp(elsewhere).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn what_stays_in_use_is_an_error_in_the_end() {
        let taken = || Err::<(), _>("taken");
        assert_eq!(once_free_within(Duration::from_millis(5), taken, |_| true), Err("taken"));
    }
}
