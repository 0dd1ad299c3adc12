//! Last values and history on disk, written behind: what came within [`PERIOD`] before a power loss may be lost.
//!
//! A row for each thing, and for its history one for each chunk, under its thing's name and the number of the chunk's first report.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::history::{self, Chunk, Report};
use super::state::{CHUNK_BYTES, Kept, Stored, Waiting};
use super::{Fault, Thing, Things, fault};
use crate::memory;
use crate::name::ThingId;
use crate::store::writer::{Handle, NotWritten};
use crate::store::{Batch, Snapshot, Store, Table};

/// How often what changed is written.
pub const PERIOD: Duration = Duration::from_millis(500);
/// Rows that are looked at together.
const ROWS_AT_ONCE: usize = 64;
/// Things that are written in one commit: what the database holds meanwhile is as much as they have to say.
const THINGS_AT_ONCE: usize = 1_000;
/// Memory is not given back more often than this, since it holds others up for a moment.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(60);

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
        // Not on the caller's task: half a flush would lose what it has taken.
        let (things, writer) = (self.things.clone(), self.writer.clone());
        tokio::spawn(async move { things.flush(&writer).await }).await.unwrap_or(Ok(()))
    }
}

/// What the store has of things, by their names. Things that are not among them any more are left to [`Things::replace`].
pub(super) fn stored(store: &Store) -> anyhow::Result<HashMap<ThingId, Stored>> {
    let rows = store.list_json(Table::ThingStates)?.into_iter();
    Ok(rows.filter_map(|(key, row)| key.split_once('/').map(|(product, name)| (ThingId::new(product, name), row))).collect())
}

impl Things {
    async fn flush(self: Arc<Self>, writer: &Handle) -> Result<(), NotWritten> {
        let _turn = self.disk.lock().await;
        if !self.is_changed.swap(false, Relaxed) {
            return Ok(());
        }
        let all: Vec<Arc<Thing>> = self.table.load().things.values().cloned().collect();
        // Where there is none, some may be gone.
        for at in (0..all.len().max(1)).step_by(THINGS_AT_ONCE) {
            let (things, some) = (self.clone(), all[at..all.len().min(at + THINGS_AT_ONCE)].to_vec());
            match tokio::task::spawn_blocking(move || things.gather(&some)).await {
                Ok(batch) => writer.commit(batch).await?,
                Err(error) => tracing::error!("last values and history of things are not kept: {error}"),
            }
        }
        let now = self.clock.monotonic();
        let was_long_ago = |last: &mut Option<Instant>| last.is_none_or(|last| now.duration_since(last) > GIVE_BACK_EVERY);
        if all.len() > THINGS_AT_ONCE && was_long_ago(&mut self.gave_back.lock()) {
            // What many rows took while they were written is kept by nobody but the allocator.
            *self.gave_back.lock() = Some(now);
            let _ = tokio::task::spawn_blocking(memory::give_back).await;
        }
        Ok(())
    }

    /// What the disk does not know of these, and which things are gone, as a batch. What cannot be written waits for the next time.
    fn gather(&self, some: &[Arc<Thing>]) -> Batch {
        let mut batch = Batch::new();
        let again = |what: &dyn std::fmt::Display, error: anyhow::Error| {
            tracing::error!("what is to be remembered of {what} cannot be written yet: {error:#}");
            self.is_changed.store(true, Relaxed);
        };
        for id in std::mem::take(&mut *self.gone.lock()) {
            match self.store.keys(Table::History, &format!("{id}/")) {
                Ok(keys) => {
                    keys.into_iter().for_each(|key| batch.delete(Table::History, key));
                    batch.delete(Table::ThingStates, id.to_string());
                }
                Err(error) => {
                    again(&id, error);
                    self.gone.lock().push(id);
                }
            }
        }
        for thing in some {
            match thing.gather(&self.store) {
                Ok(own) => batch.append(own),
                Err(error) => again(&thing.id, error),
            }
        }
        batch
    }

