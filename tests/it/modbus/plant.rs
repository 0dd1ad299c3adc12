//! A Modbus server with devices behind it, on tokio-modbus: it keeps what is written, and notes what is asked.

use std::collections::BTreeMap;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_modbus::prelude::*;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;

pub struct Plant {
    pub address: SocketAddr,
    devices: Arc<Devices>,
    serving: Option<JoinHandle<()>>,
}

/// One device's memory.
#[derive(Clone, Debug)]
pub struct Unit {
    pub coils: Vec<bool>,
    pub discrete: Vec<bool>,
    pub holding: Vec<u16>,
    pub input: Vec<u16>,
    /// It answers nothing.
    pub is_silent: bool,
    /// How long it takes to answer.
    pub delay: Duration,
    /// It knows no such functions.
    pub unknown: Vec<u8>,
}

#[derive(Default)]
struct Devices {
    units: Mutex<BTreeMap<u8, Unit>>,
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<usize>,
}

/// A request as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub unit: u8,
    pub code: u8,
    pub start: u16,
    pub count: u16,
}

impl Unit {
    pub fn new(size: usize) -> Self {
        let (bits, registers) = (vec![false; size], vec![0; size]);
        let (coils, holding) = (bits.clone(), registers.clone());
        Self { coils, discrete: bits, holding, input: registers, is_silent: false, delay: Duration::ZERO, unknown: vec![] }
    }
}

impl Plant {
    /// A plant of these devices, on a free port.
    pub async fn start(units: impl IntoIterator<Item = (u8, Unit)>) -> Self {
        let devices = Devices { units: Mutex::new(units.into_iter().collect()), ..Devices::default() };
        let mut plant = Self { address: "127.0.0.1:0".parse().unwrap(), devices: Arc::new(devices), serving: None };
        plant.serve().await;
        plant
    }

    /// Serves again, where it served before.
    pub async fn serve(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let devices = self.devices.clone();
        self.serving = Some(tokio::spawn(async move {
            let connected = |stream, _| {
                *devices.connections.lock().unwrap() += 1;
                ready(Ok(Some((devices.clone(), stream))))
            };
            Server::new(listener).serve(&connected, |_| ()).await.unwrap();
        }));
    }

    /// Closes its port and all connections.
    pub async fn stop(&mut self) {
        let Some(serving) = self.serving.take() else { return };
        serving.abort();
        let _ = serving.await;
    }

    /// How many connections were taken so far.
    pub fn connections(&self) -> usize {
        *self.devices.connections.lock().unwrap()
    }

    pub fn change(&self, unit: u8, change: impl FnOnce(&mut Unit)) {
        change(self.devices.units.lock().unwrap().get_mut(&unit).unwrap());
    }

    pub fn unit(&self, unit: u8) -> Unit {
        self.devices.units.lock().unwrap()[&unit].clone()
    }

    /// What was asked since this was last called.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.devices.seen.lock().unwrap())
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

impl Service for Devices {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Pin<Box<dyn Future<Output = Result<Option<Response>, ExceptionCode>> + Send>>;

    fn call(&self, SlaveRequest { slave, request }: Self::Request) -> Self::Future {
        let code = request.function_code().value();
        let (start, count) = place(&request);
        self.seen.lock().unwrap().push(Seen { unit: slave, code, start, count });
        let mut units = self.units.lock().unwrap();
        let Some(unit) = units.get_mut(&slave).filter(|unit| !unit.is_silent) else { return Box::pin(ready(Ok(None))) };
        let delay = unit.delay;
        let answer = if unit.unknown.contains(&code) { Err(ExceptionCode::IllegalFunction) } else { unit.answer(request).map(Some) };
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            answer
        })
    }
}

fn place(request: &Request) -> (u16, u16) {
    match request {
        Request::ReadCoils(start, count)
        | Request::ReadDiscreteInputs(start, count)
        | Request::ReadHoldingRegisters(start, count)
        | Request::ReadInputRegisters(start, count) => (*start, *count),
        Request::WriteMultipleCoils(start, coils) => (*start, coils.len() as u16),
        Request::WriteMultipleRegisters(start, words) => (*start, words.len() as u16),
        Request::ReadWriteMultipleRegisters(_, _, start, words) => (*start, words.len() as u16),
        Request::WriteSingleCoil(address, _) | Request::WriteSingleRegister(address, _) | Request::MaskWriteRegister(address, ..) => {
            (*address, 1)
        }
        _ => (0, 0),
    }
}

impl Unit {
    fn answer(&mut self, request: Request) -> Result<Response, ExceptionCode> {
        Ok(match request {
            Request::ReadCoils(start, count) => Response::ReadCoils(part(&self.coils, start, count)?),
            Request::ReadDiscreteInputs(start, count) => Response::ReadDiscreteInputs(part(&self.discrete, start, count)?),
            Request::ReadHoldingRegisters(start, count) => Response::ReadHoldingRegisters(part(&self.holding, start, count)?),
            Request::ReadInputRegisters(start, count) => Response::ReadInputRegisters(part(&self.input, start, count)?),
            Request::WriteSingleCoil(address, on) => {
                put(&mut self.coils, address, &[on])?;
                Response::WriteSingleCoil(address, on)
            }
            Request::WriteSingleRegister(address, word) => {
                put(&mut self.holding, address, &[word])?;
                Response::WriteSingleRegister(address, word)
            }
            Request::WriteMultipleCoils(start, coils) => {
                put(&mut self.coils, start, &coils)?;
                Response::WriteMultipleCoils(start, coils.len() as u16)
            }
            Request::WriteMultipleRegisters(start, words) => {
                put(&mut self.holding, start, &words)?;
                Response::WriteMultipleRegisters(start, words.len() as u16)
            }
            Request::MaskWriteRegister(address, and, or) => {
                let [old] = part(&self.holding, address, 1)?[..] else { return Err(ExceptionCode::IllegalDataAddress) };
                put(&mut self.holding, address, &[(old & and) | (or & !and)])?;
                Response::MaskWriteRegister(address, and, or)
            }
            Request::ReadWriteMultipleRegisters(read, count, start, words) => {
                put(&mut self.holding, start, &words)?;
                Response::ReadWriteMultipleRegisters(part(&self.holding, read, count)?)
            }
            _ => return Err(ExceptionCode::IllegalFunction),
        })
    }
}

fn part<T: Copy>(memory: &[T], start: u16, count: u16) -> Result<Vec<T>, ExceptionCode> {
    let start = usize::from(start);
    memory.get(start..start + usize::from(count)).map(<[T]>::to_vec).ok_or(ExceptionCode::IllegalDataAddress)
}

fn put<T: Copy>(memory: &mut [T], start: u16, values: &[T]) -> Result<(), ExceptionCode> {
    let start = usize::from(start);
    let place = memory.get_mut(start..start + values.len()).ok_or(ExceptionCode::IllegalDataAddress)?;
    place.copy_from_slice(values);
    Ok(())
}
