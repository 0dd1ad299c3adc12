//! The one harness: gateways in this process, with components built by the code of `ledge build`.

pub mod alone;
pub mod browser;
pub mod client;
pub mod command;
mod guests;
pub mod http;
pub mod module;
pub mod raw;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledge::bus::{Message, Subscription};
use ledge::clock::Clock;
use ledge::deploy::{DeployError, Report};
use ledge::function::{IDLE, Invocation, InvokeError, Outcome};
use ledge::gateway::{ConnectionLimits, Gateway, HttpListen, Options};
use ledge::grant::{Grants, InvokeGrants};
use ledge::limit::{HISTORY_BYTES_USUAL, Limits};
use ledge::name::ThingId;
use ledge::set::{self, Digest, RouteSource, RouteTopic, Set};
use ledge::supervisor::RestartPolicy;
use ledge::thing::Presence;
use tempfile::TempDir;
use zeroize::Zeroizing;

use alone::Shared;
pub use guests::{component, data_dir, repository, shared_key};

/// What is to be deployed on a gateway.
#[must_use]
pub struct Setup {
    pub set: Set,
    pub components: BTreeMap<Digest, Vec<u8>>,
    compat_default_login: bool,
    http_listen: Option<HttpListen>,
    plain_listen: bool,
    host_names: Vec<String>,
    connections: ConnectionLimits,
    /// Another compiler than `ledge`, and a cache of its own.
    compiler: Option<PathBuf>,
    idle: Duration,
    clock: Clock,
}

/// A gateway that serves on a free port, with a data directory of its own.
pub struct TestGateway {
    pub gateway: Gateway,
    pub data: Arc<TempDir>,
    beside_others: Shared,
}

pub const PASSWORD: &str = "correct horse battery";
/// The product of [`Setup::echo_thing`], with one member of each kind.
pub const ECHO: &str = "a1Echo";
/// The binary under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ledge");
/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a driver that ended waits at first: tests are in a hurry.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// A grant of sync and async calls.
pub fn invoke_grants(pattern: &str) -> InvokeGrants {
    let patterns = vec![pattern.parse().unwrap()];
    InvokeGrants { sync: patterns.clone(), asynchronous: patterns }
}

/// Where the key file of every test's gateway is.
pub fn key_dir() -> PathBuf {
    guests::shared_key().parent().unwrap().to_owned()
}

pub fn gateway() -> Setup {
    let set = Set { products: vec![], things: vec![], drivers: vec![], functions: vec![], routes: vec![], rules: vec![] };
    Setup {
        set,
        components: BTreeMap::new(),
        compat_default_login: false,
        http_listen: None,
        plain_listen: false,
        host_names: vec![],
        connections: ConnectionLimits::default(),
        compiler: None,
        idle: IDLE,
        clock: Clock::system(),
    }
}

impl Setup {
    /// A function `test/NAME` made of the guest of that name.
    pub fn function(self, name: &str) -> Self {
        self.function_of(&format!("test/{name}"), name)
    }

    pub fn function_of(mut self, name: &str, guest: &str) -> Self {
        let component = self.component(component(guest));
        let (name, limits, grants) = (name.parse().unwrap(), Limits::default(), Arc::default());
        self.set.functions.push(set::Function {
            name,
            component,
            limits,
            grants,
            reuse: 0,
            mode: set::Mode::OnDemand,
            health: None,
            asynchronous: None,
            timers: vec![],
            http: None,
        });
        self
    }

