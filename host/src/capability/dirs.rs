//! Directories that are granted: they can be read, and nothing in them can be changed.
//!
//! Only through WASI 0.2, which the standard libraries speak: in 0.3 a guest has no directory at all.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::WasiFilesystemView;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{FsError, FsResult};
use wasmtime_wasi::p3::bindings::filesystem::types::Descriptor as Descriptor03;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiView};

use super::Guest;

/// WASI's interfaces by the names under which wasmtime 48 links them; a guest's older 0.2 resolves to the same.
const TYPES_0_2: &str = "wasi:filesystem/types@0.2.12";
const PREOPENS_0_3: &str = "wasi:filesystem/preopens@0.3.0";

/// Opens what is granted in the WASI context of one instance. What was granted and is closed now, or gone, is left out.
pub fn open(wasi: &mut WasiCtxBuilder, guest: &Guest) {
    for dir in &guest.grants.dirs {
        let opened = guest.closed_dirs.open(&dir.host).map_err(|error| error.to_string());
        let preopened = opened
            .and_then(|open| wasi.preopened_dir(open.path(), &dir.guest, FsPerms::ReadOnly).map(|_| ()).map_err(|error| error.to_string()));
        if let Err(reason) = preopened {
            let _ = guest.denied("dirs", reason);
        }
    }
}

/// Opens files and directories only. To open a FIFO would hold a thread of the host until somebody writes to it, and to open a device does
/// whatever that device does.
pub fn link_0_2<T: WasiView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    type Arguments = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);
    linker.allow_shadowing(true);
    linker.instance(TYPES_0_2)?.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, T>, (dir, follow, path, how, flags): Arguments| {
            Box::new(async move {
                let mut files = store.data_mut().filesystem();
                match open_at(&mut files, dir, follow, path, how, flags).await {
                    Ok(opened) => Ok((Ok(opened),)),
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn open_at(
    files: &mut impl HostDescriptor,
    dir: Resource<Descriptor>,
    follow: PathFlags,
    path: String,
    how: OpenFlags,
    flags: DescriptorFlags,
) -> FsResult<Resource<Descriptor>> {
    let found = files.stat_at(Resource::new_borrow(dir.rep()), follow, path.clone()).await?;
    if !matches!(found.type_, DescriptorType::RegularFile | DescriptorType::Directory) {
        return Err(FsError::from(ErrorCode::NotPermitted));
    }
    files.open_at(dir, follow, path, how, flags).await
}

/// No directories in WASI 0.3.
pub fn close_0_3<T: Send + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let none = |_: StoreContextMut<'_, T>, (): ()| Ok((Vec::<(Resource<Descriptor03>, String)>::new(),));
    linker.instance(PREOPENS_0_3)?.func_wrap("get-directories", none)?;
    linker.allow_shadowing(false);
    Ok(())
}
