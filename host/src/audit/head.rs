//! The head: how far the chain goes, in a file beside it, so that lines which are cut off at its end or at its beginning are missed.
//!
//! It is written behind, and only after the lines are on the disk: it may lag behind them, and is never ahead of them.

use serde::{Deserialize, Serialize};

use super::chain::{Keys, Link};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The newest line.
    pub last: Link,
    /// The line before the first that is kept in the older file.
    pub older: Link,
    /// The line before the first of the newer file.
    pub log: Link,
    /// Whether the newer file is just becoming the older one, or has become it.
    pub rotating: bool,
    /// How much was found wrong when the gateway started, so that the same is not recorded at each start.
    pub known_problems: u64,
}

/// What there is of a head.
pub enum Found {
    Nothing,
    /// It was changed, or was written with another key.
    Damaged,
    Head(Head),
}

impl Head {
    /// Of a chain that begins.
    pub fn at(origin: Link) -> Self {
        Self { last: origin, older: origin, log: origin, rotating: false, known_problems: 0 }
    }

    pub fn to_bytes(&self, keys: &Keys) -> Vec<u8> {
        let object = serde_json::to_string(self).expect("a head is texts and numbers");
        format!("{}\n", keys.sign_head(&object)).into_bytes()
    }
}

impl Found {
    pub fn read(bytes: Option<&[u8]>, keys: &Keys) -> Self {
        let Some(bytes) = bytes else { return Self::Nothing };
        let object = keys.read_head(bytes.strip_suffix(b"\n").unwrap_or(bytes));
        object.and_then(|object| serde_json::from_slice(&object).ok()).map_or(Self::Damaged, Self::Head)
    }
}
