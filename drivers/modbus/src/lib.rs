//! Modbus TCP: registers, coils and bits of them as properties of things.
//!
//! Everything but the connection is pure, and is tested without a gateway: `cargo test`. Bytes are `frame` and `pdu`; what they mean is
//! `mapping`, `layout` and `model`; what is asked is `plan`, `write` and `cycle`; who asks is `line`, one for each server. README.md
//! tells the keys. Deliberately absent: Modbus RTU, and names of servers.

mod backoff;
mod config;
mod cycle;
mod device;
mod fields;
mod frame;
mod layout;
mod line;
mod link;
mod mapping;
mod model;
mod order;
mod pauses;
mod pdu;
mod plan;
mod presence;
mod trouble;
mod write;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use futures_channel::mpsc;
use futures_util::stream::StreamExt;
use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, DeviceInfo, DriverConfig};
use ledge_sdk::value::{Properties, Property};
use ledge_sdk::{Error, Fault, ThingId, clock};

use config::{Place, Settings};
use device::Device;
use line::Line;
use mapping::Mapping;
use order::{Orders, What};
use write::Encoded;

ledge_sdk::driver!(Modbus);

#[derive(Default)]
struct Modbus {
    settings: Rc<Cell<Settings>>,
    devices: RefCell<BTreeMap<ThingId, Known>>,
    /// The way to the line of each server that has devices.
    servers: RefCell<BTreeMap<SocketAddr, Rc<Orders>>>,
    /// Of each product, read once: when a model changes, the driver is started again.
    mappings: RefCell<BTreeMap<String, Result<Rc<Mapping>, String>>>,
    /// Where lines go that are to begin; there once the driver serves its first devices.
    begun: OnceCell<mpsc::UnboundedSender<Line>>,
    last_number: Cell<usize>,
}

/// A device that is served, and the way to it.
#[derive(Clone)]
struct Known {
    mapping: Rc<Mapping>,
    place: Place,
    orders: Rc<Orders>,
    /// Its number on its line.
    at: usize,
    is_gone: Rc<Cell<bool>>,
}

/// What is known of a device before it is served.
type Wanted = (DeviceInfo, Place, Rc<Mapping>);

impl Driver for Modbus {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        self.settings.set(Settings::read(&config)?);
        let (begun, lines) = mpsc::unbounded();
        let wanted = self.wanted(config.devices).await;
        if wanted.is_empty() {
            println!("there is no device that can be served");
        }
        self.serve(wanted, self.begun.get_or_init(|| begun));
        // For as long as the driver lives: lines begin and end with their devices.
        lines.for_each_concurrent(None, Line::run).await;
        Ok(())
    }

    async fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault> {
        let device = self.device(thing)?;
        let points = &device.mapping.points;
        let (are_named, find) = (device.mapping.are_named(&identifiers), |identifier: &String| device.mapping.find(identifier));
        let wanted: Vec<usize> = identifiers.iter().filter_map(find).collect();
        match identifiers.iter().find(|identifier| find(identifier).is_none()) {
            Some(unmapped) if are_named || wanted.is_empty() => return Err(not_mapped(unmapped)),
            _ => {}
        }
        let (values, missing) = device.orders.ask(device.at, |answer| What::Get(wanted, answer)).await?;
        match missing {
            Some(fault) if are_named || values.is_empty() => return Err(fault),
            _ => {}
        }
        Ok(values.into_iter().map(|(at, value)| (points[at].identifier.clone(), value)).collect())
    }

    async fn set_properties(&self, thing: &ThingId, properties: Properties) -> Result<(), Fault> {
        let device = self.device(thing)?;
        let mut values = Vec::with_capacity(properties.len());
        for property in &properties {
            let at = device.mapping.find(&property.identifier).ok_or_else(|| not_mapped(&property.identifier))?;
            values.push(encoded(&device.mapping, at, property)?);
        }
        device.orders.ask(device.at, |answer| What::Set(values, answer)).await
    }

    async fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        let device = self.device(thing)?;
        let service = device.mapping.service(service).ok_or_else(|| {
            let message = format!("service `{service}` has no mapping in the product's `tsl_ext`, or a wrong one; the driver's log says");
            Fault::new(Fault::SERVICE_NOT_EXIST, message)
        })?;
        let writes = service.writes(&arguments, |at, argument| encoded(&device.mapping, at, argument))?;
        let values = device.orders.ask(device.at, |answer| What::Call(writes, service.reads(), answer)).await?;
        Ok(values.into_iter().filter_map(|(at, value)| Some((service.output(at)?.to_owned(), value))).collect())
    }

    /// Takes over settings, intervals, and which devices there are and where. Devices of which nothing has changed do not notice.
    async fn config_changed(&self, config: DriverConfig) -> Result<(), Fault> {
        let settings = Settings::read(&config).map_err(|wrong| Fault::new(Fault::INVALID_PARAM, wrong))?;
        let begun = self.begun.get().ok_or_else(|| Fault::new(Fault::UNKNOWN, "the driver is about to start"))?;
        let wanted = self.wanted(config.devices).await;
        self.settings.set(settings);
        self.serve(wanted, begun);
        Ok(())
    }
}

