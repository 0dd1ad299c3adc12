//! What functions keep: keys and values, each function's own.
//!
//! A write is seen at once by whoever reads, and its writer is told once it is on disk. Reads touch the disk, where the cache has them not.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::name::FunctionName;
use crate::store::writer::{Handle, Source};
use crate::store::{Batch, Store, Table};

/// Every function's keys and values.
pub struct State {
    store: Arc<Store>,
    writer: Option<Handle>,
    inner: Mutex<Inner>,
    /// Of the thread that commits.
    committing: Mutex<Vec<oneshot::Sender<()>>>,
}

#[derive(Default)]
struct Inner {
    /// Bytes of keys and values, by the function's name.
    used: HashMap<String, usize>,
    /// What is not on disk yet, by the row's key: the value, and the write that made it.
    unwritten: HashMap<String, Unwritten>,
    /// Rows to write with the next commit.
    next: Vec<String>,
    waiting: Vec<oneshot::Sender<()>>,
    writes: u64,
    is_broken: bool,
}

struct Unwritten {
    value: Option<Bytes>,
    write: u64,
    /// The write that the commit under way takes.
    taken: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes")]
    Key,
    #[error("limit kv_bytes ({0}) hit: delete keys, or raise it in ledge.toml")]
    Full(usize),
    #[error("the database cannot be read or written; the gateway's log says why")]
    Disk,
}

const KEY_BYTES_MAX: usize = 256;

/// Between a function's name, which has no such character, and the key.
const BETWEEN: char = '\0';

impl State {
    pub fn open(store: Arc<Store>, writer: Option<Handle>) -> anyhow::Result<Arc<Self>> {
        let mut used = HashMap::<String, usize>::new();
        for (row, value) in store.list(Table::Kv)? {
            let (function, key) = row.split_once(BETWEEN).unwrap_or((&row, ""));
            *used.entry(function.to_owned()).or_default() += key.len() + value.len();
        }
        let inner = Mutex::new(Inner { used, ..Inner::default() });
        let state = Arc::new(Self { store, writer, inner, committing: Mutex::default() });
        if let Some(writer) = &state.writer {
            let source: Arc<dyn Source> = state.clone();
            writer.attach(&source);
        }
        Ok(state)
    }

    pub fn get(&self, function: &FunctionName, key: &str) -> Result<Option<Bytes>, StateError> {
        self.read(&self.inner.lock(), &row(function, key)?)
    }

    /// The keys that begin with `prefix` and come after `after`, sorted.
    pub fn list(&self, function: &FunctionName, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<String>, StateError> {
        let own = format!("{function}{BETWEEN}");
        let (prefix, after) = (format!("{own}{prefix}"), after.map(|after| format!("{own}{after}")));
        let inner = self.inner.lock();
        let is_wanted = |row: &String| row.starts_with(&prefix) && after.as_ref().is_none_or(|after| row > after);
        let mut rows: Vec<String> =
            inner.unwritten.iter().filter(|(row, it)| is_wanted(row) && it.value.is_some()).map(|(row, _)| row.clone()).collect();
        // As many more as may be deleted and not written yet.
        let deleted = inner.unwritten.iter().filter(|(row, it)| is_wanted(row) && it.value.is_none()).count();
        let listed =
            self.store.list_some(Table::Kv, &prefix, after.as_deref(), max.saturating_add(deleted)).map_err(|_| StateError::Disk)?;
        rows.extend(listed.into_iter().map(|(row, _)| row).filter(|row| !inner.unwritten.contains_key(row)));
        drop(inner);
        rows.sort_unstable();
        rows.truncate(max);
        Ok(rows.into_iter().map(|row| row[own.len()..].to_owned()).collect())
    }

    /// Sets the key to `value` (`None`: deletes it). What it was, once the change is on disk.
    pub async fn set(
        &self,
        function: &FunctionName,
        bytes_max: usize,
        key: &str,
        value: Option<Bytes>,
    ) -> Result<Option<Bytes>, StateError> {
        let row = row(function, key)?;
        let (before, written) = {
            let mut inner = self.inner.lock();
            let before = self.read(&inner, &row)?;
            let written = inner.change(function, bytes_max, row, before.as_ref(), value)?;
            (before, written)
        };
        self.wait(written).await?;
        Ok(before)
    }

    /// The same, if the key is `expected` now. Whether it was.
    pub async fn swap(
        &self,
        function: &FunctionName,
        bytes_max: usize,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<Bytes>,
    ) -> Result<bool, StateError> {
        let row = row(function, key)?;
        let written = {
            let mut inner = self.inner.lock();
            let before = self.read(&inner, &row)?;
            if before.as_deref() != expected {
                return Ok(false);
            }
            inner.change(function, bytes_max, row, before.as_ref(), value)?
        };
        self.wait(written).await?;
        Ok(true)
    }

    fn read(&self, inner: &Inner, row: &str) -> Result<Option<Bytes>, StateError> {
        if let Some(unwritten) = inner.unwritten.get(row) {
            return Ok(unwritten.value.clone());
        }
        self.store.get(Table::Kv, row).map(|value| value.map(Bytes::from)).map_err(|error| {
            tracing::error!("{error:#}");
            StateError::Disk
        })
    }

    async fn wait(&self, written: oneshot::Receiver<()>) -> Result<(), StateError> {
        if let Some(writer) = &self.writer {
            writer.wake();
        }
        written.await.map_err(|_| StateError::Disk)
    }
}

impl Inner {
    fn change(
        &mut self,
        function: &FunctionName,
        bytes_max: usize,
        row: String,
        before: Option<&Bytes>,
        value: Option<Bytes>,
    ) -> Result<oneshot::Receiver<()>, StateError> {
        if self.is_broken {
            return Err(StateError::Disk);
        }
        let function = function.to_string();
        let bytes = |value: Option<&Bytes>| value.map_or(0, |value| row.len() - function.len() - BETWEEN.len_utf8() + value.len());
        let (less, more) = (bytes(before), bytes(value.as_ref()));
        let used = self.used.entry(function).or_default();
        // What is too much already may shrink.
        if more > less && *used - less + more > bytes_max {
            return Err(StateError::Full(bytes_max));
        }
        *used = *used - less + more;
        self.writes += 1;
        let write = self.writes;
        let taken = self.unwritten.get(&row).and_then(|unwritten| unwritten.taken);
        self.unwritten.insert(row.clone(), Unwritten { value, write, taken });
        self.next.push(row);
        let (done, written) = oneshot::channel();
        self.waiting.push(done);
        Ok(written)
    }
}

impl Source for State {
    fn gather(&self, batch: &mut Batch) {
        let mut inner = self.inner.lock();
        for row in std::mem::take(&mut inner.next) {
            let Some(unwritten) = inner.unwritten.get_mut(&row) else { continue };
            unwritten.taken = Some(unwritten.write);
            match &unwritten.value {
                Some(value) => batch.put(Table::Kv, row, value.to_vec()),
                None => batch.delete(Table::Kv, row),
            }
        }
        *self.committing.lock() = std::mem::take(&mut inner.waiting);
    }

