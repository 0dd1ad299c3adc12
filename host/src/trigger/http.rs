//! HTTP triggers: which function answers the requests below a path.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::function::Function;
use crate::set::HttpAuth;

/// The table of prefixes. Looked at by every request, replaced by a deployment.
#[derive(Default)]
pub struct HttpTriggers(ArcSwap<Table>);

#[derive(Default)]
struct Table {
    by_prefix: HashMap<String, Entry>,
    /// A prefix is at most so long, so nobody makes us look for a longer one.
    bytes_max: usize,
}

struct Entry {
    auth: HttpAuth,
    function: Arc<Function>,
}

impl HttpTriggers {
    pub fn replace(&self, functions: &[Arc<Function>]) {
        let entry = |function: &Arc<Function>| {
            let http = function.http.as_ref()?;
            Some((http.prefix.clone(), Entry { auth: http.auth, function: function.clone() }))
        };
        let by_prefix: HashMap<_, _> = functions.iter().filter_map(entry).collect();
        let bytes_max = by_prefix.keys().map(String::len).max().unwrap_or(0);
        self.0.store(Arc::new(Table { by_prefix, bytes_max }));
    }

    /// The function of the longest prefix that is `path` or ends before a slash of it.
    pub fn find(&self, path: &str) -> Option<(HttpAuth, Arc<Function>)> {
        let table = self.0.load();
        let entry = prefixes(path, table.bytes_max).find_map(|prefix| table.by_prefix.get(prefix))?;
        Some((entry.auth, entry.function.clone()))
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
}
