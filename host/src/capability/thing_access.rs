//! `thing-access`: how a driver brings its things to the gateway (manual chapter 1).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};

use super::Guest;
use super::values::convert;
use crate::bindings::Registration;
use crate::bindings::blocking::ledge::edge::thing_access_blocking;
use crate::bindings::driver::ledge::edge::thing_access::{self, HostThing, HostThingWithStore, HostWithStore};
use crate::bindings::types::{Fault, Property, ThingId};
use crate::name;
use crate::set;
use crate::thing::{self, Device, Thing, Things, fault};

/// The interface's part of a Store.
pub struct ThingAccess {
    pub guest: Arc<Guest>,
    pub driver: String,
    pub things: Arc<Things>,
    /// Who answers for the things that this guest registers: its own instance.
    pub device: Arc<dyn Device>,
    /// `config` and `deviceList` as JSON.
    pub config: Arc<DriverConfig>,
    /// How many handles the guest holds of each thing; the last one takes it offline.
    handles: HashMap<name::ThingId, u32>,
    /// By which of their names the things of a product were registered.
    naming: HashMap<String, Naming>,
    /// Whether the guest has reported since somebody last asked, or answered something.
    pub reported: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Device,
    Local,
}

/// A driver's configuration (manual 1.1, leda_get_config and its kin). There may be thousands of devices in it, so it is kept in one form.
pub struct DriverConfig {
    pub whole: String,
    pub driver_info: String,
    /// How many devices it names.
    pub devices: usize,
}

impl DriverConfig {
    /// Lays out what the manual prints (1.1; FACTS 3.1), where `custom` of a device is text.
    pub fn new<'a>(config: Option<&serde_json::Value>, things: impl Iterator<Item = &'a set::Thing>) -> Self {
        let driver_info = config.cloned().unwrap_or_else(|| json!({}));
        let device = |thing: &set::Thing| {
            let custom = thing.custom.as_ref().map_or_else(|| "{}".to_owned(), serde_json::Value::to_string);
            let mut device = json!({"custom": custom, "deviceName": thing.device_name, "productKey": thing.product_key});
            if let Some(local_name) = &thing.local_name {
                device["localName"] = json!(local_name);
            }
            device
        };
        let list: Vec<_> = things.map(device).collect();
        let devices = list.len();
        let whole = json!({"config": driver_info, "deviceList": list}).to_string();
        Self { whole, driver_info: driver_info.to_string(), devices }
    }

    /// The devices alone, where `custom` is an object.
    fn device_info(&self) -> String {
        let mut whole: serde_json::Value = serde_json::from_str(&self.whole).unwrap_or_default();
        let mut devices = whole["deviceList"].take();
        for device in devices.as_array_mut().into_iter().flatten() {
            let custom = device["custom"].as_str().and_then(|custom| serde_json::from_str(custom).ok());
            device["custom"] = custom.unwrap_or_else(|| json!({}));
        }
        devices.to_string()
    }
}

/// A view of a Store: the context, and the table that holds its handles.
pub struct View<'a> {
    pub access: &'a mut ThingAccess,
    pub table: &'a mut ResourceTable,
}

pub struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

/// For drivers that await, and for those that block.
pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&mut T) -> View<'_>) -> wasmtime::Result<()> {
    thing_access::add_to_linker::<T, Linked>(linker, get)?;
    thing_access_blocking::add_to_linker::<T, Linked>(linker, get)
}

impl ThingAccess {
    pub fn new(guest: Arc<Guest>, driver: String, things: Arc<Things>, device: Arc<dyn Device>, config: Arc<DriverConfig>) -> Self {
        Self { guest, driver, things, device, config, handles: HashMap::new(), naming: HashMap::new(), reported: false }
    }

    /// Whether the guest has reported since this was last asked: a sign of life.
    pub fn take_reported(&mut self) -> bool {
        std::mem::take(&mut self.reported)
    }

