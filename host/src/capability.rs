//! What a guest may import, one file per WIT interface. Each owns its context and is linked by a getter,
//! so none of them knows what else a guest's Store holds.

pub mod credentials;
pub mod fc;
pub mod iot_data;
pub mod sockets;
pub mod thing_access;
pub mod values;
pub mod wasi;

use std::fmt;

use crate::audit::Audit;
use crate::bindings::types;
use crate::grant::{Denied, Grants};
use crate::thing::fault::{self, Fault};

/// Who calls: the identity and the grants of one deployed function or driver.
pub struct Guest {
    /// As people know it: `function EdgeFC/helloworld`, `driver light`.
    pub who: String,
    pub grants: Grants,
    pub audit: Audit,
}

impl Guest {
    /// The fault for a call that no grant covers, after a line in the audit.
    fn denied(&self, grant: &'static str, what: impl fmt::Display) -> types::Fault {
        let denied = Denied { who: self.who.clone(), grant, what: what.to_string() };
        self.audit.record(&self.who, "denied", &format!("{grant} {what}"));
        types::Fault { code: fault::NOT_GRANTED, message: denied.to_string() }
    }
}

impl From<Fault> for types::Fault {
    fn from(fault: Fault) -> Self {
        Self { code: fault.code, message: fault.message }
    }
}

impl From<types::Fault> for Fault {
    fn from(fault: types::Fault) -> Self {
        Self { code: fault.code, message: fault.message }
    }
}

impl From<types::ThingId> for crate::name::ThingId {
    fn from(id: types::ThingId) -> Self {
        Self { product_key: id.product_key, device_name: id.device_name }
    }
}

impl From<crate::name::ThingId> for types::ThingId {
    fn from(id: crate::name::ThingId) -> Self {
        Self { product_key: id.product_key, device_name: id.device_name }
    }
}
