//! What starts a call besides the API: routes, timers, automation rules, the queue's workers, and the prefixes of HTTP requests.

pub mod http;
pub mod route;
pub mod rule;
pub mod timer;
pub mod worker;
