//! Group commit: one thread writes what everybody wants written, all of it with one commit. A commit starts as soon as the last one has
//! ended, and takes what came meanwhile, so that a hundred callers who wait for the disk wait for it once or twice.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use anyhow::Context;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{Batch, Store};

/// Somebody who has something for every commit, and would rather say it all at once than each by itself.
pub trait Source: Send + Sync {
    /// Adds what is to be written. Called by one thread, before each commit.
    fn gather(&self, batch: &mut Batch);

    /// What was gathered last is on disk.
    fn committed(&self);

    /// What was gathered last is not, and nothing will be.
    fn failed(&self);
}

/// The thread. Dropped without [`Writer::stop`] it ends after the commit that is under way.
pub struct Writer {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Where to say what is to be written.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    batches: Vec<(Batch, oneshot::Sender<()>)>,
    sources: Vec<Weak<dyn Source>>,
    /// A source has something.
    is_woken: bool,
    is_ending: bool,
    is_broken: bool,
}

/// What was to be written is not on disk. The gateway stops (`Store::broken`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database cannot be written; the gateway's log says why")]
pub struct NotWritten;

impl Writer {
    pub fn start(store: Arc<Store>) -> anyhow::Result<Self> {
        let handle = Handle(Arc::new(Shared { store, wanted: Mutex::default(), changed: Condvar::new() }));
        let shared = handle.0.clone();
        let thread = std::thread::Builder::new().name("ledge-writer".into()).spawn(move || shared.run());
        Ok(Self { handle, thread: Some(thread.context("starting the thread that writes to the database")?) })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes what is wanted by now, and ends. Blocks for as long.
    pub fn stop(mut self) {
        self.handle.0.end();
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did the log has it.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.handle.0.end();
    }
}

impl Handle {
    /// From now on `source` is asked before each commit, until its last `Arc` is dropped.
    pub fn attach(&self, source: &Arc<dyn Source>) {
        self.0.wanted.lock().sources.push(Arc::downgrade(source));
    }

    /// A source has something to write.
    pub fn wake(&self) {
        self.0.wanted.lock().is_woken = true;
        self.0.changed.notify_one();
    }

    /// Has `batch` written. Batches are applied in the order of these calls; the future only waits, and need not be polled for that.
    pub fn commit(&self, batch: Batch) -> impl Future<Output = Result<(), NotWritten>> + Send + use<> {
        let (done, written) = oneshot::channel();
        let mut wanted = self.0.wanted.lock();
        // Refused where it would wait for ever: the sender is dropped.
        if !wanted.is_broken {
            wanted.batches.push((batch, done));
            self.0.changed.notify_one();
        }
        drop(wanted);
        async { written.await.map_err(|_| NotWritten) }
    }
}

impl Shared {
    fn end(&self) {
        self.wanted.lock().is_ending = true;
        self.changed.notify_one();
    }

    fn run(&self) {
        loop {
            let (batches, sources) = {
                let mut wanted = self.wanted.lock();
                while !wanted.is_woken && wanted.batches.is_empty() {
                    if wanted.is_ending {
                        return;
                    }
                    self.changed.wait(&mut wanted);
                }
                wanted.is_woken = false;
                wanted.sources.retain(|source| source.strong_count() > 0);
                let sources: Vec<_> = wanted.sources.iter().filter_map(Weak::upgrade).collect();
                (std::mem::take(&mut wanted.batches), sources)
            };
            if !self.write(batches, &sources) {
                let mut wanted = self.wanted.lock();
                wanted.is_broken = true;
                wanted.batches.clear();
                return;
            }
        }
    }

    /// One commit. Whether it went well.
    fn write(&self, batches: Vec<(Batch, oneshot::Sender<()>)>, sources: &[Arc<dyn Source>]) -> bool {
        let mut all = Batch::new();
        let mut waiting = Vec::with_capacity(batches.len());
        for (batch, done) in batches {
            all.append(batch);
            waiting.push(done);
        }
        for source in sources {
            source.gather(&mut all);
        }
        // The store tells whoever watches it why.
        let is_written = self.store.commit(all).is_ok();
        for source in sources {
            if is_written { source.committed() } else { source.failed() }
        }
        if is_written {
            for done in waiting {
                let _ = done.send(());
            }
        }
        is_written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Table;

    #[tokio::test]
    async fn what_many_want_is_written_in_their_order() {
        let store = Arc::new(Store::in_memory());
        let writer = Writer::start(store.clone()).unwrap();
        let mut waits = Vec::new();
        for number in 0..100u8 {
            let mut batch = Batch::new();
            batch.put(Table::Meta, "last", vec![number]);
            batch.put(Table::Meta, format!("{number:02}"), vec![number]);
            waits.push(writer.handle().commit(batch));
        }
        for wait in waits {
            wait.await.unwrap();
        }
        assert_eq!(store.get(Table::Meta, "last").unwrap(), Some(vec![99]));
        assert_eq!(store.list(Table::Meta).unwrap().len(), 101);
        writer.stop();
    }

    #[tokio::test]
    async fn what_was_wanted_before_the_stop_is_written() {
        let store = Arc::new(Store::in_memory());
        let writer = Writer::start(store.clone()).unwrap();
        let mut batch = Batch::new();
        batch.put(Table::Meta, "a", "1");
        let written = writer.handle().commit(batch);
        writer.stop();
        written.await.unwrap();
        assert!(store.get(Table::Meta, "a").unwrap().is_some());
    }
}
