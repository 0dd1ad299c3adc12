//! A driver that opens sockets: the argument `text` of its service `echo` says which, and the answer says what came of it.
//!
//! `tcp ADDRESS` sends `ping` and gives what comes back, `sdk-tcp` does it with the SDK, `std-tcp` with the standard library (WASI 0.2), `udp` and
//! `std-udp` do it with a datagram; `late ADDRESS` gives up its first read, says `more`, and reads again; `listen ADDRESS` gives the address that it listens on, `listen any` does it without binding, and `accept` gives what the next
//! client sends; `udp-bind ADDRESS`; `name HOST` looks a name up, `std-name` with WASI 0.2; `churn ADDRESS` opens and closes 200 connections;
//! `hoard ADDRESS` opens connections, drops their sockets and keeps their streams.
//!
//! With the interface `listen`: `open ADDRESS` gives the address that it listens on; `take` gives who connected next; `echo` sends back what that
//! one says next, and gives it; `hear` gives it only; `finish` and `cut` end the connection; `collect` takes connections and keeps them until it may
//! not.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream, ToSocketAddrs, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use ledge_sdk::bindings::driver::wasi::sockets::ip_name_lookup::resolve_addresses;
use ledge_sdk::bindings::driver::wasi::sockets::types::{
    IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket, UdpSocket as WasiUdpSocket,
};
use ledge_sdk::bindings::driver::wit_stream;
use ledge_sdk::bindings::wit_bindgen::rt::async_support::StreamReader;
use ledge_sdk::device::Driver;
use ledge_sdk::listen::{Connection, Listener};
use ledge_sdk::thing_access::{self, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId, clock, tcp};

ledge_sdk::driver!(SocketThing);

#[derive(Default)]
struct SocketThing {
    things: RefCell<Vec<Thing>>,
    clients: RefCell<Option<StreamReader<TcpSocket>>>,
    listener: RefCell<Option<Rc<Listener>>>,
    connection: RefCell<Option<Rc<Connection>>>,
}

impl Driver for SocketThing {
    async fn run(&self) -> Result<(), Error> {
        for device in thing_access::driver_config().await?.devices {
            let thing = Thing::register(&device).await?;
            self.things.borrow_mut().push(thing);
        }
        std::future::pending().await
    }

    async fn get_properties(&self, _: &ThingId, _: Vec<String>) -> Result<Properties, Fault> {
        Ok(Properties::new())
    }

    async fn call_service(&self, _: &ThingId, _: &str, arguments: Properties) -> Result<Properties, Fault> {
        let text: String = arguments.get("text").map_err(|error| Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string()))?;
        let answer = self.act(&text).await.unwrap_or_else(|error| error);
        Ok([("text", answer)].into())
    }
}

impl SocketThing {
    async fn act(&self, text: &str) -> Result<String, String> {
        let (what, target) = text.split_once(' ').unwrap_or((text, ""));
        match what {
            "tcp" => exchange(&connect(target).await?).await,
            "sdk-tcp" => sdk_tcp(target).await.map_err(|error| code(error.kind())),
            "late" => late(target).await.map_err(|error| error.to_string()),
            "std-tcp" => std_tcp(target).map_err(|error| error.to_string()),
            "udp" => udp(target).await,
            "std-udp" => std_udp(target).map_err(|error| error.to_string()),
            "udp-bind" => WasiUdpSocket::create(IpAddressFamily::Ipv4)
                .and_then(|socket| socket.bind(wasi(target)))
                .map(|()| "bound".into())
                .map_err(code),
            "listen" => self.listen(target),
            "accept" => self.accept().await,
            "name" => resolve_addresses(target.into()).await.map(|found| format!("{found:?}")).map_err(code),
            "std-name" => (target, 80).to_socket_addrs().map(|_| "found".into()).map_err(|error| error.to_string()),
            "churn" => churn(target).await,
            "hoard" => hoard(target).await,
            "open" => self.open(target).await.map_err(fault),
            "take" => self.take().await.map_err(fault),
            "collect" => self.collect().await.map_err(fault),
            "echo" | "hear" => self.hear(what == "echo").await.map_err(fault),
            "finish" => self.connection().finish().await.map(|()| "finished".into()).map_err(fault),
            "cut" => {
                self.connection().close();
                Ok("cut".into())
            }
            _ => Err(format!("`{what}` is nothing that socket-thing does")),
        }
    }

