//! The handler that makes a component a function (manual 2.1).

mod routed_message;

pub use crate::types::Context;

pub use routed_message::RoutedMessage;

/// Makes a component of the handler that is named:
/// `fn(event: Vec<u8>, context: Context) -> Result<impl Into<Vec<u8>>, impl Display>`.
///
/// An error's text reaches the caller as a `Handled` function error; a panic as `Unhandled`. Every call runs in a fresh
/// instance, so nothing that a handler keeps in a `static` is there the next time.
// rustfmt cannot place the `export!` line.
#[rustfmt::skip]
#[macro_export]
macro_rules! function {
    ($handle:path) => {
        const _: () = {
            struct Component;

            impl $crate::bindings::function::exports::ledge::edge::handler::Guest for Component {
                fn handle(event: Vec<u8>, context: $crate::handler::Context) -> Result<Vec<u8>, String> {
                    match $handle(event, context) {
                        Ok(result) => Ok(result.into()),
                        Err(error) => Err(error.to_string()),
                    }
                }
            }

            $crate::bindings::function::export!(Component with_types_in $crate::bindings::function);
        };
    };
}
