//! What a Store holds for each kind of guest, and how the capabilities are linked to it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::Budget;
use super::driver_code::Busy;
use super::failure::Limiter;
use super::meter::Meter;
use crate::call_path::CallPath;
use crate::capability::Until;
use crate::capability::credentials::{self, Credentials};
use crate::capability::dirs;
use crate::capability::fc::{self, Fc};
use crate::capability::gateway_info::{self, GatewayInfo};
use crate::capability::http::Http;
use crate::capability::iot_data::{self, IotData};
use crate::capability::kv::{self, Kv};
use crate::capability::listen::{self, Listen};
use crate::capability::requests::{self, Requests};
use crate::capability::sockets;
use crate::capability::thing_access::{self, ThingAccess, View};
use crate::capability::wasi::Output;
use crate::function::Call;
use crate::limit::Limits;

/// A function's Store.
pub struct FunctionState {
    pub wasi: WasiCtx,
    pub table: ResourceTable,
    pub limiter: Limiter,
    pub budget: Budget,
    pub stderr: Output,
    pub iot_data: IotData,
    pub fc: Fc,
    pub credentials: Credentials,
    pub kv: Kv,
    pub http: Http,
    pub http_fields: WasiHttpCtx,
}

impl FunctionState {
    /// Makes the instance that of this call: whatever belonged to the one before is gone.
    pub fn begin(&mut self, call: &Call, meter: Arc<Meter>) {
        self.budget.begin(call, meter);
        self.limiter.forget();
        self.stderr.forget();
        self.iot_data.path = call.path.clone();
        self.fc.path = call.path.clone();
        self.fc.deadline = Until::Moment(call.deadline);
        self.http.deadline = Until::Moment(call.deadline);
    }
}

/// A persistent function's Store.
pub struct PersistentState {
    pub wasi: WasiCtx,
    pub table: ResourceTable,
    pub limiter: Limiter,
    pub stderr: Output,
    pub iot_data: IotData,
    pub fc: Fc,
    pub credentials: Credentials,
    pub kv: Kv,
    pub http: Http,
    pub http_fields: WasiHttpCtx,
    pub busy: Busy,
}

impl PersistentState {
    /// What the instance asks for from now on belongs to this call.
    pub fn begin(&mut self, call: &Call) {
        self.busy.begin_again();
        self.iot_data.path = call.path.clone();
        self.fc.path = call.path.clone();
        self.fc.deadline = Until::Moment(call.deadline);
        self.http.deadline = Until::Moment(call.deadline);
    }

    /// From now on it is `run`'s own again.
    pub fn end(&mut self, limits: &Limits) {
        self.busy.begin_again();
        let path = CallPath::default().then(self.iot_data.function.clone());
        self.iot_data.path = path.clone();
        self.fc.path = path;
        let deadline = Until::After(Duration::from_millis(limits.deadline_ms));
        (self.fc.deadline, self.http.deadline) = (deadline, deadline);
    }
}

/// A driver's Store.
pub struct DriverState {
    pub wasi: WasiCtx,
    pub table: ResourceTable,
    pub limiter: Limiter,
    pub stderr: Output,
    pub thing_access: ThingAccess,
    /// What a driver that blocks is asked.
    pub requests: Requests,
    pub gateway_info: GatewayInfo,
    pub listen: Listen,
    pub busy: Busy,
}

impl WasiView for FunctionState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for FunctionState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http, table: &mut self.table, ctx: &mut self.http_fields }
    }
}

impl WasiView for PersistentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for PersistentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http, table: &mut self.table, ctx: &mut self.http_fields }
    }
}

impl WasiView for DriverState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

pub fn function_linker(engine: &Engine) -> wasmtime::Result<Linker<FunctionState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    dirs::link_0_2(&mut linker, |state: &mut FunctionState| &state.fc.guest)?;
    sockets::refuse_0_2(&mut linker, |state: &mut FunctionState| &state.fc.guest)?;
    iot_data::add_to_linker(&mut linker, |state: &mut FunctionState| &mut state.iot_data)?;
    fc::add_to_linker(&mut linker, |state| &mut state.fc)?;
    credentials::add_to_linker(&mut linker, |state| &mut state.credentials)?;
    kv::add_to_linker(&mut linker, |state| &mut state.kv)?;
    crate::bindings::types::add_to_linker::<_, NoData>(&mut linker, |_| NoTypes)?;
    Ok(linker)
}

pub fn persistent_linker(engine: &Engine) -> wasmtime::Result<Linker<PersistentState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    dirs::link_0_2(&mut linker, |state: &mut PersistentState| &state.fc.guest)?;
    dirs::close_0_3(&mut linker)?;
    sockets::refuse_0_2(&mut linker, |state: &mut PersistentState| &state.fc.guest)?;
    // They go by the grants, of which a function has none for sockets.
    sockets::link_0_3(&mut linker, |state: &mut PersistentState| &state.fc.guest)?;
    iot_data::add_to_linker(&mut linker, |state: &mut PersistentState| &mut state.iot_data)?;
    fc::add_to_linker(&mut linker, |state| &mut state.fc)?;
    credentials::add_to_linker(&mut linker, |state| &mut state.credentials)?;
    kv::add_to_linker(&mut linker, |state| &mut state.kv)?;
    crate::bindings::types::add_to_linker::<_, NoData>(&mut linker, |_| NoTypes)?;
    Ok(linker)
}

pub fn driver_linker(engine: &Engine) -> wasmtime::Result<Linker<DriverState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    dirs::link_0_2(&mut linker, |state: &mut DriverState| &state.thing_access.guest)?;
    dirs::close_0_3(&mut linker)?;
    sockets::link_0_2(&mut linker, |state: &mut DriverState| &state.thing_access.guest)?;
    sockets::link_0_3(&mut linker, |state: &mut DriverState| &state.thing_access.guest)?;
    thing_access::add_to_linker(&mut linker, |state: &mut DriverState| View { access: &mut state.thing_access, table: &mut state.table })?;
    requests::add_to_linker(&mut linker, |state: &mut DriverState| requests::View {
        requests: &mut state.requests,
        config: &mut state.thing_access.config,
        guest: &state.thing_access.guest,
        table: &mut state.table,
        answered: &mut state.thing_access.reported,
    })?;
    gateway_info::add_to_linker(&mut linker, |state: &mut DriverState| &mut state.gateway_info)?;
    listen::add_to_linker(&mut linker, |state: &mut DriverState| listen::View { listen: &mut state.listen, table: &mut state.table })?;
    crate::bindings::types::add_to_linker::<_, NoData>(&mut linker, |_| NoTypes)?;
    Ok(linker)
}

/// `types` has no functions; linking it lets a component name it all the same.
struct NoTypes;
struct NoData;

impl wasmtime::component::HasData for NoData {
    type Data<'a> = NoTypes;
}

impl crate::bindings::types::Host for NoTypes {}
