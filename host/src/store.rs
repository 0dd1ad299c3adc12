//! What the gateway knows, on disk: one redb database, `<data>/ledge.redb`.
//!
//! Rows are opaque bytes under text keys; what a row means is known only to the part that owns its table. A [`Batch`] over any
//! number of tables is applied whole or not at all, and once [`Store::commit`] has returned it survives power loss. Calls touch the disk:
//! from async code make them with `spawn_blocking`. Deliberately absent: queries, indexes and async.

pub mod file;
#[cfg(test)]
pub mod torn;
pub mod writer;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// The database. One process at a time; share it as `Arc<Store>`.
pub struct Store {
    db: Database,
    /// Why nothing can be written any more.
    broken: watch::Sender<Option<String>>,
}

/// The database as it was at one moment.
pub struct Snapshot(ReadTransaction);

/// The database's file, in the data directory.
pub const FILE_NAME: &str = "ledge.redb";

/// The tables, each owned by one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Users,
    /// Under their ids, their secrets sealed.
    AccessKeys,
    Products,
    Things,
    Drivers,
    Functions,
    Routes,
    Meta,
    /// Accepted invocations, many to a row (`queue/log.rs`), and which of a row have ended.
    Jobs,
    JobsGone,
    /// How invocations ended, many to a row.
    Ended,
    /// Results that are kept for those who ask again.
    Results,
    DeadLetters,
    Kv,
    /// Up to when the ticks of a timer were looked at.
    Timers,
    /// Published versions of services, aliases of them, what was deployed before, and the last number of each service.
    Versions,
    Aliases,
    Past,
    VersionNumbers,
    Rules,
    /// Rules that somebody switched on or off.
    RulesSwitched,
    /// Actions of rules that are to run still.
    RuleActions,
    /// The log of rules.
    RuleRuns,
    /// Last values of things, and when they came online.
    ThingStates,
    /// What things reported, many reports to a row (`thing/history.rs`).
    History,
}

/// Changes that happen together. Within a table they are applied in the order in which they were added.
#[derive(Default)]
pub struct Batch {
    changes: BTreeMap<Table, Vec<Change>>,
}

enum Change {
    Put(String, Vec<u8>),
    Delete(String),
    Clear,
}

