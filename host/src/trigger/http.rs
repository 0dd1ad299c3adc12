//! HTTP triggers: which function answers the requests below a path.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::function::Function;
use crate::set::{HttpAuth, is_reserved};

/// The table of prefixes. Looked at by every request, replaced by a deployment.
#[derive(Default)]
pub struct HttpTriggers(ArcSwap<Table<Entry>>);

struct Table<T> {
    by_prefix: HashMap<String, T>,
    /// A prefix is at most so long, so nobody makes us look for a longer one.
    bytes_max: usize,
}

struct Entry {
    auth: HttpAuth,
    is_root: bool,
    function: Arc<Function>,
}

impl HttpTriggers {
    pub fn replace(&self, functions: &[Arc<Function>]) {
        let entry = |function: &Arc<Function>| {
            let http = function.http.as_ref()?;
            Some((http.prefix.clone(), Entry { auth: http.auth, is_root: http.prefix == "/", function: function.clone() }))
        };
        self.0.store(Arc::new(functions.iter().filter_map(entry).collect()));
    }

    /// The function of the longest prefix that is `path` or ends before a slash of it. The paths of the API are nobody's: what answers
    /// there would be taken for the gateway.
    pub fn find(&self, path: &str) -> Option<(HttpAuth, Arc<Function>)> {
        let table = self.0.load();
        let entry = table.find(path)?;
        if entry.is_root && is_reserved(path) {
            return None;
        }
        Some((entry.auth, entry.function.clone()))
    }
}

impl<T> Table<T> {
    fn find(&self, path: &str) -> Option<&T> {
        prefixes(path, self.bytes_max).find_map(|prefix| self.by_prefix.get(prefix))
    }
}

impl<T> FromIterator<(String, T)> for Table<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(rows: I) -> Self {
        let by_prefix: HashMap<_, _> = rows.into_iter().collect();
        Self { bytes_max: by_prefix.keys().map(String::len).max().unwrap_or(0), by_prefix }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::from_iter([])
    }
}

/// `/a/b/c`, `/a/b`, `/a` and `/` of `/a/b/c`, without those that are longer than `bytes_max`.
fn prefixes(path: &str, bytes_max: usize) -> impl Iterator<Item = &str> {
    let bytes = path.as_bytes();
    let ends = (1..=bytes.len().min(bytes_max)).rev().filter(move |end| *end == bytes.len() || bytes[*end] == b'/');
    let root = (bytes_max > 0 && bytes.len() != 1 && path.starts_with('/')).then_some("/");
    // A slash is a byte of its own in UTF-8, so every cut is at a character.
    ends.filter_map(|end| path.get(..end)).chain(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(path: &str, bytes_max: usize) -> Vec<&str> {
        prefixes(path, bytes_max).collect()
    }

    #[test]
    fn prefixes_are_of_whole_segments_the_longest_first() {
        assert_eq!(all("/a/b/c", 128), ["/a/b/c", "/a/b", "/a", "/"]);
        assert_eq!(all("/a/b/", 128), ["/a/b/", "/a/b", "/a", "/"]);
        assert_eq!(all("/", 128), ["/"]);
        assert_eq!(all("/long/b", 2), ["/"]);
        assert_eq!(all("/a/é", 128), ["/a/é", "/a", "/"]);
        assert_eq!(all("*", 128), ["*"]);
        assert_eq!(all("/a", 0), [""; 0]);
    }

    /// What a reader of the manual would say.
    fn covers(prefix: &str, path: &str) -> bool {
        path == prefix || path.strip_prefix(prefix).is_some_and(|rest| prefix == "/" || rest.starts_with('/'))
    }

    proptest::proptest! {
        #[test]
        fn the_longest_prefix_of_whole_segments_wins(
            prefixes in proptest::collection::hash_set("/|(/[ab.~]{1,2}){1,4}|/[a-z]{100,127}", 0..12),
            path in "(/[ab.~%é]{0,2}){0,6}|/[a-z]{100,127}(/a)?|[*a/]{0,3}|.{0,40}",
        ) {
            let prefixes: Vec<String> = prefixes.into_iter().filter(|prefix| crate::set::check_http_prefix(prefix).is_ok()).collect();
            let table: Table<&str> = prefixes.iter().map(|prefix| (prefix.clone(), prefix.as_str())).collect();
            let wanted = prefixes.iter().filter(|prefix| covers(prefix, &path)).max_by_key(|prefix| prefix.len());
            proptest::prop_assert_eq!(table.find(&path).copied(), wanted.map(String::as_str));
        }
    }
}
