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
mod pdu;
mod plan;
mod presence;
mod trouble;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
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
    devices: RefCell<BTreeMap<ThingId, Rc<Known>>>,
}

/// A device that is served, and the way to it.
struct Known {
    mapping: Rc<Mapping>,
    place: Place,
    orders: Rc<Orders>,
    /// Its number on its line.
    at: usize,
}

impl Driver for Modbus {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        self.settings.set(Settings::read(&config)?);
        let lines = self.lines(config.devices).await;
        if lines.is_empty() {
            println!("there is no device that can be served");
            std::future::pending::<()>().await;
        }
        join_all(lines.into_iter().map(Line::run)).await;
        Ok(())
    }

    async fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault> {
        let device = self.device(thing)?;
        let points = &device.mapping.points;
        let wanted: Vec<usize> = identifiers.iter().filter_map(|identifier| device.mapping.find(identifier)).collect();
        if wanted.is_empty() {
            return Err(not_mapped(&identifiers.join("`, `")));
        }
        let values = device.orders.ask(device.at, |answer| What::Get(wanted, answer)).await?;
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

    /// Takes over settings and polling intervals. For devices that are new, gone, or somewhere else now, the driver is started again.
    async fn config_changed(&self, config: DriverConfig) -> Result<(), Fault> {
        let settings = Settings::read(&config).map_err(|wrong| Fault::new(Fault::INVALID_PARAM, wrong))?;
        let intervals = config.devices.iter().map(|info| self.same_place(info)).collect::<Option<Vec<_>>>();
        let intervals = intervals.filter(|intervals| intervals.len() == self.devices.borrow().len());
        let moved = || Fault::new(Fault::UNKNOWN, "other devices, or some in other places, are there at the next start");
        for (known, interval) in intervals.ok_or_else(moved)? {
            known.orders.give(known.at, What::Interval(interval.unwrap_or(settings.interval)))?;
        }
        self.settings.set(settings);
        Ok(())
    }
}

impl Modbus {
    /// A device that is served where it is configured to be, and how often it is to be read now.
    fn same_place(&self, info: &DeviceInfo) -> Option<(Rc<Known>, Option<Duration>)> {
        let known = self.devices.borrow().get(&ThingId::new(&info.product_key, &info.device_name)).cloned()?;
        let place = Place::read(&info.custom).ok()?;
        ((place.server, place.unit) == (known.place.server, known.place.unit)).then_some((known, place.interval))
    }

    fn device(&self, id: &ThingId) -> Result<Rc<Known>, Fault> {
        let device = self.devices.borrow().get(id).cloned();
        device.ok_or_else(|| Fault::new(Fault::DEVICE_UNREGISTER, format!("`{id}` is not served; the driver's log says why")))
    }

    /// A line for each server, with its devices. What is wrong with a device or a property is said, and leaves the others alone.
    async fn lines(&self, devices: Vec<DeviceInfo>) -> Vec<Line> {
        let (mut mappings, mut servers) = (BTreeMap::new(), BTreeMap::<SocketAddr, Vec<(DeviceInfo, Place, Rc<Mapping>)>>::new());
        for info in devices {
            if !mappings.contains_key(&info.product_key) {
                mappings.insert(info.product_key.clone(), mapping_of(&info.product_key).await);
            }
            let mapping: Result<Rc<Mapping>, String> = mappings[&info.product_key].clone();
            match Place::read(&info.custom).and_then(|place| Ok((place, mapping?))) {
                Ok((place, mapping)) => servers.entry(place.server).or_default().push((info, place, mapping)),
                Err(wrong) => println!("device `{}/{}` is left out: {wrong}", info.product_key, info.device_name),
            }
        }
        servers.into_iter().map(|(server, devices)| self.line(server, devices)).collect()
    }

    fn line(&self, server: SocketAddr, devices: Vec<(DeviceInfo, Place, Rc<Mapping>)>) -> Line {
        let (orders, receiver) = order::channel();
        let (orders, settings, now) = (Rc::new(orders), self.settings.get(), clock::now());
        let mut on_line = Vec::with_capacity(devices.len());
        for (at, (info, place, mapping)) in devices.into_iter().enumerate() {
            let interval = place.interval.unwrap_or(settings.interval);
            let device = Device::new(info, place.unit, mapping.clone(), interval, &settings, now);
            self.devices.borrow_mut().insert(device.id.clone(), Rc::new(Known { mapping, place, orders: orders.clone(), at }));
            on_line.push(device);
        }
        Line::new(server, on_line, receiver, self.settings.clone())
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

fn not_mapped(identifiers: &str) -> Fault {
    Fault::new(
        Fault::PROPERTY_NOT_EXIST,
        format!("`{identifiers}` has no mapping in the product's `tsl_ext`, or a wrong one; the driver's log says"),
    )
}