impl Store {
    /// Opens or creates the database of the data directory, and the directory with it.
    pub fn open(dir: &Path) -> Result<Self> {
        file::create_dir(dir).with_context(|| format!("creating the data directory `{}`", dir.display()))?;
        let path = dir.join(FILE_NAME);
        let opening = || format!("opening the database `{}`", path.display());
        if !path.try_exists().with_context(opening)? {
            match file::create_with(&path, 0o600, create_database) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error).with_context(opening),
                _ => {}
            }
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).with_context(opening)?;
        file.set_permissions(PermissionsExt::from_mode(0o600)).with_context(opening)?;
        match FileBackend::new(file).and_then(Self::with_backend) {
            Ok(store) => Ok(store),
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                bail!(
                    "the data directory `{}` is in use by another gateway: stop that one, or give this one a directory of its own",
                    dir.display()
                )
            }
            Err(error) => Err(error).with_context(opening),
        }
    }

    /// A database that is gone with the process: for tests.
    pub fn in_memory() -> Self {
        Self::with_backend(InMemoryBackend::new()).expect("an empty database in memory has no file that could be wrong")
    }

    /// A database on any storage, as on a disk that a test tears.
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, DatabaseError> {
        let db = Database::builder().set_cache_size(CACHE_BYTES_MAX).create_with_backend(backend)?;
        Ok(Self { db, broken: watch::Sender::default() })
    }

    pub fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(table, |rows| Ok(rows.get(key)?.map(|row| row.value().to_vec())))
            .map(Option::flatten)
            .with_context(|| format!("reading row `{key}` of table `{}`", table.name()))
    }

    /// All rows of a table, sorted by key.
    pub fn list(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>> {
        self.read(table, |rows| rows.iter()?.map(|row| row.map(|(key, row)| (key.value().to_owned(), row.value().to_vec()))).collect())
            .map(Option::unwrap_or_default)
            .with_context(|| format!("reading table `{}`", table.name()))
    }

    /// The first rows whose key begins with `prefix` and comes after `after`, sorted by key.
    pub fn list_some(&self, table: Table, prefix: &str, after: Option<&str>, rows_max: usize) -> Result<Vec<(String, Vec<u8>)>> {
        self.snapshot()?.list_some(table, prefix, after, rows_max)
    }

    /// What is there now, to be read at leisure: what is written meanwhile is not seen.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot(self.db.begin_read().context("reading the database")?))
    }

    /// The keys that begin with `prefix`, sorted.
    pub fn keys(&self, table: Table, prefix: &str) -> Result<Vec<String>> {
        let listed = self.read(table, |rows| {
            let mut listed = Vec::new();
            for row in rows.range::<&str>(prefix..)? {
                let (key, _) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                listed.push(key.value().to_owned());
            }
            Ok(listed)
        });
        listed.map(Option::unwrap_or_default).with_context(|| format!("reading table `{}`", table.name()))
    }

    pub fn get_json<T: DeserializeOwned>(&self, table: Table, key: &str) -> Result<Option<T>> {
        self.get(table, key)?.map(|row| parse(table, key, &row)).transpose()
    }

    pub fn list_json<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(String, T)>> {
        let rows = self.list(table)?.into_iter();
        rows.map(|(key, row)| parse(table, &key, &row).map(|row| (key, row))).collect()
    }

    /// Applies a batch in one transaction. On return it is on disk; on an error nothing of it is visible.
    pub fn commit(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let tables = batch.changes.keys().map(|table| table.name()).collect::<Vec<_>>().join(", ");
        let applied = self.apply(batch).with_context(|| format!("writing to the database (tables {tables}); is the disk full or failing?"));
        if let Err(error) = &applied {
            // What is on disk now nobody knows but who opens it anew, so nothing can be promised until then.
            self.broken.send_if_modified(|broken| broken.is_none().then(|| *broken = Some(format!("{error:#}"))).is_some());
        }
        applied
    }

    /// Returns once a commit has failed, with the reason: the gateway cannot keep its promises any more, and must stop.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.subscribe();
        // The sender is held here, so waiting cannot fail.
        broken.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }

    pub fn is_broken(&self) -> bool {
        self.broken.borrow().is_some()
    }

    fn apply(&self, batch: Batch) -> Result<(), redb::Error> {
        let mut transaction = self.db.begin_write()?;
        // A torn commit is then found by its order on disk, not by a checksum that a guest's rows could be made to match.
        transaction.set_two_phase_commit(true);
        for (table, changes) in batch.changes {
            let mut rows = transaction.open_table(table.definition())?;
            for change in changes {
                match change {
                    Change::Put(key, row) => drop(rows.insert(key.as_str(), row.as_slice())?),
                    Change::Delete(key) => drop(rows.remove(key.as_str())?),
                    Change::Clear => rows.retain(|_, _| false)?,
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn read<T>(&self, table: Table, reading: impl FnOnce(Rows) -> Result<T, redb::StorageError>) -> Result<Option<T>, redb::Error> {
        read(&self.db.begin_read()?, table, reading)
    }
}

impl Snapshot {
    /// The first rows whose key begins with `prefix` and comes after `after`, sorted by key.
    pub fn list_some(&self, table: Table, prefix: &str, after: Option<&str>, rows_max: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let from =
            after.map_or(Bound::Included(prefix), |after| if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) });
        let listed = read(&self.0, table, |rows| {
            let mut listed = Vec::new();
            for row in rows.range::<&str>((from, Bound::Unbounded))?.take(rows_max) {
                let (key, row) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                listed.push((key.value().to_owned(), row.value().to_vec()));
            }
            Ok(listed)
        });
        listed.map(Option::unwrap_or_default).with_context(|| format!("reading table `{}`", table.name()))
    }
}

type Rows = redb::ReadOnlyTable<&'static str, &'static [u8]>;

/// `None` if nothing was ever written to the table.
fn read<T>(
    transaction: &ReadTransaction,
    table: Table,
    reading: impl FnOnce(Rows) -> Result<T, redb::StorageError>,
) -> Result<Option<T>, redb::Error> {
    match transaction.open_table(table.definition()) {
        Ok(rows) => Ok(Some(reading(rows)?)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(&mut self, table: Table, key: impl Into<String>, row: impl Into<Vec<u8>>) {
        self.add(table, Change::Put(key.into(), row.into()));
    }

    pub fn put_json(&mut self, table: Table, key: impl Into<String>, row: &impl Serialize) -> Result<()> {
        let key = key.into();
        let row = serde_json::to_vec(row).with_context(|| format!("writing row `{key}` of table `{}` as JSON", table.name()))?;
        self.put(table, key, row);
        Ok(())
    }

    /// Deletes one row; nothing happens if there is none.
    pub fn delete(&mut self, table: Table, key: impl Into<String>) {
        self.add(table, Change::Delete(key.into()));
    }

    /// Deletes all rows of a table.
    pub fn clear(&mut self, table: Table) {
        self.add(table, Change::Clear);
    }

    /// Adds the changes of `other`, after those that are here.
    pub fn append(&mut self, other: Self) {
        for (table, changes) in other.changes {
            self.changes.entry(table).or_default().extend(changes);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn add(&mut self, table: Table, change: Change) {
        self.changes.entry(table).or_default().push(change);
    }
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::AccessKeys => "access_keys",
            Self::Products => "products",
            Self::Things => "things",
            Self::Drivers => "drivers",
            Self::Functions => "functions",
            Self::Routes => "routes",
            Self::Meta => "meta",
            Self::Jobs => "jobs",
            Self::JobsGone => "jobs_gone",
            Self::Ended => "ended",
            Self::Results => "results",
            Self::DeadLetters => "dead_letters",
            Self::Kv => "kv",
            Self::Timers => "timers",
            Self::Versions => "versions",
            Self::Aliases => "aliases",
            Self::Past => "past",
            Self::VersionNumbers => "version_numbers",
            Self::Rules => "rules",
            Self::RulesSwitched => "rules_switched",
            Self::RuleActions => "rule_actions",
            Self::RuleRuns => "rule_runs",
            Self::ThingStates => "thing_states",
            Self::History => "history",
        }
    }

    fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// Apart from its name, because redb cannot open a database whose creation was cut short by power loss.
fn create_database(file: &mut File) -> io::Result<()> {
    Store::with_backend(FileBackend::new(file.try_clone()?).map_err(io::Error::other)?).map_err(io::Error::other)?;
    Ok(())
}

fn parse<T: DeserializeOwned>(table: Table, key: &str, row: &[u8]) -> Result<T> {
    serde_json::from_slice(row)
        .with_context(|| format!("row `{key}` of table `{}` was written by another version of Ledge, or is damaged", table.name()))
}

/// Memory for pages of the database. redb's own default is 1 GiB: more than many a gateway has. What is deployed is read once, at the
/// start, and its pages would only lie here.
const CACHE_BYTES_MAX: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn put(rows: &[(Table, &str, &str)]) -> Batch {
        let mut batch = Batch::new();
        for (table, key, row) in rows {
            batch.put(*table, *key, *row);
        }
        batch
    }

    #[test]
    fn a_batch_over_several_tables_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let store = Store::open(&data).unwrap();
        store.commit(put(&[(Table::Users, "b", "2"), (Table::Users, "a", "1"), (Table::Meta, "b", "3")])).unwrap();
        drop(store);
        let store = Store::open(&data).unwrap();
        assert_eq!(store.list(Table::Users).unwrap(), [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())]);
        assert_eq!(store.get(Table::Meta, "b").unwrap().unwrap(), b"3");
        let mode = std::fs::metadata(data.join("ledge.redb")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn changes_of_a_table_apply_in_order() {
        let store = Store::in_memory();
        store.commit(put(&[(Table::Routes, "old", "1"), (Table::Things, "t", "1")])).unwrap();
        let mut batch = Batch::new();
        batch.clear(Table::Routes);
        batch.put(Table::Routes, "new", "2");
        batch.delete(Table::Things, "t");
        batch.delete(Table::Things, "never was");
        store.commit(batch).unwrap();
        assert_eq!(store.list(Table::Routes).unwrap(), [("new".to_owned(), b"2".to_vec())]);
        assert_eq!(store.get(Table::Things, "t").unwrap(), None);
        assert_eq!(store.list(Table::Drivers).unwrap(), []);
    }

    #[test]
    fn a_damaged_row_is_named() {
        let store = Store::in_memory();
        let mut batch = put(&[(Table::Functions, "EdgeFC/x", "{")]);
        batch.put_json(Table::Meta, "n", &7).unwrap();
        store.commit(batch).unwrap();
        assert_eq!(store.get_json::<u8>(Table::Meta, "n").unwrap(), Some(7));
        let error = store.list_json::<u8>(Table::Functions).unwrap_err().to_string();
        assert!(error.contains("row `EdgeFC/x` of table `functions`"), "{error}");
    }

    #[test]
    fn a_second_gateway_on_the_same_directory_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("in use by another gateway"), "{error}");
    }
}
