//! The path of nested calls, which limits their depth and names it when it is too deep.

use std::fmt;
use std::sync::Arc;

use crate::name::FunctionName;

/// The functions that are under way because of one first call, the first one first. Cheap to clone and to extend.
#[derive(Clone, Debug, Default)]
pub struct CallPath(Option<Arc<Step>>);

#[derive(Debug)]
struct Step {
    name: FunctionName,
    depth: u32,
    before: CallPath,
}

impl CallPath {
    #[must_use]
    pub fn then(&self, name: FunctionName) -> Self {
        Self(Some(Arc::new(Step { name, depth: self.depth() + 1, before: self.clone() })))
    }

    pub fn depth(&self) -> u32 {
        self.0.as_ref().map_or(0, |step| step.depth)
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