    /// Registers a thing that was found by one of its names; found by none, it must be registered already.
    fn register(&mut self, thing: &Thing, naming: Option<Naming>) -> Result<(), Fault> {
        let product = &thing.id.product_key;
        match naming {
            None => self.things.check_owner(&thing.id, &self.device)?,
            Some(naming) if self.naming.get(product).is_some_and(|before| *before != naming) => {
                let (now, before) = if naming == Naming::Local { ("local", "device") } else { ("device", "local") };
                let message = format!(
                    "thing `{}`: things of product `{product}` were registered by their {before} names before, and this one by its {now} name; \
                     use the same kind of name for all of them",
                    thing.id
                );
                return Err(Fault { code: fault::INVALID_PARAM, message });
            }
            Some(naming) => {
                self.things.register(&self.driver, thing, self.device.clone())?;
                self.naming.insert(product.clone(), naming);
            }
        }
        *self.handles.entry(thing.id.clone()).or_default() += 1;
        Ok(())
    }

    fn drop_handle(&mut self, id: &name::ThingId) {
        let Some(count) = self.handles.get_mut(id) else { return };
        *count -= 1;
        if *count == 0 {
            self.handles.remove(id);
            // A thing that is already gone or unregistered is as offline as it can be.
            let _ = self.things.set_online(id, &self.device, false);
        }
    }
}

impl View<'_> {
    fn registered(&mut self, thing: &Resource<Registration>) -> Result<name::ThingId, Fault> {
        let registration = self.table.get(thing).map_err(|_| stale_handle())?;
        if registration.is_over { Err(stale_handle()) } else { Ok(registration.thing.clone()) }
    }

    fn hand_out(
        &mut self,
        thing: Result<Arc<Thing>, thing::fault::Fault>,
        naming: Option<Naming>,
    ) -> Result<Resource<Registration>, Fault> {
        let thing = thing?;
        let handle = self.table.push(Registration { thing: thing.id.clone(), is_over: false }).map_err(|_| {
            let message = "too many handles are open: drop some, or raise the limit `handles`";
            self.access.guest.tell(Some("handles"), &format!("is refused a thing: {message}"));
            Fault { code: fault::TOO_MANY, message: message.to_owned() }
        })?;
        if let Err(refused) = self.access.register(&thing, naming) {
            // It was pushed a moment ago.
            let _ = self.table.delete(handle);
            return Err(refused);
        }
        Ok(handle)
    }
}

impl View<'_> {
    fn register_by_device_name(&mut self, product_key: String, device_name: String) -> Result<Resource<Registration>, Fault> {
        let thing = self.access.things.get(&name::ThingId { product_key, device_name });
        self.hand_out(thing, Some(Naming::Device))
    }

    fn register_by_local_name(&mut self, product_key: &str, local_name: &str) -> Result<Resource<Registration>, Fault> {
        let thing = self.access.things.by_local_name(product_key, local_name);
        self.hand_out(thing, Some(Naming::Local))
    }

    fn get_device_handle(&mut self, product_key: String, device_name: String) -> Result<Resource<Registration>, Fault> {
        let thing = self.access.things.get(&name::ThingId { product_key, device_name });
        self.hand_out(thing, None)
    }

    fn set_online(&mut self, thing: &Resource<Registration>, online: bool) -> Result<(), Fault> {
        let id = self.registered(thing)?;
        Ok(self.access.things.set_online(&id, &self.access.device, online)?)
    }

    /// The handle is of nothing any more, even where the thing is registered again.
    fn unregister(&mut self, thing: &Resource<Registration>) -> Result<(), Fault> {
        let id = self.registered(thing)?;
        self.access.things.unregister(&id, &self.access.device)?;
        let registration = self.table.get_mut(thing).map_err(|_| stale_handle())?;
        registration.is_over = true;
        self.access.drop_handle(&id);
        Ok(())
    }

    fn reporter(&mut self, thing: &Resource<Registration>) -> Result<Reporter, Fault> {
        let thing = self.registered(thing)?;
        let ThingAccess { guest, things, device, .. } = &*self.access;
        Ok(Reporter { thing, guest: guest.clone(), things: things.clone(), device: device.clone() })
    }

    fn tsl(&self, product_key: &str) -> Result<String, Fault> {
        let product = self.access.things.product(product_key).ok_or_else(|| no_product(product_key))?;
        Ok(product.row.tsl.clone())
    }

    fn tsl_ext_info(&self, product_key: &str) -> Result<String, Fault> {
        let product = self.access.things.product(product_key).ok_or_else(|| no_product(product_key))?;
        product.row.tsl_ext.clone().ok_or_else(|| Fault {
            code: fault::FILE_NOT_EXIST,
            message: format!("product `{product_key}` has no TSL extension: give it `tsl_ext` in ledge.toml"),
        })
    }
}