    /// Changes the limits of the function that was added last.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.set.functions.last_mut().unwrap().limits);
        self
    }

    /// Changes the grants of the function that was added last.
    pub fn grants(mut self, change: impl FnOnce(&mut Grants)) -> Self {
        change(Arc::make_mut(&mut self.set.functions.last_mut().unwrap().grants));
        self
    }

    /// Changes the function that was added last.
    pub fn with_function(mut self, change: impl FnOnce(&mut set::Function)) -> Self {
        change(self.set.functions.last_mut().unwrap());
        self
    }

    /// Bytes that stand for a component, whatever they are.
    pub fn component(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.components.insert(digest.clone(), bytes);
        digest
    }

    pub fn product(mut self, key: &str, tsl: &str) -> Self {
        let history_bytes = HISTORY_BYTES_USUAL;
        self.set.products.push(set::Product { key: key.into(), name: key.into(), tsl: tsl.into(), tsl_ext: None, history_bytes });
        self
    }

    /// Gives the product that was added last its TSL extension.
    pub fn tsl_ext(mut self, tsl_ext: &str) -> Self {
        self.set.products.last_mut().unwrap().tsl_ext = Some(tsl_ext.into());
        self
    }

    pub fn thing(mut self, product: &str, name: &str, driver: &str) -> Self {
        self.set.things.push(set::Thing {
            product_key: product.into(),
            device_name: name.into(),
            driver: driver.into(),
            local_name: None,
            tags: BTreeMap::new(),
            custom: None,
        });
        self
    }

    /// Gives the thing that was added last what its driver is told of it.
    pub fn custom(self, custom: serde_json::Value) -> Self {
        self.with_thing(|thing| thing.custom = Some(custom))
    }

    /// Changes the thing that was added last.
    pub fn with_thing(mut self, change: impl FnOnce(&mut set::Thing)) -> Self {
        change(self.set.things.last_mut().unwrap());
        self
    }

    pub fn driver(mut self, name: &str, guest: &str) -> Self {
        let component = self.component(component(guest));
        let (limits, grants) = (Limits::default(), Grants::default());
        self.set.drivers.push(set::Driver { name: name.into(), component, config: None, files: vec![], limits, grants });
        self
    }

    /// Changes the driver that was added last.
    pub fn with_driver(mut self, change: impl FnOnce(&mut set::Driver)) -> Self {
        change(self.set.drivers.last_mut().unwrap());
        self
    }

    /// A thing `a1Echo/NAME` of the driver `echo_thing`, which is added with the first.
    pub fn echo_thing(self, name: &str) -> Self {
        let setup = if self.set.drivers.iter().any(|driver| driver.name == "echo_thing") {
            self
        } else {
            self.product(ECHO, include_str!("harness/echo.json")).driver("echo_thing", "echo-thing")
        };
        setup.thing(ECHO, name, "echo_thing")
    }

    /// A route. Its target is granted every topic, if it is there already.
    pub fn route(mut self, source: RouteSource, topic: RouteTopic, target: &str) -> Self {
        if let Some(function) = self.set.functions.iter_mut().find(|function| function.name.to_string() == target) {
            Arc::make_mut(&mut function.grants).subscribe.push("#".parse().unwrap());
        }
        self.set.routes.push(set::Route { source, topic, target: target.parse().unwrap(), qos: set::Qos::default() });
        self
    }

    pub fn compat_default_login(mut self) -> Self {
        self.compat_default_login = true;
        self
    }

    /// Has functions answer HTTP requests, as `--http-listen` has.
    pub fn http_listen(mut self, listen: &str) -> Self {
        self.http_listen = Some(listen.parse().unwrap());
        self
    }

    /// Serves the API without TLS too, as `--plain-listen` has.
    pub fn plain_listen(self) -> Self {
        Self { plain_listen: true, ..self }
    }

    pub fn host_name(mut self, name: &str) -> Self {
        self.host_names.push(name.into());
        self
    }

    pub fn connections(self, connections: ConnectionLimits) -> Self {
        Self { connections, ..self }
    }

    /// A function `test/NAME` that answers everybody below a prefix.
    pub fn answers(self, name: &str, guest: &str, prefix: &str) -> Self {
        let http = set::HttpTrigger { prefix: prefix.into(), auth: set::HttpAuth::Anonymous, methods: vec![] };
        self.function_of(&format!("test/{name}"), guest).with_function(|function| function.http = Some(http))
    }

    /// Compiles with another program than `ledge`, and with a cache of its own.
    pub fn compiler(self, program: PathBuf) -> Self {
        Self { compiler: Some(program), ..self }
    }

    /// Unloads functions that were not called for so long.
    pub fn idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Time passes as whoever has the clock's hands says.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Starts a gateway and deploys; waits until every thing is online.
    pub async fn start(self) -> TestGateway {
        let things: Vec<ThingId> = self.set.things.iter().map(|row| ThingId::new(&row.product_key, &row.device_name)).collect();
        let gateway = self.start_without_waiting().await;
        for id in things {
            gateway.online(&id).await;
        }
        gateway
    }

    /// The same, for things that do not come online.
    pub async fn start_without_waiting(self) -> TestGateway {
        let data = Arc::new(if self.compiler.is_none() { guests::data_dir() } else { tempfile::tempdir().unwrap() });
        let compiler = self.compiler.clone().unwrap_or_else(|| PROGRAM.into());
        let beside_others = alone::shared();
        let options = Options {
            compat_default_login: self.compat_default_login,
            http_listen: self.http_listen,
            plain_listen: self.plain_listen.then(|| "127.0.0.1:0".parse().unwrap()),
            host_names: self.host_names.clone(),
            connections: self.connections,
            program: compiler,
            idle: self.idle,
            clock: self.clock.clone(),
            ..options(data.path())
        };
        let gateway = Gateway::start(options).await.unwrap();
        let gateway = TestGateway { gateway, data, beside_others };
        gateway.deploy_offline(self).await.unwrap();
        gateway
    }
}

fn options(data: &Path) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        plain_listen: None,
        http_listen: None,
        host_names: vec![],
        connections: ConnectionLimits::default(),
        data: data.to_owned(),
        key_file: Some(guests::shared_key()),
        admin_password: Some(Zeroizing::new(PASSWORD.into())),
        compat_default_login: false,
        restarts: RestartPolicy { backoff_min: BACKOFF_MIN, ..RestartPolicy::default() },
        idle: IDLE,
        clock: Clock::system(),
        program: PROGRAM.into(),
    }
}

