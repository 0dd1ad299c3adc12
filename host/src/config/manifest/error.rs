//! What is wrong with a manifest, one line for each mistake.

use std::fmt;
use std::path::PathBuf;

/// All mistakes of a manifest and of the files that it names, in the order of file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestErrors(pub Vec<ManifestError>);

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The file, relative to the current directory where that is shorter.
    pub file: PathBuf,
    /// From 1; 0 where the mistake is the file as a whole.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for ManifestErrors {}
