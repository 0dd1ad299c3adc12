//! Sockets: whoever has a grant may make them, and each address is held against the grants `tcp`, `udp` and `listen`.
//!
//! Where `listen` sets conditions (`tls`, `from`), a socket of WASI is refused: those are for the interface `listen`.
//!
//! Linked over WASI's own functions. What no grant covers is refused before there is a socket, so that a guest cannot use up the host's
//! file descriptors, and each refusal is audited. Deliberately absent: names, since grants are of addresses. Functions get no sockets.
//! How many may be open is for the limit of handles: a socket and each stream of it is one.

use std::net::SocketAddr;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView};
use wasmtime_wasi::{TrappableError, WasiCtxBuilder, WasiView, p2, p3};

use super::Guest;
use crate::grant::AddressPattern;
use crate::grant::Grants;

/// WASI's interfaces by the names under which wasmtime 48 links them; a guest's older 0.2 resolves to the same.
const TCP_0_2: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP_0_2: &str = "wasi:sockets/udp-create-socket@0.2.12";
const NAMES_0_2: &str = "wasi:sockets/ip-name-lookup@0.2.12";
const TYPES_0_3: &str = "wasi:sockets/types@0.3.0";
const NAMES_0_3: &str = "wasi:sockets/ip-name-lookup@0.3.0";

#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Udp,
}

/// Opens what is granted in the WASI context of one instance, which has no sockets otherwise.
pub fn allow(wasi: &mut WasiCtxBuilder, guest: &Arc<Guest>) {
    let grants = &guest.grants;
    if has_grant(grants, Kind::Tcp) || has_grant(grants, Kind::Udp) {
        let guest = guest.clone();
        wasi.allow_tcp(true).allow_udp(true).socket_addr_check(move |address, purpose| {
            let may = may_use(&guest, address, purpose);
            Box::pin(async move { may })
        });
    }
}

fn has_grant(grants: &Grants, kind: Kind) -> bool {
    match kind {
        Kind::Tcp => !grants.tcp.is_empty() || !grants.listen.is_empty(),
        Kind::Udp => !grants.udp.is_empty(),
    }
}

/// Whether a socket of this kind may be made; says it in the audit if not.
fn may_make(guest: &Guest, kind: Kind) -> bool {
    let may = has_grant(&guest.grants, kind);
    if !may {
        refuse(guest, kind);
    }
    may
}

fn may_use(guest: &Guest, address: SocketAddr, purpose: SocketAddrUse) -> bool {
    let grants = &guest.grants;
    // What an outgoing connection is bound to. Listening there is another question, which is asked with the real port.
    let is_any = address.ip().is_unspecified() && address.port() == 0;
    let (patterns, grant) = match purpose {
        SocketAddrUse::TcpConnect => (&grants.tcp, "tcp"),
        SocketAddrUse::UdpSend => (&grants.udp, "udp"),
        // A stranger's datagram is dropped. It is no deed of the guest, so it is not audited.
        SocketAddrUse::UdpReceive => return covers(&grants.udp, address),
        // Its listener had to be granted.
        SocketAddrUse::TcpAccept => return true,
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind if is_any => return true,
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind | SocketAddrUse::TcpListen => return may_listen(guest, address),
    };
    let may = covers(patterns, address);
    if !may {
        let _ = guest.denied(grant, address);
    }
    may
}

/// A socket of WASI has neither TLS nor anybody who looks where clients come from.
fn may_listen(guest: &Guest, address: SocketAddr) -> bool {
    match guest.grants.listening(address) {
        Some(entry) if entry.is_plain() => return true,
        Some(_) => {
            let _ = guest.denied("listen", format_args!("{address} without its `tls` or `from`, through wasi:sockets"));
        }
        None => {
            let _ = guest.denied("listen", address);
        }
    }
    false
}

fn covers(patterns: &[AddressPattern], address: SocketAddr) -> bool {
    patterns.iter().any(|pattern| pattern.matches(address))
}

fn refuse(guest: &Guest, kind: Kind) {
    let kind = match kind {
        Kind::Tcp => "tcp",
        Kind::Udp => "udp",
    };
    let _ = guest.denied(kind, "a socket");
}

