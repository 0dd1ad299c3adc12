//! Things: what each device is, whether it is there, and how to reach it.
//!
//! A thing is reached through the [`Device`] that registered it; what a driver is, is not known here.

mod calls;
pub mod fault;
pub mod history;
pub mod keep;
mod lost_time;
mod report;
mod state;
pub mod tsl;
pub mod value;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::name::ThingId;
use crate::set;
use crate::store::Store;
use calls::Calls;
pub use calls::{STUCK_MAX, Turn};
use fault::Fault;
pub use lost_time::LostTime;
use state::{State, Stored};
use tsl::Tsl;
use value::{Property, Value};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The live owner of things: a driver's instance.
pub trait Device: Send + Sync {
    /// How long it may take to answer a call.
    fn deadline(&self) -> Duration;
    /// A call that began then had no answer in that time, and somebody was told so.
    fn was_late(&self, began: Instant, what: &str);
    /// It did something by itself, such as to report.
    fn is_alive(&self);
    fn lost_time(&self) -> &Arc<LostTime>;
    fn get_properties(&self, turn: Turn, thing: ThingId, identifiers: Vec<String>) -> BoxFuture<'_, Result<Vec<Property>, Fault>>;
    fn set_properties(&self, turn: Turn, thing: ThingId, properties: Vec<Property>) -> BoxFuture<'_, Result<(), Fault>>;
    fn call_service(
        &self,
        turn: Turn,
        thing: ThingId,
        service: String,
        arguments: Vec<Property>,
    ) -> BoxFuture<'_, Result<Vec<Property>, Fault>>;
}

/// A product with its model.
pub struct Product {
    pub row: set::Product,
    pub tsl: Tsl,
}

/// One thing. Its row changes only with a deployment, its state at any time.
pub struct Thing {
    pub id: ThingId,
    pub row: set::Thing,
    pub product: Arc<Product>,
    state: Arc<Mutex<State>>,
}

/// A value and when it was reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    pub value: Value,
    pub time_ms: u64,
}

/// Where a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No driver has ever registered it.
    Inactive,
    Online,
    Offline,
}

/// Every product and thing of this gateway.
pub struct Things {
    table: ArcSwap<Table>,
    /// Drivers that do not run until somebody does something about it, and why.
    out: Mutex<HashMap<String, String>>,
    bus: Arc<Bus>,
    clock: Clock,
    store: Arc<Store>,
    /// What the disk has of things that have not been there since the start.
    stored: Mutex<HashMap<ThingId, Stored>>,
    /// Things whose rows are to be deleted.
    gone: Mutex<Vec<ThingId>>,
    /// Whether there is something that the disk does not know.
    is_changed: AtomicBool,
    /// Whoever writes to the disk what things remember, or reads all of it there.
    disk: Arc<tokio::sync::Mutex<()>>,
    /// When memory was given back after many rows were written.
    gave_back: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Table {
    products: HashMap<String, Arc<Product>>,
    things: HashMap<ThingId, Arc<Thing>>,
    local_names: HashMap<(String, String), ThingId>,
}

impl Things {
    pub fn open(bus: Arc<Bus>, clock: Clock, store: Arc<Store>) -> anyhow::Result<Self> {
        let stored = Mutex::new(keep::stored(&store)?);
        let (table, out, gone, is_changed, disk, gave_back) = Default::default();
        Ok(Self { table, out, bus, clock, store, stored, gone, is_changed, disk, gave_back })
    }

    /// With nothing on disk: for tests and measurements.
    pub fn in_memory(bus: Arc<Bus>, clock: Clock) -> Self {
        Self::open(bus, clock, Arc::new(Store::in_memory())).expect("an empty store has no row that could be damaged")
    }