    fn committed(&self) {
        self.inner.lock().unwritten.retain(|_, unwritten| unwritten.taken != Some(unwritten.write));
        for done in self.committing.lock().drain(..) {
            let _ = done.send(());
        }
    }

    fn failed(&self) {
        self.committing.lock().clear();
        let mut inner = self.inner.lock();
        inner.is_broken = true;
        inner.waiting.clear();
    }
}

fn row(function: &FunctionName, key: &str) -> Result<String, StateError> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) { Ok(format!("{function}{BETWEEN}{key}")) } else { Err(StateError::Key) }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn name(text: &str) -> FunctionName {
        text.parse().unwrap()
    }

    fn commit(state: &State, store: &Store) {
        let mut batch = Batch::new();
        state.gather(&mut batch);
        store.commit(batch).unwrap();
        state.committed();
    }

    fn open() -> (Arc<State>, Arc<Store>) {
        let store = Arc::new(Store::in_memory());
        (State::open(store.clone(), None).unwrap(), store)
    }

    #[test]
    fn a_write_is_seen_at_once_and_told_once_it_is_on_disk() {
        let (state, store) = open();
        let (f, other) = (name("a/b"), name("a/bc"));
        let mut set = Box::pin(state.set(&f, 100, "k", Some("1".into())));
        assert!((&mut set).now_or_never().is_none());
        assert_eq!(state.get(&f, "k").unwrap().unwrap(), "1");
        assert_eq!(state.get(&other, "k").unwrap(), None);
        commit(&state, &store);
        assert_eq!(set.now_or_never().unwrap().unwrap(), None);
        let reopened = State::open(store, None).unwrap();
        assert_eq!(reopened.get(&f, "k").unwrap().unwrap(), "1");
        assert_eq!(reopened.inner.lock().used["a/b"], 2);
    }

    #[test]
    fn a_change_during_a_commit_is_written_by_the_next() {
        let (state, store) = open();
        let f = name("a/b");
        let _first = Box::pin(state.set(&f, 100, "k", Some("1".into()))).now_or_never();
        let mut batch = Batch::new();
        state.gather(&mut batch);
        let _second = Box::pin(state.set(&f, 100, "k", Some("2".into()))).now_or_never();
        store.commit(batch).unwrap();
        state.committed();
        assert_eq!(store.get(Table::Kv, "a/b\0k").unwrap().unwrap(), b"1");
        assert_eq!(state.get(&f, "k").unwrap().unwrap(), "2");
        commit(&state, &store);
        assert_eq!(store.get(Table::Kv, "a/b\0k").unwrap().unwrap(), b"2");
        assert!(state.inner.lock().unwritten.is_empty());
    }

    #[test]
    fn the_limit_holds_for_all_keys_and_is_given_back() {
        let (state, store) = open();
        let f = name("a/b");
        let set = |key: &str, value: Option<&str>| {
            let mut set = Box::pin(state.set(&f, 10, key, value.map(|text| Bytes::from(text.to_owned()))));
            let early = (&mut set).now_or_never();
            commit(&state, &store);
            early.unwrap_or_else(|| set.now_or_never().unwrap())
        };
        set("a", Some("1234")).unwrap();
        set("b", Some("1234")).unwrap();
        assert_eq!(set("c", Some("")), Err(StateError::Full(10)));
        set("a", None).unwrap();
        set("c", Some("123")).unwrap();
        assert_eq!(state.list(&f, "", None, 10).unwrap(), ["b", "c"]);
        assert_eq!(state.list(&f, "", Some("b"), 10).unwrap(), ["c"]);
        assert_eq!(set("", None), Err(StateError::Key));
    }
}