fn stale_handle() -> Fault {
    Fault { code: fault::DEVICE_UNREGISTER, message: "this handle is of no registered thing".to_owned() }
}

impl thing_access::Host for View<'_> {}
impl HostThing for View<'_> {
    fn id(&mut self, thing: Resource<Registration>) -> ThingId {
        // The guest can only name a handle that it holds.
        self.table.get(&thing).map_or_else(|_| name::ThingId::new("", "").into(), |it| it.thing.clone().into())
    }

    fn drop(&mut self, thing: Resource<Registration>) -> wasmtime::Result<()> {
        let registration = self.table.delete(thing)?;
        if !registration.is_over {
            self.access.drop_handle(&registration.thing);
        }
        Ok(())
    }
}

impl<T: Send> HostThingWithStore<T> for Linked {
    async fn register_by_device_name(
        store: &Accessor<T, Self>,
        product_key: String,
        device_name: String,
    ) -> Result<Resource<Registration>, Fault> {
        store.with(|mut access| access.get().register_by_device_name(product_key, device_name))
    }

    async fn register_by_local_name(
        store: &Accessor<T, Self>,
        product_key: String,
        local_name: String,
    ) -> Result<Resource<Registration>, Fault> {
        store.with(|mut access| access.get().register_by_local_name(&product_key, &local_name))
    }

    async fn get_device_handle(
        store: &Accessor<T, Self>,
        product_key: String,
        device_name: String,
    ) -> Result<Resource<Registration>, Fault> {
        store.with(|mut access| access.get().get_device_handle(product_key, device_name))
    }

    async fn online(store: &Accessor<T, Self>, thing: Resource<Registration>) -> Result<(), Fault> {
        store.with(|mut access| access.get().set_online(&thing, true))
    }

    async fn offline(store: &Accessor<T, Self>, thing: Resource<Registration>) -> Result<(), Fault> {
        store.with(|mut access| access.get().set_online(&thing, false))
    }

    async fn unregister(store: &Accessor<T, Self>, thing: Resource<Registration>) -> Result<(), Fault> {
        store.with(|mut access| access.get().unregister(&thing))
    }

    async fn report_properties(store: &Accessor<T, Self>, thing: Resource<Registration>, properties: Vec<Property>) -> Result<(), Fault> {
        let reporter = store.with(|mut access| access.get().reporter(&thing))?;
        reporter.report_properties(properties).await?;
        alive(store);
        Ok(())
    }

    async fn report_event(
        store: &Accessor<T, Self>,
        thing: Resource<Registration>,
        event: String,
        outputs: Vec<Property>,
    ) -> Result<(), Fault> {
        let reporter = store.with(|mut access| access.get().reporter(&thing))?;
        reporter.report_event(&event, outputs).await?;
        alive(store);
        Ok(())
    }
}

/// A report that was taken is a sign of life.
fn alive<T>(store: &Accessor<T, Linked>) {
    store.with(|mut access| access.get().access.reported = true);
}

/// Who reports, taken out of the Store so that it is not held while the report is worked on.
struct Reporter {
    thing: name::ThingId,
    guest: Arc<Guest>,
    things: Arc<Things>,
    device: Arc<dyn Device>,
}

