//! `credentials`: short-lived credentials of the cloud (manual 2.2.7).
//!
//! The gateway has no source of them until it has an uplink; until then every call says so.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::Guest;
use crate::bindings::credentials::{self, Credential, Fault};
use crate::thing::fault;

/// The interface's part of a Store.
pub struct Credentials {
    pub guest: Arc<Guest>,
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = &'a mut Credentials;
}

pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&mut T) -> &mut Credentials) -> wasmtime::Result<()> {
    credentials::add_to_linker::<T, Linked>(linker, get)
}

impl credentials::Host for Credentials {
    async fn get(&mut self) -> Result<Credential, Fault> {
        if !self.guest.grants.credentials {
            return Err(self.guest.denied("credentials", true));
        }
        let message = "this gateway is not connected to a cloud that gives credentials".to_owned();
        Err(Fault { code: fault::SERVICE_UNREACHABLE, message })
    }
}
