//! A question to a driver, bare and through Ledge.
//!
//! Bare is the guest's `get-properties`, called in its instance while its `run` waits. Through Ledge a function asks: the call
//! crosses from its guest into the host, the model is asked twice, the question crosses to the driver's task and the answer
//! comes back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::Accessor;

use super::function::{load, plain, repeat, runtime};
use super::guests::Guests;
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::audit::Audit;
use crate::bindings;
use crate::bus::Bus;
use crate::capability::Guest;
use crate::capability::thing_access::DriverConfig;
use crate::capability::wasi::GuestLog;
use crate::clock::Clock;
use crate::driver::{Deployed, Drivers};
use crate::function::Functions;
use crate::gateway::GuestRuntime;
use crate::grant::ClosedDirs;
use crate::grant::Grants;
use crate::grant::ThingGrants;
use crate::metric::Metrics;
use crate::name::ThingId;
use crate::runtime::{DriverCode, DriverSpec};
use crate::set;
use crate::supervisor::RestartPolicy;
use crate::thing::fault::Fault;
use crate::thing::tsl::Tsl;
use crate::thing::value::Property;
use crate::thing::{BoxFuture, Device, LostTime, Presence, Product, Things, Turn};

const PROPERTY: &str = "LightSwitch";

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch) -> anyhow::Result<Vec<Row>> {
    let lamp = Lamp::load(guests, scratch)?;
    let workers = GuestRuntime::start()?;
    let bare = lamp.bare(&workers.handle());
    let things = lamp.things()?;
    let functions = Arc::new(Functions::default());
    let runtime = runtime(guests, scratch, functions.clone(), things.clone())?;
    let pattern = format!("{}/{}/{PROPERTY}", lamp.id.product_key, lamp.id.device_name);
    let read = ThingGrants { read: vec![pattern.parse()?], ..ThingGrants::default() };
    let repeat = set::Function { grants: Arc::new(Grants { things: read, ..Grants::default() }), ..guests.repeat.clone() };
    functions.replace([load(&runtime, &repeat).await?.1]);
    let drivers = Drivers::new(workers.handle(), RestartPolicy::default());
    drivers.replace(vec![lamp.deployed_on(things.clone())]);
    online(&things, &lamp.id).await;

    let (mut bare_call, mut property_get) = (Samples::default(), Samples::default());
    // The first round is thrown away: it finds every cache cold.
    for round in 0..=effort.rounds {
        let bare = bare.round(effort.calls).await?;
        let ledge = asked(&workers.handle(), &functions, &lamp.id, effort.calls).await?;
        if round > 0 {
            bare_call.extend(bare);
            property_get.extend(ledge);
        }
    }
    drivers.stop(Duration::from_secs(1)).await;
    let bare_call = Row::of_samples(Name::BareDriverCall, &bare_call);
    let property_get = Row::of_samples(Name::PropertyGet, &property_get).note("asked by a function, its own start spread over 50 calls");
    Ok(vec![property_get.beside(&bare_call).at_most_over_baseline(OVERHEAD_US_MAX), bare_call])
}

/// What a question of a function may cost beyond the driver's own part.
const OVERHEAD_US_MAX: f64 = 5.0;

/// One round of questions of a function.
async fn asked(workers: &Handle, functions: &Arc<Functions>, id: &ThingId, calls: usize) -> anyhow::Result<Samples> {
    let event = format!("get {calls} {} {} {PROPERTY}", id.product_key, id.device_name);
    let functions = functions.clone();
    let round = workers.spawn(async move {
        let mut samples = Samples::default();
        samples.time(u32::try_from(calls)?, repeat(&functions, &event)).await?;
        Ok(samples)
    });
    round.await.context("asking the lamp")?
}

async fn online(things: &Things, id: &ThingId) {
    while things.get(id).is_ok_and(|thing| thing.presence() != Presence::Online) {
        tokio::task::yield_now().await;
    }
}

/// The demo's lamp with its driver.
struct Lamp {
    id: ThingId,
    row: set::Thing,
    product: set::Product,
    deployed: Arc<Deployed>,
}

impl Lamp {
    fn load(guests: &Guests, scratch: &Scratch) -> anyhow::Result<Self> {
        let driver = guests.lamp_driver()?.clone();
        let row = guests.demo.things.iter().find(|thing| thing.driver == driver.name).context("the demo has no lamp")?.clone();
        let product = guests.demo.products.iter().find(|product| product.key == row.product_key).context("a lamp of no product")?.clone();
        let nothing = Arc::new(Things::in_memory(Arc::new(Bus::default()), Clock::system()));
        let runtime = runtime(guests, scratch, Arc::new(Functions::default()), nothing.clone())?;
        let (code, _) = runtime.load_driver(&driver.component, driver.limits.stack_bytes)?;
        let who = format!("driver {}", driver.name);
        let guest = Arc::new(Guest::new(
            who,
            Arc::new(driver.grants.clone()),
            Arc::new(ClosedDirs::new([])),
            &driver.limits,
            Audit::in_memory(),
            Metrics::default(),
        ));
        let log = Arc::new(GuestLog::new(guest.clone(), driver.limits.log_bytes_per_s));
        let config = Arc::new(DriverConfig::new(driver.config.as_ref(), [&row].into_iter()));
        let deployed = Deployed { row: driver, code, guest, log, config, models: vec![], things: nothing };
        Ok(Self { id: ThingId::new(&row.product_key, &row.device_name), row, product, deployed: Arc::new(deployed) })
    }

