//! How people are told where something is: the shorter path, and line and column in place of a byte offset.
//!
//! Where the lines begin is found once: a manifest of thousands of things asks for the lines of them all.

use std::path::{Component, Path, PathBuf};

/// The path relative to the current directory where that is shorter.
pub fn shown(path: &Path) -> PathBuf {
    let tidy = without_dots(path);
    let Ok(current) = std::env::current_dir() else { return tidy };
    let Some(relative) = relative(&without_dots(&current.join(&tidy)), &current) else { return tidy };
    let absolute = tidy.is_absolute();
    if absolute && relative.as_os_str().len() >= tidy.as_os_str().len() { tidy } else { relative }
}

/// A text, and where its lines begin.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { text, starts }
    }

    /// The byte offset at which a line begins, which counts from 1; the end of the text where it has fewer lines.
    pub fn start(&self, line: usize) -> usize {
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }

    /// The line of a byte offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset)
    }

    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let line = self.line(offset);
        (line, self.text[self.start(line)..offset].chars().count() + 1)
    }
}

/// Takes out `.` and `x/..`, by the letters alone: a symbolic link stays what its author wrote.
fn without_dots(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidy.components().next_back(), Some(Component::Normal(_))) => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    if tidy.as_os_str().is_empty() { PathBuf::from(".") } else { tidy }
}

/// The way from `base` to `path`, both absolute. None where no way is sure, as between two drives.
fn relative(path: &Path, base: &Path) -> Option<PathBuf> {
    let shared = path.components().zip(base.components()).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return None;
    }
    let mut way: PathBuf = base.components().skip(shared).map(|_| Component::ParentDir).collect();
    way.extend(path.components().skip(shared));
    Some(if way.as_os_str().is_empty() { PathBuf::from(".") } else { way })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_in_its_shorter_form() {
        let current = std::env::current_dir().unwrap();
        assert_eq!(shown(&current.join("demo/ledge.toml")), Path::new("demo/ledge.toml"));
        assert_eq!(shown(Path::new("./demo/../drivers/light")), Path::new("drivers/light"));
        assert_eq!(shown(Path::new("/x")), Path::new("/x"));
        assert_eq!(shown(Path::new(".")), Path::new("."));
    }

    #[test]
    fn a_column_counts_characters_and_no_offset_is_too_far() {
        let lines = Lines::of("光\n照x");
        assert_eq!([0, 3, 4, 7, 5].map(|offset| lines.line_and_column(offset)), [(1, 1), (1, 2), (2, 1), (2, 2), (2, 1)]);
        assert_eq!((lines.start(1), lines.start(2), lines.start(9)), (0, 4, 8));
        assert_eq!(Lines::of("a\n").line_and_column(99), (2, 1));
        assert_eq!(Lines::of("").line_and_column(0), (1, 1));
    }
}
