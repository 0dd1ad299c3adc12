//! The gateway, put together: opens what it keeps, starts what runs, and listens. Besides it, only `capability/listen` binds sockets:
//! those of drivers.

mod connection;
mod data_dir;
mod guest_runtime;
mod http_listen;
mod listen;
pub mod monitor;
mod places;
mod worded;
mod write_timeout;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

pub use crate::api::parse_host_name;
use crate::api::{self, Api, Front, Guard};
use crate::audit::Audit;
use crate::auth::{Auth, AuthOptions, FirstPassword};
use crate::bus::{Bus, Sink};
use crate::capability::fc::FcParts;
use crate::capability::gateway_info::{GatewayInfoParts, Machine};
use crate::capability::iot_data::IotDataParts;
use crate::capability::listen::ListenParts;
use crate::clock::Clock;
use crate::deploy::{self, Components, ConfigFiles, Deploy, Report};
use crate::driver::Drivers;
use crate::function::{self, Functions};
use crate::grant::ClosedDirs;
use crate::metric::Metrics;
use crate::persistent::Persistents;
use crate::queue::Queue;
use crate::runtime::{self, Runtime};
use crate::seal::Seal;
use crate::shutdown::Shutdown;
use crate::state::State;
use crate::store::Store;
use crate::store::writer::Writer;
pub use crate::supervisor::RestartPolicy;
use crate::telemetry::OncePerSecond;
use crate::thing::keep::Keeper;
use crate::thing::{LostTime, Things};
use crate::tls::Identity;
use crate::trigger::http::HttpTriggers;
use crate::trigger::route::Routes;
use crate::trigger::rule::{self, Rules};
use crate::trigger::timer::Timers;
use crate::trigger::worker;
use data_dir::DataDir;
pub use data_dir::socket_path;
pub use guest_runtime::GuestRuntime;
pub use http_listen::HttpListen;
use http_listen::HttpSocket;
use listen::Served;
pub use listen::bind;
use monitor::Bring;
pub use places::ConnectionLimits;
use places::Places;

/// How the gateway is started. All of it is parsed: nothing reads the environment later.
pub struct Options {
    /// Where HTTPS is served; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where the same is served without TLS, if it is.
    pub plain_listen: Option<SocketAddr>,
    /// Where functions answer HTTP requests, if they do.
    pub http_listen: Option<HttpListen>,
    /// By which names it is called, besides the machine's and those of its certificate.
    pub host_names: Vec<String>,
    /// How many connections each of these listeners of HTTP has open.
    pub connections: ConnectionLimits,
    pub data: PathBuf,
    /// The key that seals the gateway's secrets; `<data>/key` if it is not given.
    pub key_file: Option<PathBuf>,
    pub admin_password: Option<Zeroizing<String>>,
    /// Accepts the manual's `admin` / `admin1234` too. Only with a loopback address.
    pub compat_default_login: bool,
    /// How patient it is with drivers that end.
    pub restarts: RestartPolicy,
    /// How long a function is not called before its code is unloaded.
    pub idle: Duration,
    /// The machine's, but in tests.
    pub clock: Clock,
    /// This program: components are compiled in a process of its own (`ledge compile-component`).
    pub program: PathBuf,
}

/// A running gateway. Dropped without [`Gateway::stop`] it ends at once, as if it had crashed.
pub struct Gateway {
    pub address: SocketAddr,
    /// Where the API is served without TLS, if it is.
    pub plain: Option<SocketAddr>,
    /// Where functions answer HTTP requests, if they do.
    pub http: Option<HttpListen>,
    pub fingerprint: String,
    pub certificate: PathBuf,
    pub first_password: FirstPassword,
    pub functions: Arc<Functions>,
    pub things: Arc<Things>,
    pub bus: Arc<Bus>,
    pub deploy: Arc<Deploy>,
    queue: Arc<Queue>,
    rules: Arc<Rules>,
    keeper: Arc<Keeper>,
    store: Arc<Store>,
    writer: Option<Writer>,
    pub drivers: Arc<Drivers>,
    persistents: Arc<Persistents>,
    audit: Audit,
    shutdown: Shutdown,
    serving: Vec<JoinHandle<()>>,
    workers: JoinHandle<()>,
    /// What goes on until the end, and may end at any time.
    upkeep: Vec<JoinHandle<()>>,
    guests: GuestRuntime,
    _backlog: GuestRuntime,
    _sinks: [Arc<dyn Sink>; 2],
    _data: DataDir,
}

/// How long running calls may take to finish once the gateway is told to stop.
/// Drivers then have [`crate::driver`]'s second, so that all is over within ten.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(9);

