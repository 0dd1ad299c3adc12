//! Directories that are granted, and that of a driver's configuration files: they can be read, and nothing in them can be changed.
//!
//! Only through WASI 0.2, which the standard libraries speak: in 0.3 a guest has no directory at all.

use std::fmt::Display;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::WasiFilesystemView;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynOutputStream, FsResult};
use wasmtime_wasi::p3::bindings::filesystem::types::Descriptor as Descriptor03;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiView};

use super::Guest;

/// WASI's interfaces by the names under which wasmtime 48 links them; a guest's older 0.2 resolves to the same.
const TYPES_0_2: &str = "wasi:filesystem/types@0.2.12";
const PREOPENS_0_3: &str = "wasi:filesystem/preopens@0.3.0";

/// Opens what is granted in the WASI context of one instance. What was granted and is closed now, or gone, is left out.
pub fn open(wasi: &mut WasiCtxBuilder, guest: &Guest) {
    // The files of its configuration lie where it is itself, so that it finds them by the paths that the configuration has.
    if let Some(files) = &guest.files
        && let Err(error) = wasi.preopened_dir(files, ".", FsPerms::ReadOnly)
    {
        tracing::error!("{} cannot read the files of its configuration: {error:#}", guest.who);
    }
    for dir in &guest.grants.dirs {
        let opened = guest.closed_dirs.open(&dir.host).map_err(|error| error.to_string());
        let preopened = opened
            .and_then(|open| wasi.preopened_dir(open.path(), &dir.guest, FsPerms::ReadOnly).map(|_| ()).map_err(|error| error.to_string()));
        if let Err(reason) = preopened {
            let _ = guest.denied("dirs", reason);
        }
    }
}

