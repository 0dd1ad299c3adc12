//! Last values and history on disk, written behind: what came within [`PERIOD`] before a power loss may be lost.
//!
//! A row for each thing, and for its history one for each chunk, under its thing's name and a number that grows with time.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context;

use super::history::{self, Chunk, Report};
use super::state::{CHUNK_BYTES, Kept, Stored};
use super::{Fault, Thing, Things, fault};
use crate::name::ThingId;
use crate::store::writer::{Handle, NotWritten};
use crate::store::{Batch, Store, Table};

/// How often what changed is written.
pub const PERIOD: Duration = Duration::from_millis(500);
/// Rows that are looked at together where old ones have to go.
const ROWS_AT_ONCE: usize = 64;

/// Writes what things are to remember.
pub struct Keeper {
    things: Arc<Things>,
    writer: Handle,
}

impl Keeper {
    pub fn new(things: Arc<Things>, writer: Handle) -> Self {
        Self { things, writer }
    }

    /// Until it is dropped, or the disk fails, which whoever watches the store sees too.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            if self.flush().await.is_err() {
                return;
            }
        }
    }

    /// Writes what changed by now, and returns once it is on disk.
    pub async fn flush(&self) -> Result<(), NotWritten> {
        if !self.things.is_changed.swap(false, Relaxed) {
            return Ok(());
        }
        let _turn = self.things.disk.lock().await;
        let things = self.things.clone();
        let gathered = tokio::task::spawn_blocking(move || things.gather()).await;
        match gathered.map_err(anyhow::Error::from).and_then(|batch| batch) {
            Ok(batch) => self.writer.commit(batch).await,
            Err(error) => {
                tracing::error!("last values and history of things are not kept: {error:#}");
                Ok(())
            }
        }
    }
}

/// What the store has of things, by their names. Things that are not among them any more are left to [`Things::replace`].
pub(super) fn stored(store: &Store) -> anyhow::Result<HashMap<ThingId, Stored>> {
    let rows = store.list_json(Table::ThingStates)?.into_iter();
    Ok(rows.filter_map(|(key, row)| key.split_once('/').map(|(product, name)| (ThingId::new(product, name), row))).collect())
}

impl Things {
    /// Everything that the disk does not know, as a batch.
    fn gather(&self) -> anyhow::Result<Batch> {
        let mut batch = Batch::new();
        for id in std::mem::take(&mut *self.gone.lock()) {
            batch.delete(Table::ThingStates, id.to_string());
            for key in self.store.keys(Table::History, &format!("{id}/"))? {
                batch.delete(Table::History, key);
            }
        }
        for thing in self.table.load().things.values() {
            thing.gather(&self.store, &mut batch).with_context(|| format!("thing `{}`", thing.id))?;
        }
        Ok(batch)
    }

    /// What a thing reported from one time to another, both included, in the order in which it came: the first `count_max`, and those
    /// of the last one's millisecond. Whether that is all.
    pub async fn history(self: &Arc<Self>, id: &ThingId, from_ms: u64, to_ms: u64, count_max: usize) -> Result<(Vec<Report>, bool), Fault> {
        let thing = self.get(id)?;
        // Not while what waits is on its way to the disk: it would be seen twice, or not at all.
        let _turn = self.disk.lock().await;
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || thing.read_history(&store, from_ms..=to_ms, count_max)).await;
        read.map_err(anyhow::Error::from).and_then(|read| read).map_err(|error| {
            tracing::error!("the history of thing `{id}` cannot be read: {error:#}");
            Fault::new(fault::READING_FILE, format!("the history of thing `{id}` cannot be read; the gateway's log says why"))
        })
    }
}

/// Reports that were asked for, as they are found.
struct Page {
    times_ms: RangeInclusive<u64>,
    count_max: usize,
    reports: Vec<Report>,
    is_all: bool,
}

impl Page {
    /// Whether there may be more to add.
    fn add(&mut self, chunk: &[u8]) -> Result<bool, history::Damaged> {
        for report in history::read(chunk)? {
            let is_full = self.reports.len() >= self.count_max && self.reports.last().is_some_and(|last| last.time_ms != report.time_ms);
            if !self.times_ms.contains(&report.time_ms) {
                continue;
            }
            if is_full {
                self.is_all = false;
                return Ok(false);
            }
            self.reports.push(report);
        }
        Ok(true)
    }
}