/// How long what lives as long as it is deployed may then take to let go.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

impl Options {
    fn check_default_login(&self) -> anyhow::Result<()> {
        if !self.compat_default_login {
            return Ok(());
        }
        let http_listen = self.http_listen.map(|http| http.address);
        let all = [(Some(self.listen), "--listen"), (self.plain_listen, "--plain-listen"), (http_listen, "--http-listen")];
        for (address, option) in all {
            if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
                anyhow::bail!(
                    "--compat-default-login accepts a password that everybody knows, so it needs loopback addresses: {option} {address} is not one"
                );
            }
        }
        Ok(())
    }

    /// Whether the addresses are free as yet: who does something long before the start would learn it late.
    pub async fn check_addresses(&self) -> anyhow::Result<()> {
        let _https = listen::bind(self.listen).await?;
        let others = [(self.plain_listen, "--plain-listen"), (self.http_listen.map(|http| http.address), "--http-listen")];
        for (address, option) in others {
            if let Some(address) = address {
                listen::bind_as(address, option).await?;
            }
        }
        Ok(())
    }
}

impl Gateway {
    /// Starts everything, and deploys what was deployed before.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        options.check_default_login()?;
        forbid_core_dumps()?;
        allow_open_files();
        // First of all: what is told no here has made nothing.
        let tcp = listen::bind(options.listen).await?;
        let plain_tcp = listen::bind_plain(options.plain_listen).await?;
        let (guests, backlog) = (GuestRuntime::start()?, GuestRuntime::start_behind()?);
        let http_socket = http_listen::bind(options.http_listen, &guests.handle()).await?;
        let data = DataDir::open(&options.data)?;
        let address = tcp.local_addr().context("asking for the address that is listened on")?;
        let local = data.bind_socket()?;

        let clock = options.clock;
        let key_file = options.key_file.unwrap_or_else(|| data.path("key"));
        let seal = Arc::new(Seal::open(&key_file)?);
        let closed_dirs = Arc::new(ClosedDirs::new([data.root().to_owned(), directory_of(&key_file)]));
        let audit = Audit::open(data.root(), &seal)?;
        let store = Arc::new(Store::open(data.root())?);
        let writer = Writer::start(store.clone())?;
        let identity = Arc::new(Identity::open(&data.path("tls"), &seal, &names(address))?);
        let host_names = options.host_names.into_iter().chain(machine_name()).collect();
        let guard = Arc::new(Guard { identity: identity.clone(), host_names, refusals: OncePerSecond::default() });
        let auth = AuthOptions { admin_password: options.admin_password, compat_default_login: options.compat_default_login };
        let (auth, first_password) = Auth::open(store.clone(), seal.clone(), clock.clone(), auth)?;
        let started = format!(
            "ledge {} at {address}{}; the certificate {}; {}{}",
            env!("CARGO_PKG_VERSION"),
            plain_tcp.as_ref().map_or("", |_| " and over plain HTTP"),
            identity.fingerprint(),
            match &first_password {
                FirstPassword::Generated(_) => "the password of admin was made",
                FirstPassword::Given => "the password of admin is the one that was given now",
                FirstPassword::Kept => "the password of admin is the one of before",
            },
            if options.compat_default_login { "; the manual's admin1234 is accepted" } else { "" },
        );