impl TestGateway {
    /// Deploys, and waits until every thing is online.
    pub async fn deploy(&self, setup: Setup) -> Result<Report, DeployError> {
        let things: Vec<ThingId> = setup.set.things.iter().map(|row| ThingId::new(&row.product_key, &row.device_name)).collect();
        let report = self.deploy_offline(setup).await?;
        for id in things {
            self.online(&id).await;
        }
        Ok(report)
    }

    /// The same for things that come online by themselves, later.
    pub async fn deploy_offline(&self, setup: Setup) -> Result<Report, DeployError> {
        for (digest, component) in &setup.components {
            self.gateway.deploy.components().put(digest, component).unwrap();
        }
        self.gateway.deploy.apply(setup.set, false, "test").await
    }

    /// The same, in the place of all that is there.
    pub async fn deploy_alone(&self, setup: Setup) -> Result<Report, DeployError> {
        self.gateway.deploy.apply(setup.set, true, "test").await
    }

    /// Stops this gateway in order, and starts another on the same data.
    pub async fn restart(self) -> Self {
        let data = self.data.clone();
        self.gateway.stop().await;
        // A process that another test has just forked has the lock too, until it becomes another program.
        let is_free = || async { File::open(data.path().join("lock")).unwrap().try_lock().is_ok() };
        eventually("the data directory to be free", is_free).await;
        // And a task of the old gateway may let go of the database a moment later; a process would be gone by then.
        let began = Instant::now();
        let gateway = loop {
            match Gateway::start(options(data.path())).await {
                Ok(gateway) => break gateway,
                Err(error) if error.to_string().contains("in use by another gateway") && began.elapsed() < PATIENCE => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("it does not start again: {error:#}"),
            }
        };
        Self { gateway, data, beside_others: self.beside_others }
    }

    /// Calls `test/NAME` where its callers are: on the runtime of guests.
    pub async fn invoke(&self, name: &str, event: &str) -> Result<Outcome, InvokeError> {
        self.invoke_named(&format!("test/{name}"), event).await
    }

    /// The same by a whole name, which may have a version or an alias.
    pub async fn invoke_named(&self, name: &str, event: &str) -> Result<Outcome, InvokeError> {
        let invocation = Invocation::new(name.parse().unwrap(), event.to_owned());
        let functions = self.gateway.functions.clone();
        self.gateway.guests().spawn(async move { functions.invoke(invocation).await }).await.unwrap()
    }

    /// The result of a call that goes well.
    pub async fn result(&self, name: &str, event: &str) -> String {
        match self.invoke(name, event).await.unwrap() {
            Outcome::Done(result) => String::from_utf8(result.to_vec()).unwrap(),
            failed => panic!("`{name}` failed: {failed:?}"),
        }
    }

    pub async fn online(&self, id: &ThingId) {
        self.presence(id, Presence::Online).await;
    }

    pub async fn presence(&self, id: &ThingId, wanted: Presence) {
        let what = format!("{id} to be {wanted:?}");
        eventually(&what, || async { self.gateway.things.get(id).unwrap().presence() == wanted }).await;
    }

    /// The messages on one topic from now on.
    pub fn listen(&self, topic: &str) -> Listener {
        let topic = topic.to_owned();
        Listener(self.gateway.bus.subscribe(move |message| message.topic == topic, 1_024))
    }

    /// The lines of the audit so far.
    pub fn audit(&self) -> String {
        std::fs::read_to_string(self.path("audit.log")).unwrap_or_default()
    }

    pub async fn audited(&self, wanted: &str) {
        eventually(&format!("the audit to say `{wanted}`"), || async { self.audit().contains(wanted) }).await;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }
}

pub struct Listener(Subscription);

impl Listener {
    pub async fn next(&mut self) -> Arc<Message> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("no message came").expect("the bus is gone")
    }

    /// Whether nothing has come that was not taken yet.
    pub fn is_silent(&mut self) -> bool {
        self.0.try_next().is_none()
    }

    pub async fn text(&mut self) -> String {
        String::from_utf8(self.next().await.payload.bytes().to_vec()).unwrap()
    }
}

/// Waits for a condition that must come true, and panics with its name if it does not.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let holds = async {
        let mut pause = Duration::from_millis(1);
        while !condition().await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// What an `Unhandled` outcome says: the limit's name, and the message.
pub fn unhandled(outcome: Result<Outcome, InvokeError>) -> (Option<&'static str>, String) {
    match outcome.unwrap() {
        Outcome::Unhandled(failure) => (failure.limit, failure.message),
        other => panic!("it was not ended: {other:?}"),
    }
}
