//! Takes connections from one address: sends strangers away, does the handshakes of TLS beside one another, and hands on what is ready.
//!
//! There is no task that accepts: that happens while the driver waits for the next connection, so the socket is closed together with the
//! instance, and what a driver does not take waits in the kernel's queue.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Connection, ListenParts, Places, Stream, server_config};
use crate::bindings::types::Fault;
use crate::capability::Guest;
use crate::grant;
use crate::limit::{ByAddress, HANDSHAKES_PER_ADDRESS_MAX};
use crate::thing::fault;

pub struct Acceptor {
    pub address: SocketAddr,
    listener: TcpListener,
    entry: grant::Listen,
    tls: Option<TlsAcceptor>,
    handshakes: JoinSet<Option<Connection>>,
    /// So that nobody who says nothing takes all places for the time of a handshake.
    handshakes_of: Arc<ByAddress>,
    strangers: Strangers,
    places: Arc<Places>,
    guest: Arc<Guest>,
    guests: Handle,
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that the kernel keeps while the driver does something else.
const BACKLOG: u32 = 128;
/// After an error that will not pass by itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The instance before this one may be about to let go of its port.
const BIND_PATIENCE: Duration = Duration::from_secs(1);
const BIND_PAUSE: Duration = Duration::from_millis(10);
/// Between two lines of the audit about strangers.
const STRANGERS_EVERY: Duration = Duration::from_secs(60);

impl Acceptor {
    pub async fn open(guest: Arc<Guest>, parts: &ListenParts, places: Arc<Places>, address: &str) -> Result<Self, Fault> {
        let asked: SocketAddr = address.parse().map_err(|_| Fault {
            code: fault::INVALID_PARAM,
            message: format!("`{address}` is no address to listen on: expected an IP address and a port, as in `0.0.0.0:17682`"),
        })?;
        granted(&guest, asked)?;
        let listener = bind_patiently(asked, &parts.guests).await.map_err(|error| unreachable(asked, &error))?;
        let address = listener.local_addr().map_err(|error| unreachable(asked, &error))?;
        // Asked for port 0, it is only known now which entry it is.
        let entry = granted(&guest, address)?;
        let tls = entry.tls.then(|| tls(parts, &entry)).transpose()?;
        let (handshakes, strangers) = (JoinSet::new(), Strangers::default());
        let handshakes_of = ByAddress::new(HANDSHAKES_PER_ADDRESS_MAX.min(places.max.div_ceil(4)));
        Ok(Self { address, listener, entry, tls, handshakes, handshakes_of, strangers, places, guest, guests: parts.guests.clone() })
    }

    /// The next connection that is ready. It may be dropped while it waits: nothing is lost then.
    pub async fn accept(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = ended {
                        return connection;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                        if let Some(connection) = self.admit(stream, peer) {
                            return connection;
                        }
                    }
                    Err(error) => {
                        self.guest.tell(None, &format!("could not accept a connection on {}: {error}", self.address));
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    /// What needs no handshake is ready.
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
        if !self.entry.may_come_from(peer.ip()) {
            self.strangers.turned_away(&self.guest, self.address, peer);
            return None;
        }
        let Ok(place) = self.places.free.clone().try_acquire_owned() else {
            let max = self.places.max;
            self.guest.tell(Some("connections"), &format!("met its limit connections ({max}): {peer} was closed at once"));
            return None;
        };
        // What is written is whole: waiting to join small pieces only delays it. Where that fails, it is slower.
        let _ = stream.set_nodelay(true);
        match self.tls.clone() {
            None => Some(Connection::new(Box::new(stream), peer, place)),
            Some(tls) => {
                let Some(turn) = self.handshakes_of.take(peer.ip()) else {
                    let max = self.handshakes_of.max();
                    let what = format!("{} has {max} handshakes under way, as many as it may: {peer} was closed at once", peer.ip());
                    self.guest.tell(Some("connections"), &what);
                    return None;
                };
                let shaken = handshake(tls, stream, peer, place);
                let shaken = async move {
                    let connection = shaken.await;
                    drop(turn);
                    connection
                };
                self.handshakes.spawn_on(shaken, &self.guests);
                None
            }
        }
    }
}

async fn handshake(tls: TlsAcceptor, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) -> Option<Connection> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let stream: Box<dyn Stream> = Box::new(stream);
            Some(Connection::new(stream, peer, place))
        }
        Ok(Err(error)) => {
            tracing::debug!("TLS handshake with {peer}: {error}");
            None
        }
        Err(_) => None,
    }
}

fn tls(parts: &ListenParts, entry: &grant::Listen) -> Result<TlsAcceptor, Fault> {
    let config = match (&entry.certificate, &parts.tls) {
        // `deploy` refused what cannot be used, as far as that is known.
        (Some(certificate), _) => server_config(certificate).map(Arc::new).map_err(|error| format!("the certificate: {error:#}")),
        (None, Some(own)) => Ok(own.clone()),
        (None, None) => Err("this gateway has no certificate".to_owned()),
    };
    config.map(TlsAcceptor::from).map_err(|message| Fault { code: fault::UNKNOWN, message })
}

fn granted(guest: &Guest, address: SocketAddr) -> Result<grant::Listen, Fault> {
    guest.grants.listening(address).cloned().ok_or_else(|| guest.denied("listen", address))
}

fn unreachable(address: SocketAddr, error: &io::Error) -> Fault {
    let message = match error.kind() {
        ErrorKind::AddrInUse => format!("{address} is in use by another program or driver: stop that one, or choose another port"),
        _ => format!("cannot listen on {address}: {error}"),
    };
    Fault { code: fault::SERVICE_UNREACHABLE, message }
}

async fn bind_patiently(address: SocketAddr, guests: &Handle) -> io::Result<TcpListener> {
    let began = Instant::now();
    loop {
        match bind(address, guests) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && began.elapsed() < BIND_PATIENCE => tokio::time::sleep(BIND_PAUSE).await,
            bound => return bound,
        }
    }
}

fn bind(address: SocketAddr, guests: &Handle) -> io::Result<TcpListener> {
    // Whoever polls the driver now may be gone before its listener is.
    let _entered = guests.enter();
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        let socket = TcpSocket::new_v6()?;
        // `[::]` would take IPv4 too, which the grant does not say.
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        socket
    };
    // Connections of an earlier life that are still winding down do not hold the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Those who came from elsewhere than `from` says. Each is counted; the audit has a line a minute at most, since strangers set the pace.
#[derive(Default)]
struct Strangers {
    told: Option<Instant>,
    since: u64,
}

impl Strangers {
    fn turned_away(&mut self, guest: &Guest, address: SocketAddr, peer: SocketAddr) {
        guest.count_denied("listen.from");
        if self.told.is_some_and(|told| told.elapsed() < STRANGERS_EVERY) {
            self.since += 1;
            return;
        }
        let others = std::mem::take(&mut self.since);
        self.told = Some(Instant::now());
        let detail = format!("listen.from {} to {address} ({others} others since the last such line)", peer.ip());
        guest.audited(&guest.who, "denied", &detail);
    }
}
