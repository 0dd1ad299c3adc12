//! What stands in for `wasmtime serve` where no rival is named: the bare runtime and hyper, put together as its own documentation
//! says, in a process of its own. No limits, no policy, no metrics.

use std::convert::Infallible;
use std::path::Path;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use super::function::plain;
use super::wasi_http::tuning;

/// Which pool it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pool {
    Default,
    Tuned,
}

/// Serves until it is killed.
pub async fn serve(component: &Path, pool: Pool) -> anyhow::Result<Infallible> {
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(allocation(pool)));
    let engine = Engine::new(&config).map_err(plain)?;
    let component = Component::from_file(&engine, component).map_err(plain)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(plain)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(plain)?;
    let pre = linker.instantiate_pre(&component).and_then(ProxyPre::new).map_err(plain)?;
    let listener: TcpListener = crate::gateway::bind(([127, 0, 0, 1], 0).into()).await?;
    eprintln!("Serving HTTP on http://{}/", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept().await.context("accepting")?;
        client.set_nodelay(true)?;
        let pre = pre.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(pre.clone(), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
        });
    }
}

fn allocation(pool: Pool) -> PoolingAllocationConfig {
    let mut allocation = PoolingAllocationConfig::default();
    if pool == Pool::Tuned {
        allocation
            .linear_memory_keep_resident(tuning::MEMORY_KEEP_RESIDENT_BYTES)
            .table_keep_resident(tuning::TABLE_KEEP_RESIDENT_BYTES)
            .max_unused_warm_slots(tuning::WARM_SLOTS)
            .pagemap_scan(Enabled::Auto);
    }
    allocation
}

async fn answer(pre: ProxyPre<State>, request: Request<Incoming>) -> anyhow::Result<Response<HyperOutgoingBody>> {
    let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new(), http: WasiHttpCtx::new(), hooks: NoHosts };
    let mut store = Store::new(pre.engine(), state);
    let (sender, begun) = oneshot::channel();
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(plain)?;
    let out = store.data_mut().http().new_response_outparam(sender).map_err(plain)?;
    let guest = tokio::spawn(async move {
        let proxy = pre.instantiate_async(&mut store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
    });
    match begun.await {
        Ok(response) => response.map_err(|code| anyhow::anyhow!("{code}")),
        Err(_) => Err(anyhow::anyhow!("no answer: {:?}", guest.await)),
    }
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: NoHosts,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

struct NoHosts;

impl WasiHttpHooks for NoHosts {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

/// What a request would give.
type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);
