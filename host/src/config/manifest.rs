//! A project's `ledge.toml`, read into a [`Set`] whose components are still to be built.
//!
//! Every mistake is reported in one go, each with its line: somebody who mends a manifest should not have to run a
//! command ten times. What a gateway must know to judge (the TSL's meaning, a component's imports, whether a route's
//! function is there) is not checked here; `deploy` does that.

mod components;
mod error;
mod json;
mod nearest;
mod place;
mod products;
mod reader;
mod routes;
mod rules;
mod sandbox;
mod things;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use self::error::{ManifestError, ManifestErrors};
pub use self::place::shown;
use self::reader::{Report, Table, Value};
use crate::set::Set;

/// The name of the manifest in a project's directory.
pub const FILE_NAME: &str = "ledge.toml";
/// The largest manifest, and the largest rule that it names. A TSL or its ext info may have [`TSL_BYTES_MAX`].
///
/// [`TSL_BYTES_MAX`]: crate::thing::tsl::TSL_BYTES_MAX
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The longest name of a project or a product, in characters.
pub const TITLE_CHARS_MAX: usize = 64;

/// A directory with a `ledge.toml`.
#[derive(Debug)]
pub struct Project {
    pub dir: PathBuf,
    pub name: String,
    pub set: Set<Source>,
}

/// Where a component comes from. The paths are joined to the project's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A directory with a `Cargo.toml`.
    Crate(PathBuf),
    /// A component that was built elsewhere.
    Component(PathBuf),
}

/// Reads the manifest of the project in `dir`, and the TSL files that it names.
pub fn load(dir: &Path) -> Result<Project, ManifestErrors> {
    let file = dir.join(FILE_NAME);
    let text = read_text(&file, FILE_BYTES_MAX).map_err(|err| unreadable(dir, &file, &err))?;
    let report = Report::new(dir, &file, &text);
    let (document, syntax_errors) = DeTable::parse_recoverable(&text);
    for err in &syntax_errors {
        report.syntax(err.span().map_or(0, |span| span.start), err.message());
    }
    report.finish()?;

    let root = reader::root(&report, document.get_ref());
    let project = root.table(&["project", "products", "things", "drivers", "functions", "routes", "rules"]).map(|root| read(dir, &root));
    report.finish()?;
    // `root` is a table by its type, so it was read.
    Ok(project.expect("the document is a table"))
}

fn read(dir: &Path, root: &Table<'_>) -> Project {
    let declared = things::Declared::of(root);
    Project {
        dir: dir.to_owned(),
        name: root.optional("project").and_then(|project| name(&project)).unwrap_or_else(|| directory_name(dir)),
        set: Set {
            products: root.entries("products").iter().filter_map(products::read).collect(),
            things: root.optional("things").map(|list| things::read(&list, &declared)).unwrap_or_default(),
            drivers: root.entries("drivers").iter().filter_map(components::driver).collect(),
            functions: root.entries("functions").iter().filter_map(components::function).collect(),
            routes: root.optional("routes").map(|list| routes::read(&list)).unwrap_or_default(),
            rules: root.entries("rules").iter().filter_map(rules::read).collect(),
        },
    }
}

fn name(project: &Value<'_>) -> Option<String> {
    project.table(&["name"])?.optional("name")?.title()
}

fn directory_name(dir: &Path) -> String {
    let full = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    full.file_name().map_or_else(|| "project".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Reads a text file, but not one that would fill the memory.
fn read_text(file: &Path, bytes_max: usize) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
    if text.len() > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(text)
}

fn unreadable(dir: &Path, file: &Path, err: &io::Error) -> ManifestErrors {
    let message = match err.kind() {
        io::ErrorKind::NotFound if !dir.is_dir() => "the directory does not exist; name the directory of a project".to_owned(),
        io::ErrorKind::NotFound => "there is no such file; name a directory that has one, or make a project with `ledge new`".to_owned(),
        _ => format!("cannot be read: {err}"),
    };
    ManifestErrors(vec![ManifestError { file: shown(file), line: 0, column: 0, message }])
}

#[cfg(test)]
mod tests;
