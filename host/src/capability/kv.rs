//! `kv`: what a function remembers (`state`).

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::Guest;
use crate::bindings::kv::{self, Fault};
use crate::name::FunctionName;
use crate::state::{State, StateError};
use crate::thing::fault;

/// The interface's part of a Store.
pub struct Kv {
    pub guest: Arc<Guest>,
    pub state: Arc<State>,
    pub function: FunctionName,
    /// Of all keys and values together.
    pub bytes_max: usize,
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = &'a mut Kv;
}

pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&mut T) -> &mut Kv) -> wasmtime::Result<()> {
    kv::add_to_linker::<T, Linked>(linker, get)
}

/// Keys that one call lists.
const KEYS_MAX: usize = 1_000;

impl Kv {
    fn refused(&self, error: StateError) -> Fault {
        let code = match error {
            StateError::Key => fault::INVALID_PARAM,
            StateError::Disk => fault::SERVICE_UNREACHABLE,
            StateError::Full(bytes) => {
                self.guest.tell(Some("kv_bytes"), &format!("met its limit kv_bytes ({bytes})"));
                fault::TOO_MANY
            }
        };
        Fault { code, message: error.to_string() }
    }
}

impl kv::Host for Kv {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Fault> {
        let value = self.state.get(&self.function, &key).map_err(|error| self.refused(error))?;
        Ok(value.map(Vec::from))
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Fault> {
        let set = self.state.set(&self.function, self.bytes_max, &key, Some(value.into())).await;
        set.map(|_| ()).map_err(|error| self.refused(error))
    }

    async fn delete(&mut self, key: String) -> Result<bool, Fault> {
        let deleted = self.state.set(&self.function, self.bytes_max, &key, None).await;
        deleted.map(|before| before.is_some()).map_err(|error| self.refused(error))
    }

    async fn list_keys(&mut self, prefix: String, after: Option<String>, max: u32) -> Result<Vec<String>, Fault> {
        let max = (max as usize).min(KEYS_MAX);
        self.state.list(&self.function, &prefix, after.as_deref(), max).map_err(|error| self.refused(error))
    }

    async fn compare_and_swap(&mut self, key: String, expected: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Result<bool, Fault> {
        let value = value.map(Into::into);
        let swapped = self.state.swap(&self.function, self.bytes_max, &key, expected.as_deref(), value).await;
        swapped.map_err(|error| self.refused(error))
    }
}
