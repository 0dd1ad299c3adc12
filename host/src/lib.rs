//! Ledge, the gateway. `docs/ARCHITECTURE.md` says where everything is and which part may use which.

pub mod api;
pub mod auth;
pub mod bench;
pub mod cli;
pub mod config;
pub mod deploy;
pub mod gateway;

pub mod bindings;
pub mod bus;
pub mod capability;
pub mod driver;
pub mod function;
pub mod persistent;
pub mod queue;
pub mod rule;
pub mod runtime;
pub mod state;
pub mod supervisor;
pub mod thing;
pub mod trigger;

pub mod audit;
pub mod call_path;
pub mod clock;
pub mod grant;
pub mod limit;
pub mod memory;
pub mod metric;
pub mod name;
pub mod schedule;
pub mod seal;
pub mod set;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod topic;
