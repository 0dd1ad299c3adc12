//! What people write down for Ledge: a project's manifest.

pub mod manifest;