/// Gives a driver's granted sockets of WASI 0.2, and refuses names.
pub fn link_0_2<T: WasiView + 'static>(linker: &mut Linker<T>, guest: fn(&mut T) -> &Arc<Guest>) -> wasmtime::Result<()> {
    use p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
    use p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
    linker.allow_shadowing(true);
    linker.instance(TCP_0_2)?.func_wrap("create-tcp-socket", move |mut store: StoreContextMut<'_, T>, (family,): (IpAddressFamily,)| {
        if !may_make(guest(store.data_mut()), Kind::Tcp) {
            return Ok((Err(ErrorCode::AccessDenied),));
        }
        Ok((answer(tcp_create_socket::Host::create_tcp_socket(&mut store.data_mut().sockets(), family))?,))
    })?;
    linker.instance(UDP_0_2)?.func_wrap_async(
        "create-udp-socket",
        move |mut store: StoreContextMut<'_, T>, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                if !may_make(guest(store.data_mut()), Kind::Udp) {
                    return Ok((Err(ErrorCode::AccessDenied),));
                }
                Ok((answer(udp_create_socket::Host::create_udp_socket(&mut store.data_mut().sockets(), family).await)?,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    refuse_names_0_2(linker, guest)
}

/// Gives a driver's granted sockets of WASI 0.3, and refuses names.
pub fn link_0_3<T: WasiView + 'static>(linker: &mut Linker<T>, guest: fn(&mut T) -> &Arc<Guest>) -> wasmtime::Result<()> {
    use p3::bindings::sockets::ip_name_lookup::{ErrorCode as NameError, IpAddress};
    use p3::bindings::sockets::types::{ErrorCode, HostTcpSocket, HostUdpSocket, IpAddressFamily};
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES_0_3)?;
    types.func_wrap("[static]tcp-socket.create", move |mut store: StoreContextMut<'_, T>, (family,): (IpAddressFamily,)| {
        if !may_make(guest(store.data_mut()), Kind::Tcp) {
            return Ok((Err(ErrorCode::AccessDenied),));
        }
        Ok((answer(HostTcpSocket::create(&mut store.data_mut().sockets(), family))?,))
    })?;
    types.func_wrap_async("[static]udp-socket.create", move |mut store: StoreContextMut<'_, T>, (family,): (IpAddressFamily,)| {
        Box::new(async move {
            if !may_make(guest(store.data_mut()), Kind::Udp) {
                return Ok((Err(ErrorCode::AccessDenied),));
            }
            Ok((answer(HostUdpSocket::create(&mut store.data_mut().sockets(), family).await)?,))
        })
    })?;
    linker.instance(NAMES_0_3)?.func_wrap_concurrent("resolve-addresses", move |accessor, (name,): (String,)| {
        accessor.with(|mut access| refuse_name(guest(access.data_mut()), &name));
        Box::pin(async { Ok((Err::<Vec<IpAddress>, _>(NameError::AccessDenied),)) })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

fn answer<S, C: std::error::Error + Send + Sync + 'static>(made: Result<S, TrappableError<C>>) -> wasmtime::Result<Result<S, C>> {
    match made {
        Ok(socket) => Ok(Ok(socket)),
        Err(error) => error.downcast().map(Err),
    }
}

/// For functions: no sockets at all.
pub fn refuse_0_2<T: Send + 'static>(linker: &mut Linker<T>, guest: fn(&mut T) -> &Arc<Guest>) -> wasmtime::Result<()> {
    use p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
    let refused = || ErrorCode::AccessDenied;
    refuse_all::<T, IpAddressFamily, p2::TcpSocket, _>(linker, TCP_0_2, "create-tcp-socket", Kind::Tcp, guest, refused)?;
    refuse_all::<T, IpAddressFamily, p2::UdpSocket, _>(linker, UDP_0_2, "create-udp-socket", Kind::Udp, guest, refused)?;
    refuse_names_0_2(linker, guest)
}

fn refuse_all<T, Family, Socket, Code>(
    linker: &mut Linker<T>,
    interface: &str,
    function: &str,
    kind: Kind,
    guest: fn(&mut T) -> &Arc<Guest>,
    refused: impl Fn() -> Code + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    T: Send + 'static,
    Family: ComponentType + Lift + 'static,
    Socket: 'static,
    Code: ComponentType + Lower + 'static,
{
    linker.allow_shadowing(true);
    linker.instance(interface)?.func_wrap(function, move |mut store: StoreContextMut<'_, T>, (_,): (Family,)| {
        refuse(guest(store.data_mut()), kind);
        Ok((Err::<Resource<Socket>, Code>(refused()),))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

fn refuse_names_0_2<T: Send + 'static>(linker: &mut Linker<T>, guest: fn(&mut T) -> &Arc<Guest>) -> wasmtime::Result<()> {
    use p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
    use p2::bindings::sockets::network::{ErrorCode, Network};
    linker.allow_shadowing(true);
    linker.instance(NAMES_0_2)?.func_wrap(
        "resolve-addresses",
        move |mut store: StoreContextMut<'_, T>, (_, name): (Resource<Network>, String)| {
            refuse_name(guest(store.data_mut()), &name);
            Ok((Err::<Resource<ResolveAddressStream>, _>(ErrorCode::AccessDenied),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn refuse_name(guest: &Guest, name: &str) {
    let _ = guest.denied("tcp", format_args!("the address of the name {name}"));
}