    /// Replaces all products and things. What is known of a thing that stays is kept; of one that goes it is deleted.
    pub fn replace(&self, products: Vec<Arc<Product>>, rows: Vec<set::Thing>) {
        let (old, now_ms) = (self.table.load(), self.clock.unix_ms());
        let products: HashMap<_, _> = products.into_iter().map(|product| (product.row.key.clone(), product)).collect();
        let mut table = Table { products, ..Table::default() };
        let (mut left_out, mut went_offline) = (HashSet::new(), Vec::new());
        for row in rows {
            // `deploy` refuses a set whose thing has no product.
            let id = ThingId::new(&row.product_key, &row.device_name);
            let Some(product) = table.products.get(&row.product_key).cloned() else {
                // Its product cannot be read now. What is remembered of it is not to be deleted.
                left_out.insert(id);
                continue;
            };
            if let Some(local_name) = &row.local_name {
                table.local_names.insert((row.product_key.clone(), local_name.clone()), id.clone());
            }
            let restored = || {
                let stored = self.stored.lock().remove(&id).unwrap_or_default();
                Arc::new(Mutex::new(State::restored(stored, &product.tsl, now_ms)))
            };
            let state = old.things.get(&id).map_or_else(restored, |thing| {
                if thing.product.row != product.row {
                    thing.state.lock().adapt(&product.tsl);
                }
                if thing.row.driver != row.driver && thing.state.lock().leave() {
                    went_offline.push(id.clone());
                }
                thing.state.clone()
            });
            table.things.insert(id.clone(), Arc::new(Thing { id, row, product, state }));
        }
        for (id, gone) in &old.things {
            if !table.things.contains_key(id) && !left_out.contains(id) {
                *gone.state.lock() = State::default();
                self.gone.lock().push(id.clone());
            }
        }
        // What is left here is of things that were taken away when nothing could be written any more.
        let (kept, gone): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut *self.stored.lock()).into_iter().partition(|(id, _)| left_out.contains(id));
        *self.stored.lock() = kept;
        self.gone.lock().extend(gone.into_keys());
        self.is_changed.store(true, Relaxed);
        self.table.store(Arc::new(table));
        // Another driver is to serve them now: the one before is not asked any more, and reports nothing.
        went_offline.iter().for_each(|id| self.tell_status(id, false));
    }

    pub fn product(&self, key: &str) -> Option<Arc<Product>> {
        self.table.load().products.get(key).cloned()
    }

    /// All products, in the order of their keys.
    pub fn products(&self) -> Vec<Arc<Product>> {
        let mut all: Vec<_> = self.table.load().products.values().cloned().collect();
        all.sort_by(|a, b| a.row.key.cmp(&b.row.key));
        all
    }

    pub fn get(&self, id: &ThingId) -> Result<Arc<Thing>, Fault> {
        let found = self.table.load().things.get(id).cloned();
        found.ok_or_else(|| Fault::new(fault::DEVICE_UNREGISTER, format!("thing `{id}` does not exist on this gateway")))
    }

    pub fn by_local_name(&self, product_key: &str, local_name: &str) -> Result<Arc<Thing>, Fault> {
        let table = self.table.load();
        let key = (product_key.to_owned(), local_name.to_owned());
        let found = table.local_names.get(&key).and_then(|id| table.things.get(id)).cloned();
        found.ok_or_else(|| {
            let message = format!("no thing of product `{product_key}` has the local name `{local_name}`; declare it in ledge.toml");
            Fault::new(fault::DEVICE_UNREGISTER, message)
        })
    }