impl Modbus {
    /// The devices that can be served. What is wrong with another is said.
    async fn wanted(&self, devices: Vec<DeviceInfo>) -> BTreeMap<ThingId, Wanted> {
        let mut wanted = BTreeMap::new();
        for info in devices {
            let mapping = self.mapping(&info.product_key).await;
            match Place::read(&info.custom).and_then(|place| Ok((place, mapping?))) {
                Ok((place, mapping)) => drop(wanted.insert(ThingId::new(&info.product_key, &info.device_name), (info, place, mapping))),
                Err(wrong) => println!("device `{}/{}` is left out: {wrong}", info.product_key, info.device_name),
            }
        }
        wanted
    }

    async fn mapping(&self, product_key: &str) -> Result<Rc<Mapping>, String> {
        let known = self.mappings.borrow().get(product_key).cloned();
        if let Some(known) = known {
            return known;
        }
        let mapping = mapping_of(product_key).await;
        self.mappings.borrow_mut().insert(product_key.to_owned(), mapping.clone());
        mapping
    }

    /// Serves these devices from now on, and no others.
    fn serve(&self, wanted: BTreeMap<ThingId, Wanted>, begun: &mpsc::UnboundedSender<Line>) {
        let stays = |id: &ThingId, known: &Known| wanted.get(id).is_some_and(|(_, place, _)| place.is_where(&known.place));
        let gone: Vec<Known> = self.devices.borrow_mut().extract_if(.., |id, known| !stays(id, known)).map(|(_, known)| known).collect();
        for known in gone {
            known.is_gone.set(true);
            known.orders.tell(known.at, What::Remove);
        }
        // A line whose last device has gone is about to end.
        let has_device = |server: &SocketAddr| self.devices.borrow().values().any(|known| known.place.server == *server);
        self.servers.borrow_mut().retain(|server, _| has_device(server));

        let mut new = BTreeMap::<SocketAddr, Vec<(ThingId, Wanted)>>::new();
        for (id, (info, place, mapping)) in wanted {
            match self.devices.borrow_mut().get_mut(&id) {
                Some(known) => {
                    known.orders.tell(known.at, What::Interval(place.interval.unwrap_or(self.settings.get().interval)));
                    known.place = place;
                }
                None => new.entry(place.server).or_default().push((id, (info, place, mapping))),
            }
        }
        new.into_iter().for_each(|(server, devices)| self.add(server, devices, begun));
    }

    /// Puts new devices on the line of their server, or on a new one.
    fn add(&self, server: SocketAddr, new: Vec<(ThingId, Wanted)>, begun: &mpsc::UnboundedSender<Line>) {
        let line = self.servers.borrow().get(&server).cloned();
        let (orders, receiver) = match line {
            Some(orders) => (orders, None),
            None => {
                let (orders, receiver) = order::channel();
                (Rc::new(orders), Some(receiver))
            }
        };
        let devices = new.into_iter().map(|(id, wanted)| self.device_of(id, wanted, &orders));
        match receiver {
            None => devices.for_each(|(number, device)| orders.tell(number, What::Add(Box::new(device)))),
            Some(receiver) => {
                let line = Line::new(server, devices.collect(), receiver, self.settings.clone());
                // The receiver of lines lives as long as the driver.
                let _ = begun.unbounded_send(line);
                self.servers.borrow_mut().insert(server, orders.clone());
            }
        }
    }

    fn device_of(&self, id: ThingId, (info, place, mapping): Wanted, orders: &Rc<Orders>) -> (usize, Device) {
        let (settings, at) = (self.settings.get(), self.last_number.get() + 1);
        self.last_number.set(at);
        let interval = place.interval.unwrap_or(settings.interval);
        let device = Device::new(info, place.unit, mapping.clone(), interval, &settings, clock::now());
        let known = Known { mapping, place, orders: orders.clone(), at, is_gone: device.is_gone() };
        self.devices.borrow_mut().insert(id, known);
        (at, device)
    }

    fn device(&self, id: &ThingId) -> Result<Known, Fault> {
        let device = self.devices.borrow().get(id).cloned();
        device.ok_or_else(|| Fault::new(Fault::DEVICE_UNREGISTER, format!("`{id}` is not served; the driver's log says why")))
    }
}

/// The mapping of a product. What of it is wrong is said; an error if nothing is right.
async fn mapping_of(product_key: &str) -> Result<Rc<Mapping>, String> {
    let read = async {
        let tsl = thing_access::get_tsl(product_key).await.map_err(|fault| fault.message)?;
        let extension = thing_access::get_tsl_ext_info(product_key).await.map_err(|fault| fault.message)?;
        mapping::read(&tsl, &extension)
    };
    let mapping = read.await.map_err(|wrong| format!("its product's mapping: {wrong}"))?;
    for (what, reason) in &mapping.problems {
        println!("product `{product_key}`, {what} is left out: {reason}");
    }
    if mapping.points.is_empty() {
        return Err(format!("nothing of product `{product_key}` is mapped"));
    }
    Ok(Rc::new(mapping))
}

/// A value that is set, or an argument of a call, as it goes to its point.
fn encoded(mapping: &Mapping, at: usize, value: &Property) -> Result<Encoded, Fault> {
    let words = model::raw(&value.value).and_then(|raw| mapping.points[at].layout.encode(&raw));
    let wrong = |wrong| Fault::new(Fault::PARAM_RANGE_OVERFLOW, format!("`{}`: {wrong}", value.identifier));
    words.map(|words| (at, words)).map_err(wrong)
}

fn not_mapped(identifier: &str) -> Fault {
    Fault::new(
        Fault::PROPERTY_NOT_EXIST,
        format!("`{identifier}` has no mapping in the product's `tsl_ext`, or a wrong one; the driver's log says"),
    )
}
