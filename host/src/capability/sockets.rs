//! Sockets that no grant covers: they are refused before one is made, so that a guest cannot use up the host's file
//! descriptors, and each refusal is audited. Linked over WASI's own functions; grants for drivers come later.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource};
use wasmtime_wasi::{p2, p3};

use super::Guest;

/// WASI's interfaces by the names under which wasmtime 48 links them; a guest's older 0.2 resolves to the same.
const TCP_0_2: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP_0_2: &str = "wasi:sockets/udp-create-socket@0.2.12";
const TYPES_0_3: &str = "wasi:sockets/types@0.3.0";

/// For WASI 0.2.
pub fn refuse_0_2<T: Send + 'static>(linker: &mut Linker<T>, guest: fn(&mut T) -> &Guest) -> wasmtime::Result<()> {
    use p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
    let refused = || ErrorCode::AccessDenied;
    refuse::<T, IpAddressFamily, p2::TcpSocket, _>(linker, TCP_0_2, "create-tcp-socket", "tcp", guest, refused)?;
    refuse::<T, IpAddressFamily, p2::UdpSocket, _>(linker, UDP_0_2, "create-udp-socket", "udp", guest, refused)
}

/// For WASI 0.3.
pub fn refuse_0_3<T: Send + 'static>(linker: &mut Linker<T>, guest: fn(&mut T) -> &Guest) -> wasmtime::Result<()> {
    use p3::bindings::sockets::types::{ErrorCode, IpAddressFamily, TcpSocket, UdpSocket};
    let refused = || ErrorCode::AccessDenied;
    refuse::<T, IpAddressFamily, TcpSocket, _>(linker, TYPES_0_3, "[static]tcp-socket.create", "tcp", guest, refused)?;
    refuse::<T, IpAddressFamily, UdpSocket, _>(linker, TYPES_0_3, "[static]udp-socket.create", "udp", guest, refused)
}

fn refuse<T, Family, Socket, Code>(
    linker: &mut Linker<T>,
    interface: &str,
    function: &str,
    kind: &'static str,
    guest: fn(&mut T) -> &Guest,
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
        let _ = guest(store.data_mut()).denied("sockets", kind);
        Ok((Err::<Resource<Socket>, Code>(refused()),))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}