    /// All things, in the order of product key and device name.
    pub fn list(&self) -> Vec<Arc<Thing>> {
        let mut all: Vec<_> = self.table.load().things.values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The things that carry every one of these tags.
    pub fn with_tags(&self, tags: &[(String, String)]) -> Vec<Arc<Thing>> {
        let mut all = self.list();
        all.retain(|thing| tags.iter().all(|(key, value)| thing.row.tags.get(key) == Some(value)));
        all
    }

    /// Binds a declared thing to the device that will answer for it, and brings it online.
    pub fn register(&self, driver: &str, thing: &Thing, device: Arc<dyn Device>) -> Result<(), Fault> {
        if thing.row.driver != driver {
            let message = format!("thing `{}` is declared for driver `{}`, not for `{driver}`", thing.id, thing.row.driver);
            return Err(Fault::new(fault::DEVICE_UNREGISTER, message));
        }
        let was_online = {
            let mut state = thing.state.lock();
            (state.device, state.calls) = (Some(device), None);
            state.come_online(self.clock.unix_ms())
        };
        self.is_changed.store(true, Relaxed);
        if !was_online {
            self.tell_status(&thing.id, true);
        }
        Ok(())
    }

    /// Brings a registered thing online, or takes it offline. A device that no longer owns the thing changes nothing.
    pub fn set_online(&self, id: &ThingId, device: &Arc<dyn Device>, online: bool) -> Result<(), Fault> {
        let thing = self.get(id)?;
        let was_online = {
            let mut state = thing.state.lock();
            if !state.is_owned_by(device) {
                return Err(not_registered(id));
            }
            if online { state.come_online(self.clock.unix_ms()) } else { std::mem::replace(&mut state.online, false) }
        };
        self.is_changed.store(true, Relaxed);
        if was_online != online {
            self.tell_status(id, online);
        }
        Ok(())
    }

    /// Whether `device` has registered the thing.
    pub fn check_owner(&self, id: &ThingId, device: &Arc<dyn Device>) -> Result<(), Fault> {
        if self.get(id)?.state.lock().is_owned_by(device) { Ok(()) } else { Err(not_registered(id)) }
    }

    /// Forgets the registration.
    pub fn unregister(&self, id: &ThingId, device: &Arc<dyn Device>) -> Result<(), Fault> {
        self.set_online(id, device, false)?;
        self.get(id)?.state.lock().device = None;
        Ok(())
    }

    /// The device is gone, and with it every thing that it owned. Gives the number of things.
    pub fn device_gone(&self, device: &Arc<dyn Device>) -> usize {
        let mut gone = 0;
        for thing in self.table.load().things.values() {
            let was_online = {
                let mut state = thing.state.lock();
                if !state.is_owned_by(device) {
                    continue;
                }
                state.leave()
            };
            gone += 1;
            if was_online {
                self.tell_status(&thing.id, false);
            }
        }
        gone
    }

    /// A driver does not run, and will not by itself: whoever asks for its things is told `why`.
    pub fn driver_is_out(&self, driver: &str, why: String) {
        self.out.lock().insert(driver.to_owned(), why);
    }

    pub fn driver_is_back(&self, driver: &str) {
        self.out.lock().remove(driver);
    }

    /// Who answers for a thing that is online, and a turn to ask.
    fn device(&self, thing: &Thing) -> Result<(Asked, Turn), Fault> {
        let (device, calls) = thing.device().map_err(|offline| match self.out.lock().get(&thing.row.driver) {
            Some(why) => Fault::new(offline.code, format!("thing `{}` is offline: driver `{}` is {why}", thing.id, thing.row.driver)),
            None => offline,
        })?;
        let turn = calls.begin(self.clock.monotonic()).map_err(|fault| about(&thing.id, fault))?;
        Ok((Asked { device, calls }, turn))
    }

    pub async fn get_properties(&self, id: &ThingId, identifiers: Vec<String>) -> Result<Vec<Property>, Fault> {
        let thing = self.get(id)?;
        let is_of_all = identifiers.is_empty();
        let asked = thing.product.tsl.check_get(identifiers).map_err(|fault| about(id, fault))?;
        let (asked_of, turn) = self.device(&thing)?;
        let answer = asked_of.in_time(id, asked_of.device.get_properties(turn, id.clone(), asked.clone())).await.map_err(of_asking)?;
        thing.product.tsl.check_answer(&asked, is_of_all, answer).map_err(|fault| about(id, fault))
    }

    pub async fn set_properties(&self, id: &ThingId, properties: Vec<Property>) -> Result<(), Fault> {
        let thing = self.get(id)?;
        let properties = thing.product.tsl.check_set(properties).map_err(|fault| about(id, fault))?;
        let (asked_of, turn) = self.device(&thing)?;
        asked_of.in_time(id, asked_of.device.set_properties(turn, id.clone(), properties)).await
    }

    pub async fn call_service(&self, id: &ThingId, service: &str, arguments: Vec<Property>) -> Result<Vec<Property>, Fault> {
        let thing = self.get(id)?;
        let arguments = thing.product.tsl.check_call(service, arguments).map_err(|fault| about(id, fault))?;
        let (asked_of, turn) = self.device(&thing)?;
        let outputs = asked_of.in_time(id, asked_of.device.call_service(turn, id.clone(), service.to_owned(), arguments)).await?;
        thing.product.tsl.check_outputs(service, outputs).map_err(|fault| about(id, fault))
    }
}

fn about(id: &ThingId, fault: Fault) -> Fault {
    Fault { message: format!("thing `{id}`: {}", fault.message), ..fault }
}

/// Whoever asks for what there is gives nothing that a device could find wrong.
fn of_asking(fault: Fault) -> Fault {
    match fault.code {
        fault::INVALID_PARAM | fault::PARAM_RANGE_OVERFLOW | fault::INVALID_JSON | fault::INVALID_TYPE => fault.of_answer(),
        _ => fault,
    }
}

/// A device that is asked something.
struct Asked {
    device: Arc<dyn Device>,
    calls: Arc<Calls>,
}

impl Asked {
    async fn in_time<T>(&self, id: &ThingId, answer: BoxFuture<'_, Result<T, Fault>>) -> Result<T, Fault> {
        let (deadline, began) = (self.device.deadline(), Instant::now());
        if let Ok(answer) = tokio::time::timeout(deadline, answer).await {
            self.calls.had_answer();
            return answer.map_err(|fault| about(id, fault));
        }
        self.calls.had_none();
        let message = format!("thing `{id}`: its driver did not answer within {} ms, waiting for a place included", deadline.as_millis());
        self.device.was_late(began, &message);
        Err(Fault::new(fault::TIMEOUT, message))
    }
}

impl Thing {
    pub fn presence(&self) -> Presence {
        let state = self.state.lock();
        match (state.online, state.online_at_ms) {
            (true, _) => Presence::Online,
            (false, Some(_)) => Presence::Offline,
            (false, None) => Presence::Inactive,
        }
    }