impl Thing {
    fn gather(&self, store: &Store, batch: &mut Batch) -> anyhow::Result<()> {
        let (waiting, has_gap, mut kept) = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.is_changed) {
                return Ok(());
            }
            let has_gap = state.history.take_dropped();
            (state.history.take(), has_gap, state.history.kept)
        };
        if has_gap {
            for key in store.keys(Table::History, &format!("{}/", self.id))? {
                batch.delete(Table::History, key);
            }
            kept = Kept { bytes: 0, last_bytes: 0, ..kept };
        }
        let mut rows: Vec<(u64, usize)> = Vec::with_capacity(waiting.len());
        for (first_ms, mut bytes) in waiting {
            let is_room = kept.last_bytes > 0 && kept.last_bytes + bytes.len() <= CHUNK_BYTES;
            let last = if is_room { store.get(Table::History, &self.row_key(kept.last_key))? } else { None };
            // Where the last row is damaged, a new one begins.
            let longer = last.and_then(|last| joined(&last, &bytes).ok());
            let number = match longer {
                Some(longer) => {
                    kept.bytes -= kept.last_bytes.min(kept.bytes);
                    bytes = longer;
                    kept.last_key
                }
                None => {
                    kept.bytes += self.row_key(0).len();
                    first_ms.max(kept.last_key + 1)
                }
            };
            kept.bytes += bytes.len();
            kept.last_key = number;
            kept.last_bytes = bytes.len();
            rows.push((number, bytes.len()));
            batch.put(Table::History, self.row_key(number), bytes);
        }
        self.drop_oldest(store, &rows, &mut kept, batch)?;
        let mut state = self.state.lock();
        state.history.kept = kept;
        batch.put_json(Table::ThingStates, self.id.to_string(), &state.to_stored())
    }

    /// Deletes the oldest rows of the disk until the rest is within the limit. The youngest stays. `written` are numbers and sizes of those
    /// that the batch has, one of which may be there already, and shorter.
    fn drop_oldest(&self, store: &Store, written: &[(u64, usize)], kept: &mut Kept, batch: &mut Batch) -> anyhow::Result<()> {
        let bytes_max = self.product.row.history_bytes as usize;
        let (prefix, mut after) = (format!("{}/", self.id), None::<String>);
        while kept.bytes > bytes_max {
            let oldest = store.list_some(Table::History, &prefix, after.as_deref(), ROWS_AT_ONCE)?;
            let Some((last, _)) = oldest.last() else {
                // What is left is in this batch; it is within the limit, or one row.
                return Ok(());
            };
            after = Some(last.clone());
            for (key, row) in oldest {
                if kept.bytes <= bytes_max || key == self.row_key(kept.last_key) {
                    return Ok(());
                }
                let longer = written.iter().find(|(number, _)| key == self.row_key(*number)).map(|(_, bytes)| *bytes);
                kept.bytes -= (key.len() + longer.unwrap_or(row.len())).min(kept.bytes);
                batch.delete(Table::History, key);
            }
        }
        Ok(())
    }

    /// Reads no more than it has to: a history may be much larger than a page of it.
    fn read_history(&self, store: &Store, times_ms: RangeInclusive<u64>, count_max: usize) -> anyhow::Result<(Vec<Report>, bool)> {
        let mut page = Page { times_ms, count_max, reports: Vec::new(), is_all: true };
        let (prefix, mut after) = (format!("{}/", self.id), None::<String>);
        loop {
            let rows = store.list_some(Table::History, &prefix, after.as_deref(), ROWS_AT_ONCE)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, row) in &rows {
                if !page.add(row).with_context(|| format!("row `{key}`"))? {
                    return Ok((page.reports, page.is_all));
                }
            }
        }
        for bytes in self.state.lock().history.waiting() {
            if !page.add(bytes)? {
                break;
            }
        }
        Ok((page.reports, page.is_all))
    }

    fn row_key(&self, number: u64) -> String {
        format!("{}/{number:020}", self.id)
    }
}

/// A chunk with the reports of another one after its own.
fn joined(chunk: &[u8], more: &[u8]) -> Result<Vec<u8>, history::Damaged> {
    let mut chunk = Chunk::resumed(chunk)?;
    for Report { time_ms, event, values } in history::read(more)? {
        chunk.push(time_ms, event.as_deref(), &values);
    }
    Ok(chunk.into_bytes())
}
