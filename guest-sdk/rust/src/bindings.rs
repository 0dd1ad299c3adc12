//! What `wit-bindgen` makes of the contract in `wit/`: both worlds, so that one crate serves functions and drivers.
//!
//! Each `export!` macro carries the exports of its world, so a component has only those of the macro that it used,
//! and imports that nothing calls are left out when the component is linked.

/// A function's world.
pub mod function {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "ledge:edge/function",
        pub_export_macro: true,
        default_bindings_module: "::ledge_sdk::bindings::function",
        runtime_path: "::ledge_sdk::bindings::wit_bindgen::rt",
        with: { "ledge:edge/types@0.1.0": ledge_sdk::bindings::types },
    });
}

/// A persistent function's world. What it imports besides its clock is what functions import.
#[cfg(feature = "driver")]
pub mod persistent {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "ledge:edge/persistent-function",
        pub_export_macro: true,
        default_bindings_module: "::ledge_sdk::bindings::persistent",
        runtime_path: "::ledge_sdk::bindings::wit_bindgen::rt",
        with: {
            "ledge:edge/types@0.1.0": ledge_sdk::bindings::types,
            "ledge:edge/iot-data@0.1.0": ledge_sdk::bindings::function::ledge::edge::iot_data,
            "ledge:edge/fc@0.1.0": ledge_sdk::bindings::function::ledge::edge::fc,
            "ledge:edge/credentials@0.1.0": ledge_sdk::bindings::function::ledge::edge::credentials,
            "ledge:edge/kv@0.1.0": ledge_sdk::bindings::function::ledge::edge::kv,
        },
        generate_all,
    });
}

/// A driver's world.
#[cfg(feature = "driver")]
pub mod driver {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "ledge:edge/driver",
        pub_export_macro: true,
        default_bindings_module: "::ledge_sdk::bindings::driver",
        runtime_path: "::ledge_sdk::bindings::wit_bindgen::rt",
        with: { "ledge:edge/types@0.1.0": ledge_sdk::bindings::types },
        generate_all,
    });
}

/// The world of a driver that blocks.
#[cfg(feature = "driver")]
pub mod blocking {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "ledge:edge/driver-blocking",
        pub_export_macro: true,
        default_bindings_module: "::ledge_sdk::bindings::blocking",
        runtime_path: "::ledge_sdk::bindings::wit_bindgen::rt",
        with: {
            "ledge:edge/types@0.1.0": ledge_sdk::bindings::types,
            "ledge:edge/gateway-figures@0.1.0": ledge_sdk::bindings::driver::ledge::edge::gateway_figures,
        },
        generate_all,
    });
}

/// The interface `types`, by hand: one set of types for both worlds.
pub mod types {
    pub use crate::types::{Context, Fault, ThingId};
    pub use crate::value::{Property, Value};
}

/// What the generated code calls.
pub use wit_bindgen;