impl Reporter {
    async fn report_properties(self, properties: Vec<Property>) -> Result<(), Fault> {
        self.guest.may_report().await?;
        Ok(self.things.report_properties(&self.thing, &self.device, convert(properties)).await?)
    }

    async fn report_event(self, event: &str, outputs: Vec<Property>) -> Result<(), Fault> {
        self.guest.may_report().await?;
        Ok(self.things.report_event(&self.thing, &self.device, event, convert(outputs)).await?)
    }
}

impl<T: Send> HostWithStore<T> for Linked {
    async fn get_tsl(store: &Accessor<T, Self>, product_key: String) -> Result<String, Fault> {
        store.with(|mut access| access.get().tsl(&product_key))
    }

    async fn get_tsl_ext_info(store: &Accessor<T, Self>, product_key: String) -> Result<String, Fault> {
        store.with(|mut access| access.get().tsl_ext_info(&product_key))
    }

    async fn driver_config(store: &Accessor<T, Self>) -> String {
        store.with(|mut access| access.get().access.config.whole.clone())
    }

    async fn driver_info(store: &Accessor<T, Self>) -> String {
        store.with(|mut access| access.get().access.config.driver_info.clone())
    }

    async fn device_info(store: &Accessor<T, Self>) -> String {
        store.with(|mut access| access.get().access.config.device_info())
    }
}

fn no_product(key: &str) -> Fault {
    Fault { code: fault::FILE_NOT_EXIST, message: format!("product `{key}` does not exist on this gateway") }
}

impl thing_access_blocking::HostThing for View<'_> {
    async fn register_by_device_name(&mut self, product_key: String, device_name: String) -> Result<Resource<Registration>, Fault> {
        View::register_by_device_name(self, product_key, device_name)
    }

    async fn register_by_local_name(&mut self, product_key: String, local_name: String) -> Result<Resource<Registration>, Fault> {
        View::register_by_local_name(self, &product_key, &local_name)
    }

    async fn get_device_handle(&mut self, product_key: String, device_name: String) -> Result<Resource<Registration>, Fault> {
        View::get_device_handle(self, product_key, device_name)
    }

    async fn id(&mut self, thing: Resource<Registration>) -> ThingId {
        HostThing::id(self, thing)
    }

    async fn online(&mut self, thing: Resource<Registration>) -> Result<(), Fault> {
        self.set_online(&thing, true)
    }

    async fn offline(&mut self, thing: Resource<Registration>) -> Result<(), Fault> {
        self.set_online(&thing, false)
    }

    async fn unregister(&mut self, thing: Resource<Registration>) -> Result<(), Fault> {
        View::unregister(self, &thing)
    }

    async fn report_properties(&mut self, thing: Resource<Registration>, properties: Vec<Property>) -> Result<(), Fault> {
        self.reporter(&thing)?.report_properties(properties).await?;
        self.access.reported = true;
        Ok(())
    }

    async fn report_event(&mut self, thing: Resource<Registration>, event: String, outputs: Vec<Property>) -> Result<(), Fault> {
        self.reporter(&thing)?.report_event(&event, outputs).await?;
        self.access.reported = true;
        Ok(())
    }

    async fn drop(&mut self, thing: Resource<Registration>) -> wasmtime::Result<()> {
        HostThing::drop(self, thing)
    }
}

impl thing_access_blocking::Host for View<'_> {
    async fn get_tsl(&mut self, product_key: String) -> Result<String, Fault> {
        self.tsl(&product_key)
    }

    async fn get_tsl_ext_info(&mut self, product_key: String) -> Result<String, Fault> {
        self.tsl_ext_info(&product_key)
    }

    async fn driver_config(&mut self) -> String {
        self.access.config.whole.clone()
    }

    async fn driver_info(&mut self) -> String {
        self.access.config.driver_info.clone()
    }

    async fn device_info(&mut self) -> String {
        self.access.config.device_info()
    }
}
