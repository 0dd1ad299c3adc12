//! One server with the devices behind it: a loop that connects, obeys orders, and polls. It ends with its last device.
//!
//! One request is under way at a time. Orders come before polls, and wait for the request that is under way at most.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::mpsc;
use futures_util::future::{Either, FutureExt, select};
use futures_util::stream::StreamExt;
use ledge_sdk::value::Value;
use ledge_sdk::{Fault, clock};

use crate::config::Settings;
use crate::device::{Device, Devices, Found};
use crate::link::{Link, Repeat};
use crate::mapping::{Area, Point, WriteBy};
use crate::order::{Got, Order, What};
use crate::pdu::{Answer, ILLEGAL_ADDRESS, Request};
use crate::plan::{self, Read};
use crate::trouble::Trouble;
use crate::write::{self, Encoded, Write};

pub struct Line {
    server: SocketAddr,
    link: Link,
    devices: Devices,
    orders: mpsc::UnboundedReceiver<Order>,
    settings: Rc<Cell<Settings>>,
    poll: Option<Poll>,
    /// What was written, by its device: it is read again at once.
    written: BTreeMap<usize, BTreeSet<usize>>,
    /// Whether an order was the last that was done.
    has_obeyed: bool,
}

/// A poll that is under way.
struct Poll {
    device: usize,
    /// None: it is out of turn.
    cycle: Option<usize>,
    reading: Reading,
}

/// Requests that read one after another, and what they have brought.
#[derive(Default)]
struct Reading {
    reads: Vec<Read>,
    at: usize,
    found: Vec<Found>,
    /// What is not read, and why.
    refused: Vec<(usize, Trouble)>,
}

enum Next {
    Obey(Order),
    Connect,
    Begin(Poll),
    Read,
}

/// An order that has waited longer is not carried out: whoever gave it was told that it failed.
const ORDER_AGE_MAX: Duration = Duration::from_secs(10);

impl Line {
    pub fn new(server: SocketAddr, devices: Devices, orders: mpsc::UnboundedReceiver<Order>, settings: Rc<Cell<Settings>>) -> Self {
        Self { server, link: Link::new(server), devices, orders, settings, poll: None, written: BTreeMap::new(), has_obeyed: false }
    }

    pub async fn run(mut self) {
        while !self.devices.is_empty() {
            match self.next().await {
                Next::Obey(order) => self.obey(order).await,
                Next::Connect => self.connect().await,
                Next::Begin(poll) => self.poll = Some(poll),
                Next::Read => self.poll().await,
            }
        }
    }

    /// What is to be done next, once it is time.
    async fn next(&mut self) -> Next {
        loop {
            // Between two orders there is time for one request of the polls: whoever asks without end does not stop them.
            let is_turn_of_polls = std::mem::take(&mut self.has_obeyed);
            if !is_turn_of_polls && let Some(Some(order)) = self.orders.next().now_or_never() {
                self.has_obeyed = true;
                return Next::Obey(order);
            }
            if self.poll.is_some() && self.link.is_open() {
                return Next::Read;
            }
            if let Some(poll) = self.read_back() {
                return Next::Begin(poll);
            }
            let (at, next) = self.due();
            let pause = at.saturating_sub(clock::now());
            if pause.is_zero() {
                return next;
            }
            if let Either::Left((Some(order), _)) = select(self.orders.next(), Box::pin(clock::sleep(pause))).await {
                self.has_obeyed = true;
                return Next::Obey(order);
            }
        }
    }

    fn due(&self) -> (Duration, Next) {
        if !self.link.is_open() {
            let until = self.devices.iter().map(|(_, one)| self.link.pauses.until(one.unit)).min();
            return (until.unwrap_or_default(), Next::Connect);
        }
        let next = |(device, one): (&usize, &Device)| {
            let (at, cycle) = one.due()?;
            Some((at.max(self.link.pauses.until(one.unit)), *device, cycle))
        };
        match self.devices.iter().filter_map(next).min() {
            Some((at, device, cycle)) => {
                let reads = self.devices[device].cycles[cycle].reads.clone();
                (at, Next::Begin(Poll { device, cycle: Some(cycle), reading: Reading::of(reads) }))
            }
            // Nothing is ever polled: look again in an hour, if no order comes.
            None => (clock::now() + Duration::from_secs(3_600), Next::Read),
        }
    }

