//! How far a build is: a bar on a terminal, plain lines in a log. Both go to stderr; stdout belongs to the command.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Bar,
    Lines,
}

impl Progress {
    /// What suits stderr.
    pub fn of_stderr() -> Self {
        if stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }

    /// Begins to show the build of `count` components in the workspace at `root`.
    pub(super) fn start(self, count: usize, root: &Path) -> Meter {
        let components = if count == 1 { "component" } else { "components" };
        let place = if root == Path::new(".") { "this directory".to_owned() } else { root.display().to_string() };
        let title = format!("building {count} {components} in {place}");
        if self == Self::Lines {
            eprintln!("{title}");
            return Meter { bar: None };
        }
        let bar = ProgressBar::new_spinner().with_style(style()).with_prefix(title);
        bar.enable_steady_tick(TICK);
        Meter { bar: Some(bar) }
    }
}

/// One build's progress. Shared between the threads that read cargo's two outputs.
pub(super) struct Meter {
    bar: Option<ProgressBar>,
}

const TICK: Duration = Duration::from_millis(100);

impl Meter {
    /// One more artifact is finished; `name` is its crate's.
    pub fn finished(&self, name: Option<&str>) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
            if let Some(name) = name {
                bar.set_message(name.to_owned());
            }
        }
    }

    /// Shows a line of cargo's above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{spinner} {prefix} [{elapsed}] {pos} done {msg:.dim}";
    // The template is a constant, and a test reads it.
    ProgressStyle::with_template(template).expect("a valid template")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_is_valid() {
        style();
    }
}
