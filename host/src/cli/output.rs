//! What goes to stdout. A reader who went away (`ledge list things | head`) is no reason to panic.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line at once.
pub fn say(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Whether an error only says that nobody reads stdout any more.
pub fn is_unread(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