        let bus = Arc::new(Bus::default());
        let things = Things::open(bus.clone(), clock.clone(), store.clone()).context("opening what things remember")?;
        let things = Arc::new(things);
        let keeper = Arc::new(Keeper::new(things.clone(), writer.handle()));
        let functions = Arc::new(Functions::default());
        let queue = Queue::open(store.clone(), clock.clone(), Some(writer.handle())).context("opening the queue of async invocations")?;
        let routes = Arc::new(Routes::new(functions.clone(), queue.clone()));
        let http_triggers = Arc::new(HttpTriggers::default());
        let timers = Arc::new(Timers::new(store.clone(), writer.handle(), clock.clone(), functions.clone(), queue.clone()));
        let rules = Rules::open(rule::Parts {
            store: store.clone(),
            writer: writer.handle(),
            clock: clock.clone(),
            things: things.clone(),
            functions: functions.clone(),
            queue: queue.clone(),
            bus: bus.clone(),
            audit: audit.clone(),
        })
        .context("opening what automation rules keep")?;
        let sinks: [Arc<dyn Sink>; 2] = [routes.clone(), rules.clone()];
        sinks.iter().for_each(|sink| bus.attach(sink));
        let iot_data = Arc::new(IotDataParts { things: things.clone(), bus: bus.clone() });
        let fc = Arc::new(FcParts { functions: functions.clone(), queue: queue.clone() });
        let components = Components::open(&data.path("components"))?;
        let runtime = Arc::new(Runtime::new(runtime::Parts {
            cache_dir: data.path("cache"),
            program: options.program,
            seal: seal.clone(),
            components: Arc::new(components.clone()),
            guests: guests.handle(),
            listen: Arc::new(ListenParts { guests: guests.handle(), tls: Some(identity.any_protocol_config()) }),
            iot_data,
            fc,
            gateway_info: Arc::new(GatewayInfoParts { machine: Machine::here(data.root(), clock.clone()), functions: functions.clone() }),
            state: State::open(store.clone(), Some(writer.handle())).context("opening what functions keep")?,
        })?);
        tracing::info!("the pool of functions: {}", runtime.sizes);
        let sizes = runtime.sizes.to_string();
        let metrics = Metrics::default();
        let drivers = Arc::new(Drivers::new(guests.handle(), options.restarts));
        let persistents = Arc::new(Persistents::new(guests.handle(), options.restarts));
        let (deploy, failing) = Deploy::new(deploy::Parts {
            clock: clock.clone(),
            guests: guests.handle(),
            store: store.clone(),
            seal,
            closed_dirs,
            components,
            config_files: ConfigFiles::open(&data.path("driver-files"))?,
            runtime,
            functions: functions.clone(),
            drivers: drivers.clone(),
            persistents: persistents.clone(),
            things: things.clone(),
            routes: routes.clone(),
            http: http_triggers.clone(),
            timers: timers.clone(),
            rules: rules.clone(),
            audit: audit.clone(),
            metrics: metrics.clone(),
        });
        let deploy = Arc::new(deploy);
        deploy.restore().await.context("starting what was deployed before")?;

