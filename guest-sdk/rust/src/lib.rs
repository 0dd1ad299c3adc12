//! Functions and device drivers for the Ledge edge gateway, in Rust.
//!
//! A function is one handler:
//! ```
//! use ledge_sdk::handler::Context;
//!
//! ledge_sdk::function!(handle);
//!
//! fn handle(event: Vec<u8>, context: Context) -> Result<String, ledge_sdk::Error> {
//!     Ok(format!("{} was called with {} bytes", context.function, event.len()))
//! }
//! ```
//! A function that stays is one type that implements `persistent::Persistent`, made known with `persistent!`; a driver is one that implements
//! `device::Driver`, made known with `driver!`, or `blocking::Driver` with `blocking_driver!` (all with the feature `driver`, on by default).
//!
//! Each module carries the name of the WIT interface that it wraps. Build with
//! `cargo build --release --target wasm32-wasip2` and `crate-type = ["cdylib"]`: the `.wasm` is the component.
//! Deliberately absent: threads, and any way around the grants that `ledge.toml` gives a component.

#![warn(missing_docs)]

// The generated `export!` macros name this crate as their users see it.
extern crate self as ledge_sdk;

pub mod credentials;
pub mod fc;
pub mod handler;
pub mod iot_data;
pub mod kv;

#[cfg(feature = "driver")]
pub mod blocking;
#[cfg(feature = "driver")]
pub mod clock;
#[cfg(feature = "driver")]
pub mod device;
#[cfg(feature = "driver")]
pub mod gateway_info;
#[cfg(feature = "driver")]
pub mod listen;
#[cfg(feature = "driver")]
pub mod persistent;
#[cfg(feature = "driver")]
pub mod tcp;
#[cfg(feature = "driver")]
pub mod thing_access;

mod product_uses;
mod types;
pub mod value;

#[doc(hidden)]
pub mod bindings;

/// The JSON of `compound` values and of driver configurations, so that a guest need not name a version of its own.
pub use serde_json;

pub use types::{Error, Fault, ThingId};
