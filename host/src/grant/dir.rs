//! Directories of the gateway that a component may read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A directory as the gateway and as the component name it. Both paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dir {
    pub host: PathBuf,
    pub guest: String,
}
