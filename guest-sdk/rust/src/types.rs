//! What the other modules share: errors, and the name of a thing.

use std::fmt;

/// Which call of a function this is.
#[derive(Clone, Debug)]
pub struct Context {
    /// Unique to this invocation, a UUID.
    pub request_id: String,
    /// What the caller gave, empty if nothing.
    pub invoker_context: String,
    /// The service under whose name this function was called.
    pub service: String,
    /// The name under which this function was called.
    pub function: String,
    /// Milliseconds that this call may still take, nested calls included.
    pub deadline_ms: u64,
}

/// Any error, for code whose caller only reads it. `?` takes a [`Fault`], a text and every other error type;
/// `downcast_ref::<Fault>()` gets the number back.
pub type Error = Box<dyn std::error::Error>;

/// An error as a number and a sentence. Programs branch on the number, people read the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One of the constants below, or a number of the driver's own.
    pub code: u32,
    /// What happened, to what, and what to do.
    pub message: String,
}

impl Fault {
    /// `le_error.h` 100000: anything that has no number of its own.
    pub const UNKNOWN: u32 = 100_000;
    /// `le_error.h` 100001: a parameter is missing or malformed.
    pub const INVALID_PARAM: u32 = 100_001;
    /// `le_error.h` 100006: the device did not answer in time.
    pub const TIMEOUT: u32 = 100_006;
    /// `le_error.h` 100007: a value is outside the range of the TSL.
    pub const PARAM_RANGE_OVERFLOW: u32 = 100_007;
    /// `le_error.h` 100008: what would have to answer is not there.
    pub const SERVICE_UNREACHABLE: u32 = 100_008;
    /// `le_error.h` 100009: no such file or product.
    pub const FILE_NOT_EXIST: u32 = 100_009;
    /// `le_error.h` 109000: the thing does not exist or is not registered.
    pub const DEVICE_UNREGISTER: u32 = 109_000;
    /// `le_error.h` 109001: the thing is offline.
    pub const DEVICE_OFFLINE: u32 = 109_001;
    /// `le_error.h` 109002: the TSL has no such property.
    pub const PROPERTY_NOT_EXIST: u32 = 109_002;
    /// `le_error.h` 109003: the property can only be read.
    pub const PROPERTY_READ_ONLY: u32 = 109_003;
    /// `le_error.h` 109004: the property can only be written.
    pub const PROPERTY_WRITE_ONLY: u32 = 109_004;
    /// `le_error.h` 109005: the TSL has no such service.
    pub const SERVICE_NOT_EXIST: u32 = 109_005;
    /// `le_error.h` 109006: a parameter of the service is missing or wrong.
    pub const SERVICE_INPUT_PARAM: u32 = 109_006;
    /// `le_error.h` 109007: a text that should be JSON is not.
    pub const INVALID_JSON: u32 = 109_007;
    /// `le_error.h` 109008: a value cannot be converted to the type of the TSL.
    pub const INVALID_TYPE: u32 = 109_008;
    /// Ledge 110001: no grant in `ledge.toml` covers the call.
    pub const NOT_GRANTED: u32 = 110_001;
    /// Ledge 110002: a queue or a concurrency limit is full; the same call may pass later.
    pub const TOO_MANY: u32 = 110_002;
    /// Ledge 110003: no such function on this gateway.
    pub const FUNCTION_NOT_EXIST: u32 = 110_003;
    /// Ledge 110004: calls are nested too deeply.
    pub const CALL_DEPTH: u32 = 110_004;

    /// A fault with one of the numbers above.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The few words that the original sends for this number (`leda_base.h`, as it spells them), for programs that look for them;
    /// `None` for a number of Ledge's or of the driver's own.
    pub fn wire_message(&self) -> Option<&'static str> {
        Some(match self.code {
            0 => "Ok",
            Self::UNKNOWN => "Unknow error",
            Self::INVALID_PARAM => "Invalid params",
            100_002 => "Alloc memery failed",
            100_003 => "Create mutex failed",
            100_004 => "Write file failed",
            100_005 => "Read file failed",
            Self::TIMEOUT => "Tiemout",
            Self::PARAM_RANGE_OVERFLOW => "Param range overflow",
            Self::SERVICE_UNREACHABLE => "Service unreachable",
            Self::FILE_NOT_EXIST => "No file exist",
            Self::DEVICE_UNREGISTER => "Device not register",
            Self::DEVICE_OFFLINE => "Device offline",
            Self::PROPERTY_NOT_EXIST => "Property no exist",
            Self::PROPERTY_READ_ONLY => "Property only support read",
            Self::PROPERTY_WRITE_ONLY => "Property only support write",
            Self::SERVICE_NOT_EXIST => "Service no exist",
            Self::SERVICE_INPUT_PARAM => "Service param invalid",
            Self::INVALID_JSON => "Json formate invalid",
            Self::INVALID_TYPE => "Param type invalid",
            _ => return None,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Fault {}

/// One device, by the two names that every API uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThingId {
    /// Which product it is one of: the key of its TSL.
    pub product_key: String,
    /// Its name, unique within the product.
    pub device_name: String,
}

impl ThingId {
    /// The two names in the order of every API.
    pub fn new(product_key: impl Into<String>, device_name: impl Into<String>) -> Self {
        Self { product_key: product_key.into(), device_name: device_name.into() }
    }
}

impl fmt::Display for ThingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.product_key, self.device_name)
    }
}
