//! Rust types and traits made from `wit/`. Nothing is written by hand here but the resource's host side.

/// The world of functions: synchronous for the guest, asynchronous for the host.
pub mod function {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "function",
        imports: { default: async },
        exports: { default: async },
    });
}

/// The world of persistent functions: as that of functions, on an engine with component-model async.
pub mod persistent {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "persistent-function",
        imports: { default: async },
        exports: { default: async | store },
        with: {
            "ledge:edge/types": super::function::ledge::edge::types,
            "ledge:edge/iot-data": super::function::ledge::edge::iot_data,
            "ledge:edge/fc": super::function::ledge::edge::fc,
            "ledge:edge/credentials": super::function::ledge::edge::credentials,
            "ledge:edge/kv": super::function::ledge::edge::kv,
            "wasi": wasmtime_wasi::p3::bindings,
        },
    });
}

/// The world of drivers: component-model async on both sides.
pub mod driver {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "driver",
        with: {
            "ledge:edge/types": super::function::ledge::edge::types,
            "ledge:edge/thing-access.thing": super::Registration,
            "wasi": wasmtime_wasi::p3::bindings,
        },
    });
}

/// The world of drivers whose code blocks: synchronous for the guest, asynchronous for the host.
pub mod blocking {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "driver-blocking",
        imports: {
            "ledge:edge/requests.subscribe": async | trappable,
            "ledge:edge/listen-blocking.[method]listener.subscribe": async | trappable,
            "ledge:edge/listen-blocking.[method]connection.subscribe-read": async | trappable,
            "ledge:edge/listen-blocking.[method]connection.subscribe-write": async | trappable,
            default: async,
        },
        exports: { default: async },
        with: {
            "ledge:edge/types": super::function::ledge::edge::types,
            "ledge:edge/gateway-figures": super::driver::ledge::edge::gateway_figures,
            "ledge:edge/thing-access-blocking.thing": super::Registration,
            "wasi": wasmtime_wasi::p2::bindings,
        },
    });
}

pub use function::ledge::edge::{credentials, fc, iot_data, kv, types};

/// The host side of a guest's `thing`.
pub struct Registration {
    pub thing: crate::name::ThingId,
    /// It was unregistered by this handle.
    pub is_over: bool,
}
