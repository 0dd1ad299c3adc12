//! The path of nested calls, of functions and of rules, which limits their depth and names it when it is too deep.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The functions and rules that are under way because of one first call, the first one first. Cheap to clone and to extend.
#[derive(Clone, Debug, Default)]
pub struct CallPath(Option<Arc<Step>>);

#[derive(Debug)]
struct Step {
    name: Arc<str>,
    depth: u32,
    before: CallPath,
}

impl CallPath {
    #[must_use]
    pub fn then(&self, name: impl Into<Arc<str>>) -> Self {
        Self(Some(Arc::new(Step { name: name.into(), depth: self.depth() + 1, before: self.clone() })))
    }

    pub fn depth(&self) -> u32 {
        self.0.as_ref().map_or(0, |step| step.depth)
    }
}

/// The names, the first one first.
impl Serialize for CallPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names: Vec<_> = std::iter::successors(self.0.as_deref(), |step| step.before.0.as_deref()).map(|step| &step.name).collect();
        names.reverse();
        serializer.collect_seq(names)
    }
}

impl<'de> Deserialize<'de> for CallPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Ok(names.into_iter().fold(Self::default(), |path, name| path.then(name)))
    }
}

/// Equal where the same functions are under way.
impl PartialEq for CallPath {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl fmt::Display for CallPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(step) = &self.0 else { return Ok(()) };
        if step.before.0.is_some() {
            write!(f, "{} -> ", step.before)?;
        }
        write!(f, "{}", step.name)
    }
}