/// Opens files and directories only, looks at what is inside, and refuses whatever would change something; each refusal is audited. To open
/// a FIFO would hold a thread of the host until somebody writes to it, and to open a device does whatever that device does.
pub fn link_0_2<T: WasiView + 'static>(linker: &mut Linker<T>, guest: fn(&mut T) -> &Arc<Guest>) -> wasmtime::Result<()> {
    type Dir = Resource<Descriptor>;
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES_0_2)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        move |mut store: StoreContextMut<'_, T>, (dir, follow, path, how, flags): (Dir, PathFlags, String, OpenFlags, DescriptorFlags)| {
            Box::new(async move {
                let opened = open_at(&mut store.data_mut().filesystem(), dir, follow, path.clone(), how, flags).await;
                Ok((audited(guest(store.data_mut()), "open", &path, opened)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.stat-at",
        move |mut store: StoreContextMut<'_, T>, (dir, follow, path): (Dir, PathFlags, String)| {
            Box::new(async move {
                let found = store.data_mut().filesystem().stat_at(dir, follow, path.clone()).await;
                Ok((audited(guest(store.data_mut()), "stat", &path, found)?,))
            })
        },
    )?;
    for deed in ["create-directory", "remove-directory", "unlink-file"] {
        let name = format!("[method]descriptor.{deed}-at");
        types.func_wrap(&name, move |mut store: StoreContextMut<'_, T>, (_, path): (Dir, String)| {
            Ok((refused::<()>(guest(store.data_mut()), deed, inside(&path)),))
        })?;
    }
    types.func_wrap("[method]descriptor.symlink-at", move |mut store: StoreContextMut<'_, T>, (_, _, path): (Dir, String, String)| {
        Ok((refused::<()>(guest(store.data_mut()), "symlink", inside(&path)),))
    })?;
    types.func_wrap(
        "[method]descriptor.rename-at",
        move |mut store: StoreContextMut<'_, T>, (_, path, _, _): (Dir, String, Dir, String)| {
            Ok((refused::<()>(guest(store.data_mut()), "rename", inside(&path)),))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.link-at",
        move |mut store: StoreContextMut<'_, T>, (_, _, path, _, _): (Dir, PathFlags, String, Dir, String)| {
            Ok((refused::<()>(guest(store.data_mut()), "link", inside(&path)),))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.set-times-at",
        move |mut store: StoreContextMut<'_, T>, (_, _, path, _, _): (Dir, PathFlags, String, NewTimestamp, NewTimestamp)| {
            Ok((refused::<()>(guest(store.data_mut()), "set-times", inside(&path)),))
        },
    )?;
    types.func_wrap_async("[method]descriptor.readlink-at", move |mut store: StoreContextMut<'_, T>, (dir, path): (Dir, String)| {
        Box::new(async move {
            let link = store.data_mut().filesystem().readlink_at(dir, path.clone()).await;
            Ok((audited(guest(store.data_mut()), "readlink", &path, link)?,))
        })
    })?;
    types.func_wrap_async(
        "[method]descriptor.metadata-hash-at",
        move |mut store: StoreContextMut<'_, T>, (dir, follow, path): (Dir, PathFlags, String)| {
            Box::new(async move {
                let hash = store.data_mut().filesystem().metadata_hash_at(dir, follow, path.clone()).await;
                Ok((audited(guest(store.data_mut()), "stat", &path, hash)?,))
            })
        },
    )?;
    // Of what is open already, which is open for reading alone.
    types.func_wrap("[method]descriptor.set-size", move |mut store: StoreContextMut<'_, T>, _: (Dir, u64)| {
        Ok((refused::<()>(guest(store.data_mut()), "set-size", OPEN),))
    })?;
    types.func_wrap("[method]descriptor.set-times", move |mut store: StoreContextMut<'_, T>, _: (Dir, NewTimestamp, NewTimestamp)| {
        Ok((refused::<()>(guest(store.data_mut()), "set-times", OPEN),))
    })?;
    types.func_wrap("[method]descriptor.write", move |mut store: StoreContextMut<'_, T>, _: (Dir, Vec<u8>, u64)| {
        Ok((refused::<u64>(guest(store.data_mut()), "write", OPEN),))
    })?;
    types.func_wrap("[method]descriptor.write-via-stream", move |mut store: StoreContextMut<'_, T>, _: (Dir, u64)| {
        Ok((refused::<Resource<DynOutputStream>>(guest(store.data_mut()), "write", OPEN),))
    })?;
    types.func_wrap("[method]descriptor.append-via-stream", move |mut store: StoreContextMut<'_, T>, _: (Dir,)| {
        Ok((refused::<Resource<DynOutputStream>>(guest(store.data_mut()), "append", OPEN),))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// How the audit names a file that is open.
const OPEN: &str = "of an open file";

/// How the audit names what lies in a directory.
fn inside(path: &str) -> String {
    format!("`{path}`")
}

/// A refusal, after a line in the audit.
fn refused<R>(guest: &Guest, deed: &str, what: impl Display) -> Result<R, ErrorCode> {
    let _ = guest.denied("dirs", format_args!("{deed} {what}"));
    Err(ErrorCode::NotPermitted)
}

async fn open_at(
    files: &mut impl HostDescriptor,
    dir: Resource<Descriptor>,
    follow: PathFlags,
    path: String,
    how: OpenFlags,
    flags: DescriptorFlags,
) -> FsResult<Resource<Descriptor>> {
    if how.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE) || flags.contains(DescriptorFlags::WRITE) {
        return Err(ErrorCode::NotPermitted.into());
    }
    let found = files.stat_at(Resource::new_borrow(dir.rep()), follow, path.clone()).await?;
    if !matches!(found.type_, DescriptorType::RegularFile | DescriptorType::Directory) {
        return Err(ErrorCode::NotPermitted.into());
    }
    files.open_at(dir, follow, path, how, flags).await
}

/// What a guest is answered, after a line in the audit where it is refused.
fn audited<R>(guest: &Guest, deed: &str, path: &str, result: FsResult<R>) -> wasmtime::Result<Result<R, ErrorCode>> {
    let code = match result {
        Ok(done) => return Ok(Ok(done)),
        Err(error) => error.downcast()?,
    };
    Ok(if matches!(code, ErrorCode::NotPermitted) { refused(guest, deed, inside(path)) } else { Err(code) })
}

/// No directories in WASI 0.3.
pub fn close_0_3<T: Send + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let none = |_: StoreContextMut<'_, T>, (): ()| Ok((Vec::<(Resource<Descriptor03>, String)>::new(),));
    linker.instance(PREOPENS_0_3)?.func_wrap("get-directories", none)?;
    linker.allow_shadowing(false);
    Ok(())
}
