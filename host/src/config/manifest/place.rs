//! How people are told where something is: the shorter path, and line and column in place of a byte offset.

use std::path::{Component, Path, PathBuf};

/// The path relative to the current directory where that is shorter.
pub fn shown(path: &Path) -> PathBuf {
    let tidy = without_dots(path);
    let Ok(current) = std::env::current_dir() else { return tidy };
    let Some(relative) = relative(&without_dots(&current.join(&tidy)), &current) else { return tidy };
    let absolute = tidy.is_absolute();
    if absolute && relative.as_os_str().len() >= tidy.as_os_str().len() { tidy } else { relative }
}

/// Line and column of a byte offset, both from 1; the column counts characters.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
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
        assert_eq!(line_and_column("光\n照x", 4), (2, 1));
        assert_eq!(line_and_column("光\n照x", 7), (2, 2));
        assert_eq!(line_and_column("光\n照x", 5), (2, 1));
        assert_eq!(line_and_column("a\n", 99), (2, 1));
    }
}
