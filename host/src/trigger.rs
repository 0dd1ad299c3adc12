//! What starts a call besides the API: routes, the queue's workers, and the prefixes of HTTP requests.
//!
//! Timers and rules come with later issues.

pub mod http;
pub mod route;
pub mod timer;
pub mod worker;