    /// When it was first deployed here: Unix milliseconds.
    pub fn made_at_ms(&self) -> u64 {
        self.state.lock().made_at_ms
    }

    /// When it last came online, in Unix milliseconds.
    pub fn online_at_ms(&self) -> Option<u64> {
        self.state.lock().online_at_ms
    }

    /// The last reported values.
    pub fn values(&self) -> BTreeMap<String, Reported> {
        self.state.lock().values.clone()
    }

    /// The last reported value of one property.
    pub fn value(&self, property: &str) -> Option<Reported> {
        self.state.lock().values.get(property).cloned()
    }

    /// Whether somebody answers for it now.
    pub fn check_online(&self) -> Result<(), Fault> {
        self.device().map(drop)
    }

    /// That of its device, if it has one.
    pub fn lost_time(&self) -> Option<Arc<LostTime>> {
        self.state.lock().device.as_ref().map(|device| device.lost_time().clone())
    }

    fn device(&self) -> Result<(Arc<dyn Device>, Arc<Calls>), Fault> {
        let mut state = self.state.lock();
        match state.device.clone() {
            // Most things are never called: only those that are have something that counts.
            Some(device) if state.online => Ok((device, state.calls.get_or_insert_default().clone())),
            _ => Err(self.offline()),
        }
    }

    /// Whether `device` may report for this thing now.
    fn check_reporter(&self, device: &Arc<dyn Device>) -> Result<(), Fault> {
        let state = self.state.lock();
        match (state.is_owned_by(device), state.online) {
            (true, true) => Ok(()),
            (true, false) => Err(self.offline()),
            (false, _) => Err(not_registered(&self.id)),
        }
    }

    fn offline(&self) -> Fault {
        Fault::new(fault::DEVICE_OFFLINE, format!("thing `{}` is offline (driver `{}`)", self.id, self.row.driver))
    }
}

fn not_registered(id: &ThingId) -> Fault {
    Fault::new(fault::DEVICE_UNREGISTER, format!("thing `{id}` is not registered by this driver"))
}