        audit.record("gateway", "started", &started);
        let shutdown = Shutdown::default();
        let front = Arc::new(Front { auth: auth.clone(), audit: audit.clone(), guard: guard.clone(), triggers: http_triggers });
        let router = api::router(Arc::new(Api {
            auth,
            things: things.clone(),
            functions: functions.clone(),
            drivers: drivers.clone(),
            persistents: persistents.clone(),
            routes,
            timers: timers.clone(),
            rules: rules.clone(),
            queue: queue.clone(),
            bus: bus.clone(),
            deploy: deploy.clone(),
            store: store.clone(),
            audit: audit.clone(),
            guard,
            metrics: metrics.clone(),
            lost_time: LostTime::of_all(),
            sandbox: sizes,
            component_uploads: api::Uploads::default(),
            set_uploads: api::Uploads::default(),
            clock: clock.clone(),
            shutdown: shutdown.clone(),
            guests: guests.handle(),
        }));
        let threads = worker::Threads { usual: guests.handle(), behind: backlog.handle() };
        let workers = guests.handle().spawn(worker::run(queue.clone(), functions.clone(), bus.clone(), clock, threads));
        let upkeep = vec![
            tokio::spawn(timers.run()),
            tokio::spawn(keeper.clone().run()),
            tokio::spawn(rules.clone().run()),
            tokio::spawn(function::rest_idle(functions.clone(), options.idle)),
            tokio::spawn(deploy::compile_missing(deploy.clone())),
            tokio::spawn(deploy::watch(deploy.clone(), failing)),
        ];
        let places = Places::new(options.connections, metrics.connections("api"));
        let served = Served { router: router.clone(), places, shutdown: shutdown.clone() };
        let places = Places::new(ConnectionLimits::default(), metrics.connections("local"));
        let mut serving = vec![
            tokio::spawn(listen::serve_tls(tcp, identity.server_config(), served.clone())),
            tokio::spawn(listen::serve_local(local, Served { router, places, shutdown: shutdown.clone() })),
        ];
        let plain = plain_tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());
        serving.extend(plain_tcp.map(|tcp| tokio::spawn(listen::serve_plain(tcp, served))));
        let http = http_socket.as_ref().map(|socket| socket.listen);
        let serve = |socket: HttpSocket| {
            let places = Places::new(options.connections, metrics.connections("http"));
            guests.handle().spawn(socket.serve(identity.server_config(), front, places, shutdown.clone()))
        };
        serving.extend(http_socket.map(serve));
        Ok(Self {
            address,
            plain,
            http,
            fingerprint: identity.fingerprint(),
            certificate: identity.cert_path().to_owned(),
            first_password,
            functions,
            things,
            bus,
            deploy,
            queue,
            rules,
            keeper,
            store,
            writer: Some(writer),
            drivers,
            persistents,
            audit,
            shutdown,
            serving,
            workers,
            upkeep,
            guests,
            _backlog: backlog,
            _sinks: sinks,
            _data: data,
        })
    }

    /// Deploys the gateway itself as a thing, where that is due.
    pub async fn bring_monitor(&self, when: Bring) -> anyhow::Result<Option<Report>> {
        monitor::bring(&self.deploy, &self.store, when).await
    }

    /// The same beside everything else, so that nobody waits for its compiler.
    pub fn bring_monitor_behind(&mut self, when: Bring) {
        let (deploy, store) = (self.deploy.clone(), self.store.clone());
        self.upkeep.push(tokio::spawn(async move {
            match monitor::bring(&deploy, &store, when).await {
                Ok(Some(report)) => tracing::info!("driver `{}`, the gateway itself: {}", monitor::DRIVER, report.summary()),
                Ok(None) => {}
                Err(error) => tracing::error!("driver `{}`, the gateway itself, is not deployed: {error:#}", monitor::DRIVER),
            }
        }));
    }

    /// Whether nothing is deployed, but for the gateway itself.
    pub fn is_empty(&self) -> bool {
        monitor::is_alone(&self.deploy.current())
    }

    /// Where guests run.
    pub fn guests(&self) -> tokio::runtime::Handle {
        self.guests.handle()
    }

    /// Async invocations that are accepted and have not ended.
    pub fn queue_rows(&self) -> usize {
        self.queue.rows()
    }

    /// Returns once the gateway cannot keep its promises any more, with the reason: what is on its disk it does not know then, and only
    /// the next start will. It must not be stopped in peace, but end.
    pub async fn failed(&self) -> String {
        self.store.broken().await
    }

    /// Takes nothing new, lets running calls finish or meet their deadline, and ends: within 10 s in all.
    pub async fn stop(mut self) {
        self.shutdown.order();
        // First of all: what they are at may need the queue, and that drivers go is nothing that happens to things.
        self.rules.stop();
        self.queue.stop();
        let drained = async {
            for serving in &mut self.serving {
                let _ = serving.await;
            }
            let _ = (&mut self.workers).await;
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::warn!("some calls did not end within {} s and are stopped", DRAIN_TIMEOUT.as_secs());
        }
        // A persistent function may wait for a thing, and so for a driver: it had its time to end above.
        self.persistents.stop(STOP_TIMEOUT).await;
        self.drivers.stop(STOP_TIMEOUT).await;
        for task in &mut self.upkeep {
            task.abort();
            // What it held of the store is let go of by then.
            let _ = task.await;
        }
        // Whatever fails here has stopped the gateway by other ways.
        let _ = self.keeper.flush().await;
        if let Some(writer) = self.writer.take() {
            // What ended just now is not to run again at the next start.
            let _ = tokio::task::spawn_blocking(move || writer.stop()).await;
        }
        let left = self.queue.rows();
        if left > 0 {
            tracing::info!("{left} async invocations that were accepted wait on the disk for the next start");
        }
        self.audit.record("gateway", "stopped", "in order");
        self.audit.close();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for task in self.serving.iter().chain(&self.upkeep).chain([&self.workers]) {
            task.abort();
        }
        // The next gateway goes on with its files, whoever still holds it here.
        self.audit.close();
        // A function's code can reach the table that holds it: emptied, the two let go of each other.
        self.functions.replace([]);
    }
}

/// The program that runs, even where its file has been replaced by a newer one since: that one may compile differently.
pub fn this_program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { running } else { std::env::current_exe().unwrap_or(running) }
}

/// The memory of this process holds keys and passwords: a crash must not write them to a disk.
fn forbid_core_dumps() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let allowed = getrlimit(Resource::Core);
    // A limit of 0 keeps Linux from writing a file, but not from handing the memory to a program (`|` in core_pattern). 1 byte is
    // too little for a file, and what keeps it from both.
    let limit = Rlimit { current: Some(allowed.maximum.unwrap_or(1).min(1)), ..allowed };
    setrlimit(Resource::Core, limit).context("forbidding core dumps")
}

/// Each connection is an open file, and so is much else. What the system allows is not always what it starts a program with.
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let allowed = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed }) {
        tracing::warn!("the gateway may open {:?} files and no more: {error}", allowed.current);
    }
}

/// Where a file really is, whatever links lead to it.
fn directory_of(file: &Path) -> PathBuf {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    file.parent().unwrap_or(&file).to_owned()
}

/// What the certificate is for, besides loopback.
fn names(address: SocketAddr) -> Vec<String> {
    let ip = (!address.ip().is_unspecified()).then(|| address.ip().to_string());
    ip.into_iter().chain(machine_name()).collect()
}

fn machine_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}