    /// What a thing reported from one time to another, both included, in the order in which it came: `count_max` reports at most, from the
    /// report of the number `cursor` on. With it the cursor of what follows, if there is more.
    pub async fn history(
        self: &Arc<Self>,
        id: &ThingId,
        times_ms: RangeInclusive<u64>,
        cursor: u64,
        count_max: usize,
    ) -> Result<(Vec<Report>, Option<u64>), Fault> {
        let (thing, things) = (self.get(id)?, self.clone());
        let page = Page { times_ms, cursor, count_max, reports: Vec::new(), next: None };
        // Not while what waits is on its way to the disk: it would be seen twice, or not at all. Reading may take longer, and holds nobody up.
        let turn = self.disk.clone().lock_owned().await;
        let read = move || {
            let (kept, waiting) = (things.store.snapshot()?, thing.state.lock().history.waiting());
            drop(turn);
            thing.read_history(&kept, waiting, page)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(anyhow::Error::from).and_then(|read| read).map_err(|error| {
            tracing::error!("the history of thing `{id}` cannot be read: {error:#}");
            Fault::new(fault::READING_FILE, format!("the history of thing `{id}` cannot be read; the gateway's log says why"))
        })
    }
}

/// Reports that were asked for, as they are found.
struct Page {
    times_ms: RangeInclusive<u64>,
    cursor: u64,
    count_max: usize,
    reports: Vec<Report>,
    next: Option<u64>,
}

impl Page {
    /// `first` is the number of the chunk's first report. Whether there may be more to add.
    fn add(&mut self, first: u64, chunk: &[u8]) -> Result<bool, history::Damaged> {
        for (number, report) in (first..).zip(history::read(chunk)?) {
            if number < self.cursor || !self.times_ms.contains(&report.time_ms) {
                continue;
            }
            if self.reports.len() >= self.count_max {
                self.next = Some(number);
                return Ok(false);
            }
            self.reports.push(report);
        }
        Ok(true)
    }
}

impl Thing {
    /// What the disk does not know of it. On an error it waits again.
    fn gather(&self, store: &Store) -> anyhow::Result<Batch> {
        let (waiting, dropped, before) = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.is_changed) {
                return Ok(Batch::new());
            }
            let (waiting, dropped) = state.history.take();
            (waiting, dropped, state.history.kept)
        };
        let mut batch = Batch::new();
        let written = self.write_history(store, &waiting, dropped, before, &mut batch);
        let mut state = self.state.lock();
        match written {
            Ok(kept) => state.history.kept = kept,
            Err(error) => {
                state.history.put_back(waiting, dropped);
                state.is_changed = true;
                return Err(error);
            }
        }
        batch.put_json(Table::ThingStates, self.id.to_string(), &state.to_stored())?;
        Ok(batch)
    }

    fn write_history(&self, store: &Store, waiting: &[Waiting], dropped: u64, mut kept: Kept, batch: &mut Batch) -> anyhow::Result<Kept> {
        let bytes_max = self.product.row.history_bytes as usize;
        let is_cleared = dropped > 0 || bytes_max == 0;
        if is_cleared && kept.bytes > 0 {
            let keys = store.keys(Table::History, &format!("{}/", self.id))?;
            keys.into_iter().for_each(|key| batch.delete(Table::History, key));
        }
        if is_cleared {
            kept = Kept { bytes: 0, last_bytes: 0, next: kept.next + dropped, ..kept };
        }
        let mut written = Vec::with_capacity(waiting.len());
        for Waiting { count, bytes } in waiting.iter().filter(|_| bytes_max > 0) {
            let is_room = kept.last_bytes > 0 && kept.last_bytes + bytes.len() <= CHUNK_BYTES;
            let last = if is_room { store.get(Table::History, &self.row_key(kept.last))? } else { None };
            // Where the last row is damaged, a new one begins.
            let row = match last.and_then(|last| joined(&last, bytes).ok()) {
                Some(longer) => {
                    kept.bytes -= kept.last_bytes.min(kept.bytes);
                    longer
                }
                None => {
                    kept.last = kept.next;
                    kept.bytes += self.row_key(0).len();
                    bytes.clone()
                }
            };
            kept.bytes += row.len();
            kept.last_bytes = row.len();
            kept.next += count;
            written.push((kept.last, row.len()));
            batch.put(Table::History, self.row_key(kept.last), row);
        }
        if !is_cleared {
            self.drop_oldest(store, &written, &mut kept, batch)?;
        }
        Ok(kept)
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
                if kept.bytes <= bytes_max || key == self.row_key(kept.last) {
                    return Ok(());
                }
                let longer = written.iter().find(|(number, _)| key == self.row_key(*number)).map(|(_, bytes)| *bytes);
                kept.bytes -= (key.len() + longer.unwrap_or(row.len())).min(kept.bytes);
                batch.delete(Table::History, key);
            }
        }
        Ok(())
    }

    /// Decodes no more than it has to: a history may be much larger than a page of it.
    /// `waiting` are those that are not on the disk, and the number of the first of them.
    fn read_history(
        &self,
        kept: &Snapshot,
        (waiting, mut first): (Vec<Waiting>, u64),
        mut page: Page,
    ) -> anyhow::Result<(Vec<Report>, Option<u64>)> {
        let (prefix, mut after) = (format!("{}/", self.id), None::<String>);
        let number = |key: &str| key.rsplit('/').next().and_then(|number| number.parse::<u64>().ok());
        loop {
            let rows = kept.list_some(Table::History, &prefix, after.as_deref(), ROWS_AT_ONCE)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (at, (key, row)) in rows.iter().enumerate() {
                let is_before = rows.get(at + 1).and_then(|(next, _)| number(next)).is_some_and(|next| next <= page.cursor);
                let first = number(key).with_context(|| format!("row `{key}` has no number"))?;
                if !is_before && !page.add(first, row).with_context(|| format!("row `{key}`"))? {
                    return Ok((page.reports, page.next));
                }
            }
        }
        for Waiting { count, bytes } in waiting {
            if !page.add(first, &bytes)? {
                break;
            }
            first += count;
        }
        Ok((page.reports, page.next))
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
