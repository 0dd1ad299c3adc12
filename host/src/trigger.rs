//! What starts an invocation without a caller who waits: routes, and the queue's workers.
//!
//! Timers, rules and other triggers come with later issues.

pub mod route;
pub mod worker;
