//! The error that guests and devices speak: a number of `le_error.h` (FACTS 1.2) or one of ours, and a sentence.

/// An error with its number. The message is for people; programs branch on the number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Fault {
    pub code: u32,
    pub message: String,
    /// What the device's side answered is wrong, and nothing that it was asked.
    pub is_of_answer: bool,
}

impl Fault {
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), is_of_answer: false }
    }

    /// The same, as a fault of what was answered.
    pub fn of_answer(self) -> Self {
        Self { is_of_answer: true, ..self }
    }
}

// le_error.h
pub const UNKNOWN: u32 = 100_000;
pub const INVALID_PARAM: u32 = 100_001;
pub const READING_FILE: u32 = 100_005;
pub const TIMEOUT: u32 = 100_006;
pub const PARAM_RANGE_OVERFLOW: u32 = 100_007;
pub const SERVICE_UNREACHABLE: u32 = 100_008;
pub const FILE_NOT_EXIST: u32 = 100_009;
pub const DEVICE_UNREGISTER: u32 = 109_000;
pub const DEVICE_OFFLINE: u32 = 109_001;
pub const PROPERTY_NOT_EXIST: u32 = 109_002;
pub const PROPERTY_READ_ONLY: u32 = 109_003;
pub const PROPERTY_WRITE_ONLY: u32 = 109_004;
pub const SERVICE_NOT_EXIST: u32 = 109_005;
pub const SERVICE_INPUT_PARAM: u32 = 109_006;
pub const INVALID_JSON: u32 = 109_007;
pub const INVALID_TYPE: u32 = 109_008;
// Ledge
/// No grant covers the call.
pub const NOT_GRANTED: u32 = 110_001;
/// A queue or a concurrency limit is full; the same call may pass later.
pub const TOO_MANY: u32 = 110_002;
pub const FUNCTION_NOT_EXIST: u32 = 110_003;
/// Calls are nested too deeply.
pub const CALL_DEPTH: u32 = 110_004;
