//! Calls of other functions (manual 2.2.6, `FCClient.invokeFunction`).

use crate::bindings::function::ledge::edge::fc as wit;
use crate::{Error, Fault};

/// What is called, and with what. The payload is the callee's event.
pub use wit::Request;

/// How a call that was started has ended. `status_code` is 200 then, also when the function failed.
pub use wit::Outcome;

/// An invocation that runs later, or did.
pub use wit::Accepted;

/// Who failed: `Handled`, the handler returned an error; `Unhandled`, it trapped or a limit ended it.
pub use wit::FunctionError;

impl Request {
    /// A call of `service/function` with an empty event and no invoker context.
    pub fn new(service: impl Into<String>, function: impl Into<String>) -> Self {
        Self { service: service.into(), function: function.into(), invoker_context: String::new(), payload: Vec::new() }
    }

    /// The callee's event.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Free text for the callee's `context.invoker_context`; JSON with a member `custom` where it may be a function of
    /// the manual's time.
    #[must_use]
    pub fn invoker_context(mut self, text: impl Into<String>) -> Self {
        self.invoker_context = text.into();
        self
    }
}

impl Outcome {
    /// The callee's result, or an error that says how the callee failed.
    pub fn into_result(self) -> Result<Vec<u8>, Error> {
        let how = match self.function_error {
            None => return Ok(self.payload),
            Some(FunctionError::Handled) => "returned an error",
            Some(FunctionError::Unhandled) => "was stopped",
        };
        Err(format!("the function called {how}: {}", String::from_utf8_lossy(&self.payload)).into())
    }
}

/// Runs the function and waits for its outcome: `Sync` in the manual. It ends by the callee's deadline or the caller's,
/// whichever is first.
///
/// Grant: `invoke`. Faults: 110001, 110002 (too many are waiting), 110003 (no such function), 110004 (nested too deeply).
pub fn invoke(request: &Request) -> Result<Outcome, Fault> {
    wit::invoke(request)
}

/// Hands the call to the gateway and returns the invocation's id: `Async` in the manual. It is on the gateway's disk by then, and runs at
/// least once, whatever happens to the gateway.
///
/// Grant: `invoke`. Faults: 110001, 110002 (the queue is full, or too many invocations a second), 110003, 110004, 100008 (the disk).
pub fn invoke_async(request: &Request) -> Result<String, Fault> {
    Ok(wit::invoke_async(request, None)?.id)
}

/// The same, once for all calls of a day that give the same key (1 to 128 bytes): those that come later learn the first one's id, and what
/// it came to if it has ended.
///
/// Faults: those of [`invoke_async`], and 100001 (the key).
pub fn invoke_async_once(request: &Request, key: &str) -> Result<Accepted, Fault> {
    wit::invoke_async(request, Some(key))
}
