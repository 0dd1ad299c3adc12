//! An accepted invocation, and what is known of it in each of its states.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call_path::CallPath;
use crate::name::FunctionName;

/// What somebody wants to be invoked later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: Uuid,
    pub target: FunctionName,
    pub event: Bytes,
    pub invoker_context: String,
    /// The calls that led to it.
    pub path: CallPath,
    /// How many jobs of this target may run at once: the function's own concurrency.
    pub concurrency: u32,
    /// A job of the same target with the same key is the same job, for [`KEPT`](super::KEPT).
    pub key: Option<String>,
    /// When it was accepted, in milliseconds since 1970. The queue sets it.
    pub accepted_ms: u64,
    /// What was tried and failed.
    pub attempts: Vec<Attempt>,
    /// Before it is tried again.
    pub pause: Option<Pause>,
}

impl Job {
    pub fn new(target: FunctionName, event: impl Into<Bytes>, concurrency: u32) -> Self {
        Self {
            id: Uuid::new_v4(),
            target,
            event: event.into(),
            invoker_context: String::new(),
            path: CallPath::default(),
            concurrency,
            key: None,
            accepted_ms: 0,
            attempts: Vec::new(),
            pause: None,
        }
    }

    /// What it counts for in the limit of bytes.
    pub fn bytes(&self) -> usize {
        ROW_BYTES + self.event.len() + self.invoker_context.len() + self.attempts.iter().map(|attempt| attempt.error.len()).sum::<usize>()
    }
}

/// What a job takes besides its texts.
const ROW_BYTES: usize = 256;

/// A try that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Milliseconds since 1970.
    pub began_ms: u64,
    pub error: String,
}

/// A time to wait, told so that a clock that is set meanwhile makes it neither longer nor endless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it began, in milliseconds since 1970.
    pub from_ms: u64,
    pub for_ms: u64,
}

/// How a job that is over has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub id: Uuid,
    pub target: FunctionName,
    /// Tries, the last one included.
    pub attempts: u32,
    pub accepted_ms: u64,
    pub ended_ms: u64,
    /// What its target and key are known by, if it had a key.
    pub key: Option<u128>,
    /// The error of the last try; it is a dead letter then. Nothing where it went well.
    pub error: Option<String>,
    /// The bytes of its result, where that is kept.
    pub result_bytes: Option<u32>,
}

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub job: Job,
    /// Milliseconds since 1970.
    pub died_ms: u64,
}

/// Where a job is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for its function, or for its next try in so many milliseconds.
    Waiting {
        target: FunctionName,
        accepted_ms: u64,
        attempts: u32,
        next_ms: Option<u64>,
    },
    Running {
        target: FunctionName,
        accepted_ms: u64,
        attempts: u32,
    },
    Ended(Ended),
}

/// Checks an idempotency key.
pub fn check_key(key: &str) -> Result<(), String> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) { Ok(()) } else { Err(format!("an idempotency key has 1 to {KEY_BYTES_MAX} bytes")) }
}

const KEY_BYTES_MAX: usize = 128;

/// A text that is kept of a guest's.
pub fn shortened(text: &str) -> String {
    let mut end = text.len().min(ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

const ERROR_BYTES_MAX: usize = 1_024;