    /// The poll of what was written to some device.
    fn read_back(&mut self) -> Option<Poll> {
        let (device, points) = self.written.pop_first()?;
        let points = points.into_iter().filter(|at| self.devices[device].mapping.points[*at].is_readable);
        let reads = plan::reads(&self.devices[device].mapping.points, points, self.settings.get().gap);
        (!reads.is_empty() && self.link.is_open()).then(|| Poll { device, cycle: None, reading: Reading::of(reads) })
    }

    async fn connect(&mut self) {
        match self.link.connect(&self.settings.get()).await {
            Ok(()) => {
                // There is nothing to ask them, so they are there with their server.
                for device in self.devices.values_mut() {
                    device.has_server().await;
                }
            }
            Err(trouble) => self.lost(&trouble).await,
        }
    }

    /// Nothing can be reached.
    async fn lost(&mut self, trouble: &Trouble) {
        self.poll = None;
        for device in self.devices.values_mut() {
            let became = device.presence.unreachable();
            device.became(became, format_args!("{}: {trouble}", self.server)).await;
        }
    }

    /// One request to a device, and what it says of the device's presence.
    async fn exchange(&mut self, at: usize, request: &Request, repeat: Repeat) -> Result<Answer, Trouble> {
        let settings = self.settings.get();
        let exchanged = self.link.exchange(self.devices[at].unit, request, repeat, &settings).await;
        let device = &mut self.devices[at];
        match &exchanged {
            // It had broken, and could not be made again.
            Err(trouble @ Trouble::NotConnected(_)) => self.lost(trouble).await,
            Err(trouble) if !trouble.is_refusal() => {
                let became = device.presence.missed(&settings, clock::now());
                let unit = device.unit;
                device.became(became, format_args!("unit {unit} at {}: {trouble}", self.server)).await;
            }
            _ => {
                let became = device.presence.answered();
                device.became(became, "").await;
            }
        }
        exchanged
    }

