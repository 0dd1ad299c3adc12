//! The integration tests: claims about the product, each with real components behind it.
//!
//! One file for each word of the product; `harness` starts gateways and builds the guests.

mod harness;

mod architecture;
mod audit;
mod bindgen;
mod blocking_driver;
mod blocking_listen;
mod certificate;
mod cli;
mod compiled_code;
mod cookie;
mod crash;
mod demo;
mod deploy;
mod dir;
mod driver;
mod durable;
mod engine;
mod env;
mod event_stream;
mod fc_api;
mod function;
mod gateway_info;
mod grant;
mod history;
mod hostile;
mod invoke_http;
mod later_api;
mod limit;
mod listen;
mod login;
mod manual;
mod metric;
mod modbus;
mod mutant;
mod openapi;
mod permission;
mod persistent;
mod product;
mod replay;
mod reuse;
mod route;
mod rule;
mod sample;
mod scale;
mod secret;
mod server;
mod small_machine;
mod socket;
mod timer;
mod version;
mod wasi_http;
mod websocket;
