//! Changing single functions, and what is kept of them, where somebody may change several things in one commit.

use super::{Care, Deploy, DeployError, State};
use crate::runtime::without_manifest;

impl DeployError {
    /// The same for whoever has no manifest to change.
    #[must_use]
    pub fn without_manifest(self) -> Self {
        match self {
            Self::Refused(problems) => Self::Refused(problems.iter().map(|problem| without_manifest(problem)).collect()),
            failed @ Self::Failed(_) => failed,
        }
    }
}

impl Deploy {
    /// Looks at what is deployed now. Be quick: deployments wait.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.current.lock())
    }

    /// Makes of what is deployed what `change` makes of it, given the time in milliseconds since 1970. `named` are functions that somebody
    /// deploys anew, changed or not.
    pub async fn change_entries<T, E: From<DeployError>>(
        &self,
        change: impl FnOnce(&mut State, u64) -> Result<T, E>,
        named: &[String],
        who: &str,
    ) -> Result<T, E> {
        let now_ms = self.parts.clock.unix_ms();
        let change = |state: &mut State| {
            let before = state.set.clone();
            let done = change(state, now_ms)?;
            let State { set, versions, .. } = state;
            versions.remember(&before, set, now_ms);
            versions.went_back.retain(|name, _| {
                let row = |of: &[crate::set::Function]| of.iter().find(|row| row.name == *name).cloned();
                row(&before.functions) == row(&set.functions)
            });
            Ok(done)
        };
        self.change(change, Care::Checked, named, who).await.map(|(done, _)| done)
    }
}