    /// The next request of a reading. An error: the device does not answer, and what is left is not asked.
    async fn read_next(&mut self, device: usize, reading: &mut Reading) -> Result<(), Trouble> {
        let Some(read) = reading.reads.get(reading.at).cloned() else { return Ok(()) };
        let mapping = self.devices[device].mapping.clone();
        match self.exchange(device, &read.request(), Repeat::IfClosed).await {
            Ok(answer) => {
                reading.found.extend(read.values(&mapping.points, &answer));
                reading.at += 1;
            }
            Err(refusal) if refusal.is_refusal() => {
                let parts = (refusal.exception() == Some(ILLEGAL_ADDRESS)).then(|| read.split(&mapping.points)).flatten();
                if let Some(parts) = parts {
                    reading.reads.splice(reading.at..=reading.at, parts);
                } else {
                    for at in read.points {
                        self.devices[device].tell_once(at, &format!("it is not read: {refusal}"));
                        reading.refused.push((at, refusal.clone()));
                    }
                    reading.at += 1;
                }
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// The next request of the poll that is under way, and the report after the last.
    async fn poll(&mut self) {
        let Some(mut poll) = self.poll.take() else { return };
        let read = self.read_next(poll.device, &mut poll.reading).await;
        if read.is_ok() && poll.reading.has_more() {
            self.poll = Some(poll);
            return;
        }
        let device = &mut self.devices[poll.device];
        let values = device.values(poll.reading.found);
        device.report(values).await;
        if let (Ok(()), Some(cycle)) = (read, poll.cycle) {
            let cycle = &mut device.cycles[cycle];
            cycle.done(clock::now());
            // What had to be split, is asked so from now on.
            cycle.reads = poll.reading.reads;
        }
    }

    async fn obey(&mut self, Order { device, asked_at, what, .. }: Order) {
        let is_too_old = clock::now().saturating_sub(asked_at) > ORDER_AGE_MAX;
        // Whoever has left needs no answer.
        match what {
            What::Add(added) => self.devices.add(device, *added, self.link.is_open()).await,
            _ if !self.devices.contains(device) => {}
            What::Remove => self.remove(device),
            What::Interval(interval) => {
                let now = clock::now();
                self.devices[device].cycles.iter_mut().for_each(|cycle| cycle.set_interval(interval, now));
            }
            What::Get(..) | What::Set(..) | What::Call(..) if is_too_old => {}
            What::Get(points, answer) => {
                let _ = answer.send(self.read(device, points).await);
            }
            What::Set(values, answer) => {
                let _ = answer.send(self.set(device, values, Repeat::IfClosed).await);
            }
            What::Call(writes, reads, answer) => {
                let _ = answer.send(self.call(device, writes, reads).await);
            }
        }
    }

    fn remove(&mut self, device: usize) {
        self.devices.remove(device);
        self.written.remove(&device);
        self.poll = self.poll.take().filter(|poll| poll.device != device);
    }

    /// Every output, or none. Nothing is written twice.
    async fn call(&mut self, device: usize, writes: Vec<Encoded>, reads: Vec<usize>) -> Result<Vec<(usize, Value)>, Fault> {
        self.probe(device, &writes).await?;
        self.set(device, writes, Repeat::Never).await?;
        match self.read(device, reads).await? {
            (_, Some(wrong)) => Err(wrong),
            (values, None) => Ok(values),
        }
    }

    /// Finds out by reading whether the server has closed an idle connection: what is written then is not repeated.
    async fn probe(&mut self, device: usize, writes: &[Encoded]) -> Result<(), Fault> {
        self.reachable(device).await?;
        let Some((at, _)) = writes.first().filter(|_| !self.link.is_fresh()) else { return Ok(()) };
        let point = &self.devices[device].mapping.points[*at];
        let request = match point.area {
            Area::Coil => Request::ReadCoils { start: point.address, count: 1 },
            _ => Request::ReadHolding { start: point.address, count: 1 },
        };
        match self.exchange(device, &request, Repeat::IfClosed).await {
            // It may be that nobody can read it.
            Err(trouble) if !trouble.is_refusal() => Err(self.fault(device, &trouble)),
            _ => Ok(()),
        }
    }

    /// What there is of the values of these points.
    async fn read(&mut self, device: usize, points: Vec<usize>) -> Result<Got, Fault> {
        self.reachable(device).await?;
        let mapping = self.devices[device].mapping.clone();
        let reads = plan::reads(&mapping.points, points.iter().copied(), self.settings.get().gap);
        let mut reading = Reading::of(reads);
        while reading.has_more() {
            self.read_next(device, &mut reading).await.map_err(|trouble| self.fault(device, &trouble))?;
        }
        let mut missing = reading.missing(&mapping.points);
        let first = points.iter().find_map(|at| missing.remove(at));
        Ok((self.devices[device].values(reading.found), first))
    }

    async fn set(&mut self, device: usize, values: Vec<Encoded>, repeat: Repeat) -> Result<(), Fault> {
        self.reachable(device).await?;
        let mapping = self.devices[device].mapping.clone();
        let writes = write::writes(&mapping.points, values);
        for (at, Write { points, what }) in writes.iter().enumerate() {
            if let Err(unwritten) = self.write(device, what, repeat).await {
                let names = write::names(&mapping.points, &writes[at..=at]);
                let others = write::others(&mapping.points, &writes[..at], &writes[at + 1..]);
                let fault = unwritten.fault(&names);
                return Err(Fault::new(fault.code, fault.message + &others));
            }
            self.written.entry(device).or_default().extend(points);
        }
        Ok(())
    }

    async fn write(&mut self, device: usize, what: &write::What, repeat: Repeat) -> Result<(), Unwritten> {
        match what {
            write::What::Request(request) => drop(self.exchange(device, request, repeat).await?),
            write::What::ReadBack(request) => {
                let Request::WriteAndRead { values, .. } = request else { return Ok(()) };
                let answer = self.exchange(device, request, repeat).await?;
                if answer != Answer::Registers(values.clone()) {
                    return Err(Unwritten::Kept(format!("the device was to have {values:?} in its registers, and answers {answer:?}")));
                }
            }
            &write::What::Field { address, mask, value, write_by } => {
                let answer = self.exchange(device, &Request::ReadHolding { start: address, count: 1 }, Repeat::IfClosed).await?;
                let Answer::Registers(registers) = answer else { return Ok(()) };
                let register = registers.first().map_or(0, |register| register & !mask) | value;
                let request = match write_by {
                    WriteBy::Single => Request::WriteRegister { address, value: register },
                    _ => Request::WriteRegisters { start: address, values: vec![register] },
                };
                self.exchange(device, &request, repeat).await?;
            }
        }
        Ok(())
    }

    /// Whether it makes sense to ask the device now.
    async fn reachable(&mut self, device: usize) -> Result<(), Fault> {
        let has_to_wait = self.link.pauses.until(self.devices[device].unit) > clock::now();
        if has_to_wait && self.link.is_open() {
            let why = "the last one broke when it was asked, and it is asked again after a pause; others go on";
            return Err(self.fault(device, &Trouble::NotConnected(why.into())));
        }
        if !has_to_wait && !self.link.is_open() {
            self.connect().await;
        }
        if !self.link.is_open() {
            return Err(self.fault(device, &self.link.not_connected()));
        }
        let one = &self.devices[device];
        if !one.presence.is_online() {
            return Err(Fault::new(Fault::DEVICE_OFFLINE, format!("unit {} at {} does not answer", one.unit, self.server)));
        }
        Ok(())
    }

    fn fault(&self, device: usize, trouble: &Trouble) -> Fault {
        trouble.fault(format_args!("unit {} at {}", self.devices[device].unit, self.server))
    }
}

enum Unwritten {
    Trouble(Trouble),
    Kept(String),
}

impl Unwritten {
    fn fault(&self, names: &str) -> Fault {
        match self {
            // The device may have done it, and only its answer was lost.
            Self::Trouble(trouble) if !trouble.is_refusal() => trouble.fault(format_args!("whether {names} is set is not known")),
            Self::Trouble(trouble) => trouble.fault(format_args!("{names} is not set")),
            Self::Kept(kept) => Fault::new(Fault::UNKNOWN, format!("{names} is not set: {kept}")),
        }
    }
}

impl From<Trouble> for Unwritten {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Reading {
    fn of(reads: Vec<Read>) -> Self {
        Self { reads, ..Self::default() }
    }

    /// Why points have no value, of those that have none.
    fn missing(&self, points: &[Point]) -> BTreeMap<usize, Fault> {
        let refused =
            self.refused.iter().map(|(at, refusal)| (*at, refusal.fault(format_args!("`{}` is not read", points[*at].identifier))));
        let wrong = self.found.iter().filter_map(|(at, raw)| {
            let wrong = raw.clone().and_then(|raw| points[*at].model.value(&raw)).err()?;
            Some((*at, Fault::new(Fault::PARAM_RANGE_OVERFLOW, format!("`{}`: {wrong}", points[*at].identifier))))
        });
        refused.chain(wrong).collect()
    }

    fn has_more(&self) -> bool {
        self.at < self.reads.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Raw;
    use crate::mapping;
    use crate::pdu::BadAnswer;

    #[test]
    fn what_is_not_read_is_named_with_its_reason() {
        let property = |identifier: &str| {
            format!(r#"{{"identifier":"{identifier}","accessMode":"r","dataType":{{"type":"int","specs":{{"max":"9"}}}}}}"#)
        };
        let mapped = |identifier: &str| format!(r#"{{"identifier":"{identifier}","customize":{{"area":"holding","address":0}}}}"#);
        let list = |of: &dyn Fn(&str) -> String| format!(r#"{{"properties":[{}]}}"#, ["good", "gone", "large"].map(of).join(","));
        let mapping = mapping::read(&list(&property), &list(&mapped)).unwrap();
        let reading = Reading {
            found: vec![(2, Ok(Raw::Number(10.0))), (0, Ok(Raw::Number(1.0)))],
            refused: vec![(1, Trouble::BadAnswer(BadAnswer::Exception(ILLEGAL_ADDRESS)))],
            ..Reading::default()
        };
        let missing = |at: usize| reading.missing(&mapping.points).remove(&at).map(|fault| (fault.code, fault.message));
        assert_eq!(missing(0), None);
        assert_eq!(missing(1), Some((109_012, "`gone` is not read: exception 2, illegal data address".into())));
        assert_eq!(missing(2), Some((Fault::PARAM_RANGE_OVERFLOW, "`large`: 10 is not within the TSL's -2147483648 to 9".into())));
        let asked = |names: &[&str]| mapping.are_named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(asked(&["good", "gone"]) && !asked(&["good", "gone", "large"]));
    }
}