    fn listen(&self, target: &str) -> Result<String, String> {
        let socket = TcpSocket::create(IpAddressFamily::Ipv4).map_err(code)?;
        if target != "any" {
            socket.bind(wasi(target)).map_err(code)?;
        }
        *self.clients.borrow_mut() = Some(socket.listen().map_err(code)?);
        match socket.get_local_address().map_err(code)? {
            IpSocketAddress::Ipv4(address) => Ok(format!("127.0.0.1:{}", address.port)),
            IpSocketAddress::Ipv6(_) => Err("it is IPv6".into()),
        }
    }

    async fn open(&self, target: &str) -> Result<String, Fault> {
        let listener = Listener::open(target).await?;
        let address = listener.address().to_string();
        *self.listener.borrow_mut() = Some(Rc::new(listener));
        Ok(address)
    }

    async fn take(&self) -> Result<String, Fault> {
        let connection = self.listener().accept().await?;
        let peer = connection.peer().to_string();
        *self.connection.borrow_mut() = Some(Rc::new(connection));
        Ok(peer)
    }

    async fn collect(&self) -> Result<String, Fault> {
        let mut kept = Vec::new();
        loop {
            kept.push(self.listener().accept().await?);
        }
    }

    async fn hear(&self, is_echoed: bool) -> Result<String, Fault> {
        let connection = self.connection();
        let bytes = connection.read(64).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if is_echoed {
            connection.write_all(bytes).await?;
        }
        Ok(text)
    }

    fn listener(&self) -> Rc<Listener> {
        self.listener.borrow().clone().expect("a test opens before it takes")
    }

    fn connection(&self) -> Rc<Connection> {
        self.connection.borrow().clone().expect("a test takes before it talks")
    }

    async fn accept(&self) -> Result<String, String> {
        let mut clients = self.clients.borrow_mut().take().ok_or("it does not listen")?;
        let client = clients.next().await.ok_or("the listener is closed")?;
        let (mut received, _) = client.receive();
        Ok(String::from_utf8_lossy(&received.read(Vec::with_capacity(64)).await.1).into_owned())
    }
}

/// The number first: an answer has 64 bytes.
fn fault(fault: Fault) -> String {
    format!("{} {:.50}", fault.code, fault.message)
}

fn code(code: impl std::fmt::Debug) -> String {
    format!("{code:?}")
}

fn wasi(address: &str) -> IpSocketAddress {
    let address: SocketAddrV4 = address.parse().expect("a test gives an IPv4 address");
    let [a, b, c, d] = address.ip().octets();
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
}

async fn connect(target: &str) -> Result<TcpSocket, String> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4).map_err(code)?;
    socket.connect(wasi(target)).await.map_err(code)?;
    Ok(socket)
}

async fn exchange(socket: &TcpSocket) -> Result<String, String> {
    let (mut outgoing, data) = wit_stream::new();
    let sent = socket.send(data);
    let (mut received, ended) = socket.receive();
    outgoing.write_all(b"ping".to_vec()).await;
    drop(outgoing);
    sent.await.map_err(code)?;
    let (_, answer) = received.read(Vec::with_capacity(64)).await;
    drop(received);
    ended.await.map_err(code)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn sdk_tcp(target: &str) -> std::io::Result<String> {
    let mut stream = tcp::TcpStream::connect(target.parse().expect("a test gives an address")).await?;
    stream.write_all(b"ping").await?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

async fn late(target: &str) -> Result<String, Error> {
    let mut stream = tcp::TcpStream::connect(target.parse()?).await?;
    stream.write_all(b"ping").await?;
    let mut answer = [0; 4];
    let first = clock::timeout(Duration::from_millis(50), stream.read_exact(&mut answer)).await;
    stream.write_all(b"more").await?;
    stream.read_exact(&mut answer).await?;
    let end = stream.read_exact(&mut [0; 4]).await.map_err(|error| error.kind());
    Ok(format!("{} {} {end:?}", first.is_err(), String::from_utf8_lossy(&answer)))
}

async fn churn(target: &str) -> Result<String, String> {
    for _ in 0..200 {
        exchange(&connect(target).await?).await?;
    }
    Ok("churned".into())
}

async fn hoard(target: &str) -> Result<String, String> {
    let mut kept = Vec::new();
    for _ in 0..1_000 {
        kept.push(connect(target).await?.receive());
    }
    Ok(format!("{} connections", kept.len()))
}

async fn udp(target: &str) -> Result<String, String> {
    let socket = WasiUdpSocket::create(IpAddressFamily::Ipv4).map_err(code)?;
    socket.send(b"ping".to_vec(), Some(wasi(target))).await.map_err(code)?;
    let (answer, _) = socket.receive().await.map_err(code)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn std_tcp(target: &str) -> std::io::Result<String> {
    let address: SocketAddr = target.parse().expect("a test gives an address");
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"ping")?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn std_udp(target: &str) -> std::io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.send_to(b"ping", target)?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
