//! What makes a component a persistent function: one instance that stays, and takes every call.

use crate::Error;
use crate::handler::Context;

/// A persistent function (`mode = "persistent"` in `ledge.toml`).
///
/// ```
/// use std::cell::Cell;
/// use std::time::Duration;
///
/// use ledge_sdk::handler::Context;
/// use ledge_sdk::persistent::Persistent;
/// use ledge_sdk::{Error, clock};
///
/// ledge_sdk::persistent!(Counter);
///
/// #[derive(Default)]
/// struct Counter {
///     calls: Cell<u32>,
///     seconds: Cell<u32>,
/// }
///
/// impl Persistent for Counter {
///     async fn run(&self) -> Result<(), Error> {
///         loop {
///             clock::sleep(Duration::from_secs(1)).await;
///             self.seconds.set(self.seconds.get() + 1);
///         }
///     }
///
///     fn handle(&self, _event: Vec<u8>, _context: Context) -> Result<Vec<u8>, Error> {
///         self.calls.set(self.calls.get() + 1);
///         Ok(format!("call {} after {} s", self.calls.get(), self.seconds.get()).into())
///     }
/// }
/// ```
///
/// One instance of the type lives as long as the function is deployed: state that changes goes into a `Cell` or a `RefCell`, which must
/// not stay borrowed across an `.await`. What must survive the instance, which a trap or a deadline ends, belongs into [`kv`](crate::kv).
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Persistent: Default + 'static {
    /// The function's life, beside its calls. Wait with `.await` only ([`crate::clock::sleep`]): while it computes or calls the gateway, no
    /// event is handled. Where it returns, events are handled all the same; an error has the instance started again after a while.
    /// Unless it is given: nothing.
    async fn run(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Handles one event; the next comes when this has returned. An error's text reaches the caller as a `Handled` function error. A panic,
    /// and a call that is not over by its deadline, end the instance.
    fn handle(&self, event: Vec<u8>, context: Context) -> Result<Vec<u8>, Error>;
}

/// Makes a component of the type that is named; it implements [`Persistent`](crate::persistent::Persistent).
// rustfmt cannot place the `export!` line.
#[rustfmt::skip]
#[macro_export]
macro_rules! persistent {
    ($persistent:ty) => {
        const _: () = {
            struct Component;

            thread_local! {
                // Leaked: it lives as long as the component, and a future that waits may then refer to it.
                static FUNCTION: &'static $persistent = ::std::boxed::Box::leak(::std::boxed::Box::default());
            }

            fn function() -> &'static impl $crate::persistent::Persistent {
                FUNCTION.with(|function| *function)
            }

            impl $crate::bindings::persistent::exports::ledge::edge::persistent::Guest for Component {
                async fn run() -> Result<(), String> {
                    $crate::persistent::Persistent::run(function()).await.map_err(|error| error.to_string())
                }

                fn handle(event: Vec<u8>, context: $crate::handler::Context) -> Result<Vec<u8>, String> {
                    $crate::persistent::Persistent::handle(function(), event, context).map_err(|error| error.to_string())
                }
            }

            $crate::bindings::persistent::export!(Component with_types_in $crate::bindings::persistent);
        };
    };
}
