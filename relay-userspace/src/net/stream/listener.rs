//! Where connections arrive.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::engine::sip::transport::Transport;
use crate::net::bind::{BindError, listen_tcp};

/// How long the kernel may try to get bytes across.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// How long a connection may be quiet before the kernel asks whether the peer is there.
const QUIET: Duration = Duration::from_mins(1);

pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    /// Given up to accept what there is no descriptor for: left alone, it would be
    /// reported again and again.
    spare: Option<File>,
}

/// What was found at the door.
pub(super) enum Accepted {
    Connection(TcpStream, SocketAddr),
    /// One that was let go for want of a descriptor, or had gone by itself.
    Lost,
    Nobody,
}

impl Listener {
    pub(super) fn bind(transport: Transport, address: SocketAddr) -> Result<Self, BindError> {
        let socket = listen_tcp(transport, address)?;
        let local = socket.local_addr().unwrap_or(address);
        Ok(Self { socket, transport, local, spare: spare() })
    }

    pub(super) fn accept(&mut self) -> Accepted {
        match self.socket.accept() {
            Ok((socket, remote)) => match prepare(&socket) {
                Ok(()) => Accepted::Connection(socket, remote),
                Err(_) => Accepted::Lost,
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Accepted::Nobody,
            Err(error) => {
                let errno = error.raw_os_error().map(Errno::from_raw_os_error);
                if matches!(errno, Some(Errno::MFILE | Errno::NFILE)) {
                    drop(self.spare.take());
                    let _let_go = self.socket.accept();
                    self.spare = spare();
                }
                Accepted::Lost
            }
        }
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// A connection of ours on its way to a peer, from the address of a listener.
pub(super) fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if !from.ip().is_unspecified() {
        socket.bind(&SocketAddr::new(from.ip(), 0).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    let socket = TcpStream::from(socket);
    prepare(&socket)?;
    Ok(socket)
}

/// Messages leave at once, and a peer that is gone is noticed.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    let socket = socket2::SockRef::from(socket);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// Where connections arrive, before anybody is let in.
pub struct Listeners(pub(super) Vec<Listener>);

impl Listeners {
    /// Binds every address.
    pub fn bind(listen: &[(Transport, SocketAddr)]) -> Result<Self, BindError> {
        let bound = listen.iter().map(|&(transport, address)| Listener::bind(transport, address));
        bound.collect::<Result<_, _>>().map(Self)
    }

    /// The addresses that were bound, in the order given; a port that was zero is now
    /// the one that the kernel chose.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|listener| listener.local)
    }
}
