//! What goes to stdout. A reader who went away (`ledge list things | head`) is no reason to panic.

use std::fmt::Display;
use std::io::{self, Write};

use crate::clock::Clock;

/// Prints a line at once.
pub fn say(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// How long ago that was, of milliseconds since 1970.
pub fn since(unix_ms: Option<u64>) -> String {
    let Some(unix_ms) = unix_ms else { return String::new() };
    let seconds = Clock::system().unix_ms().saturating_sub(unix_ms) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Whether an error only says that nobody reads stdout any more.
pub fn is_unread(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
