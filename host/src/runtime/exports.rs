//! The two ways to call a function's component: its own handler, and the one of `wasi:http`.

use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use super::state::FunctionState;
use crate::bindings::function::{Function, FunctionPre};

/// Exports that a component is known to have, and that are looked up in each new instance.
pub trait Exports: Sync {
    type Instance: Send;

    fn instantiate(&self, store: &mut Store<FunctionState>) -> impl Future<Output = wasmtime::Result<Self::Instance>> + Send;
}

impl Exports for FunctionPre<FunctionState> {
    type Instance = Function;

    fn instantiate(&self, store: &mut Store<FunctionState>) -> impl Future<Output = wasmtime::Result<Function>> + Send {
        self.instantiate_async(store)
    }
}

impl Exports for ProxyPre<FunctionState> {
    type Instance = Proxy;

    fn instantiate(&self, store: &mut Store<FunctionState>) -> impl Future<Output = wasmtime::Result<Proxy>> + Send {
        self.instantiate_async(store)
    }
}