    /// The driver, where it answers for these things.
    fn deployed_on(&self, things: Arc<Things>) -> Arc<Deployed> {
        let Deployed { row, code, guest, log, config, .. } = &*self.deployed;
        let (row, code, guest, log, config) = (row.clone(), code.clone(), guest.clone(), log.clone(), config.clone());
        Arc::new(Deployed { row, code, guest, log, config, models: vec![], things })
    }

    fn things(&self) -> anyhow::Result<Arc<Things>> {
        let things = Things::in_memory(Arc::new(Bus::default()), Clock::system());
        let tsl = Tsl::parse(&self.product.tsl)?;
        things.replace(vec![Arc::new(Product { row: self.product.clone(), tsl })], vec![self.row.clone()]);
        Ok(Arc::new(things))
    }

    /// Starts an instance that is asked without Ledge.
    fn bare(&self, workers: &Handle) -> Bare {
        let (rounds, asked) = mpsc::channel(1);
        let (id, deployed, things) = (self.id.clone(), self.deployed.clone(), self.things());
        let task = workers.spawn(async move {
            let things = things?;
            let spec = DriverSpec {
                name: deployed.row.name.clone(),
                guest: deployed.guest.clone(),
                log: deployed.log.clone(),
                limits: deployed.row.limits,
                things: things.clone(),
                device: Arc::new(Nobody::default()),
                config: deployed.config.clone(),
            };
            live(&deployed.code, spec, &things, &id, asked).await
        });
        Bare { rounds, task }
    }
}

/// A driver's instance that answers rounds of questions.
struct Bare {
    rounds: mpsc::Sender<Round>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

struct Round {
    calls: usize,
    samples: oneshot::Sender<Samples>,
}

impl Bare {
    async fn round(&self, calls: usize) -> anyhow::Result<Samples> {
        let (samples, measured) = oneshot::channel();
        let _ = self.rounds.send(Round { calls, samples }).await;
        measured.await.with_context(|| format!("the bare driver ended (finished: {})", self.task.is_finished()))
    }
}

async fn live(code: &DriverCode, spec: DriverSpec, things: &Things, id: &ThingId, mut rounds: mpsc::Receiver<Round>) -> anyhow::Result<()> {
    let mut store = code.store(spec);
    let pre = code.awaiting().context("the driver of the bench blocks")?;
    let driver = pre.instantiate_async(&mut store).await.map_err(plain)?;
    let lived = store
        .run_concurrent(async |accessor| {
            let questions = async {
                online(things, id).await;
                while let Some(round) = rounds.recv().await {
                    let samples = ask(&driver, accessor, id, round.calls).await?;
                    let _ = round.samples.send(samples);
                }
                Ok(())
            };
            tokio::select! {
                ended = driver.ledge_edge_device().call_run(accessor) => bail!("the bare driver's `run` ended: {ended:?}"),
                asked = questions => asked,
            }
        })
        .await;
    lived.map_err(plain)?
}

async fn ask<T: Send + 'static>(
    driver: &bindings::driver::Driver,
    accessor: &Accessor<T>,
    id: &ThingId,
    calls: usize,
) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..calls {
        let question = driver.ledge_edge_device().call_get_properties(accessor, id.clone().into(), vec![PROPERTY.to_owned()]);
        let answer = samples.time(1, question).await.map_err(plain)?;
        answer.map_err(|fault| anyhow::anyhow!("{}", fault.message))?;
    }
    Ok(samples)
}

/// Whom the bare instance's thing would be asked through; the bench asks the instance itself.
#[derive(Default)]
struct Nobody(Arc<LostTime>);

impl Device for Nobody {
    fn was_late(&self, _: std::time::Instant, _: &str) {}

    fn is_alive(&self) {}

    fn lost_time(&self) -> &Arc<LostTime> {
        &self.0
    }

    fn deadline(&self) -> std::time::Duration {
        std::time::Duration::from_secs(10)
    }

    fn get_properties(&self, _: Turn, _: ThingId, _: Vec<String>) -> BoxFuture<'_, Result<Vec<Property>, Fault>> {
        Box::pin(std::future::pending())
    }

    fn set_properties(&self, _: Turn, _: ThingId, _: Vec<Property>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::pending())
    }

    fn call_service(&self, _: Turn, _: ThingId, _: String, _: Vec<Property>) -> BoxFuture<'_, Result<Vec<Property>, Fault>> {
        Box::pin(std::future::pending())
    }
}
