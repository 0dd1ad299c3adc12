//! What changes about a thing while it is deployed: who answers for it, its last values, and the reports that wait for the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::calls::Calls;
use super::history::Chunk;
use super::tsl::Tsl;
use super::value::Property;
use super::{Device, Reported};

#[derive(Default)]
pub(super) struct State {
    pub device: Option<Arc<dyn Device>>,
    /// Of calls that have not ended, once there was one.
    pub calls: Option<Arc<Calls>>,
    pub online: bool,
    pub online_at_ms: Option<u64>,
    /// When it was first deployed here, as far as that is known.
    pub made_at_ms: u64,
    pub values: BTreeMap<String, Reported>,
    pub history: Recorder,
    /// The disk does not know all of it.
    pub is_changed: bool,
}

/// Reports that are not on the disk yet, and what is there already.
#[derive(Default)]
pub(super) struct Recorder {
    /// Made for the first report after a write, so that a thing that is silent takes nothing.
    open: Option<Box<Chunk>>,
    /// Chunks that are full.
    full: VecDeque<Waiting>,
    full_bytes: usize,
    /// Reports that were dropped from what waited: what is on the disk is too old then to be kept.
    dropped: u64,
    pub kept: Kept,
}

/// A chunk that waits for the disk.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// How many reports it has.
    pub count: u64,
    pub bytes: Vec<u8>,
}

/// What the disk has of a thing's history. Reports are numbered in the order in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Of all rows, their keys included.
    pub bytes: usize,
    /// Number of the first report of the youngest row, and its size, which is 0 if there is none.
    pub last: u64,
    pub last_bytes: usize,
    /// The number of the next report.
    pub next: u64,
}

/// The row of a thing.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Stored {
    online_at_ms: Option<u64>,
    #[serde(default)]
    made_at_ms: Option<u64>,
    values: BTreeMap<String, (Json, u64)>,
    history: Kept,
}

/// A chunk takes no more once it has so many bytes; a row of the disk is about as large.
pub(super) const CHUNK_BYTES: usize = 4 << 10;

impl State {
    /// As it was kept, or of a thing that is new. A value that the model has no place for any more is gone.
    pub fn restored(stored: Stored, tsl: &Tsl, now_ms: u64) -> Self {
        let known = |(name, (json, time_ms)): (String, (Json, u64))| {
            let value = tsl.property(&name)?.data_type.from_json(&json).ok()?;
            Some((name, Reported { value, time_ms }))
        };
        let values = stored.values.into_iter().filter_map(known).collect();
        let history = Recorder { kept: stored.history, ..Recorder::default() };
        let made_at_ms = stored.made_at_ms.unwrap_or(now_ms);
        let is_changed = stored.made_at_ms.is_none();
        Self { online_at_ms: stored.online_at_ms, made_at_ms, values, history, is_changed, ..Self::default() }
    }

    /// The thing has another model now: what that has no place for is gone, and how much is kept may be less.
    pub fn adapt(&mut self, tsl: &Tsl) {
        self.values.retain(|name, reported| {
            let adapted = tsl.property(name).and_then(|spec| spec.data_type.convert(reported.value.clone()).ok());
            adapted.map(|value| reported.value = value).is_some()
        });
        self.is_changed = true;
    }

    pub fn to_stored(&self) -> Stored {
        let values = self.values.iter().map(|(name, it)| (name.clone(), (it.value.to_json(), it.time_ms))).collect();
        Stored { online_at_ms: self.online_at_ms, made_at_ms: Some(self.made_at_ms), values, history: self.history.kept }
    }

    pub fn is_owned_by(&self, device: &Arc<dyn Device>) -> bool {
        self.device.as_ref().is_some_and(|own| std::ptr::addr_eq(Arc::as_ptr(own), Arc::as_ptr(device)))
    }

    /// Nobody answers for it any more. Whether it was online.
    pub fn leave(&mut self) -> bool {
        (self.device, self.calls) = (None, None);
        std::mem::replace(&mut self.online, false)
    }

    /// Whether it was online.
    pub fn come_online(&mut self, now_ms: u64) -> bool {
        self.online_at_ms = Some(now_ms);
        self.is_changed = true;
        std::mem::replace(&mut self.online, true)
    }

    /// Keeps reported values as the last ones and in the history, which has room for so many bytes.
    pub fn take_properties(&mut self, reported: &[Property], time_ms: u64, history_bytes: usize) {
        for Property { identifier, value } in reported {
            match self.values.get_mut(identifier) {
                Some(last) => *last = Reported { value: value.clone(), time_ms },
                None => drop(self.values.insert(identifier.clone(), Reported { value: value.clone(), time_ms })),
            }
        }
        self.record(time_ms, None, reported, history_bytes);
    }

    pub fn take_event(&mut self, event: &str, outputs: &[Property], time_ms: u64, history_bytes: usize) {
        self.record(time_ms, Some(event), outputs, history_bytes);
    }

    fn record(&mut self, time_ms: u64, event: Option<&str>, values: &[Property], history_bytes: usize) {
        self.is_changed = true;
        if history_bytes > 0 {
            self.history.push(time_ms, event, values, history_bytes);
        }
    }
}

impl Recorder {
    fn push(&mut self, time_ms: u64, event: Option<&str>, values: &[Property], bytes_max: usize) {
        let open = self.open.get_or_insert_default();
        open.push(time_ms, event, values);
        if open.bytes().len() < CHUNK_BYTES {
            return;
        }
        let full = Waiting::of(std::mem::take(&mut **open));
        self.full_bytes += full.bytes.len();
        self.full.push_back(full);
        self.open = None;
        // What would not stay on the disk need not wait for it. The youngest stays, however large it is.
        while self.full_bytes > bytes_max
            && self.full.len() > 1
            && let Some(oldest) = self.full.pop_front()
        {
            self.full_bytes -= oldest.bytes.len();
            self.dropped += oldest.count;
        }
    }

    /// All that waits, in its order, and how many reports before it are lost for good.
    pub fn take(&mut self) -> (Vec<Waiting>, u64) {
        self.full_bytes = 0;
        let open = self.open.take().filter(|open| !open.is_empty());
        let waiting = std::mem::take(&mut self.full).into_iter().chain(open.map(|open| Waiting::of(*open))).collect();
        (waiting, std::mem::take(&mut self.dropped))
    }

    /// What was taken could not be written, and waits again.
    pub fn put_back(&mut self, waiting: Vec<Waiting>, dropped: u64) {
        self.dropped += dropped;
        for chunk in waiting.into_iter().rev() {
            self.full_bytes += chunk.bytes.len();
            self.full.push_front(chunk);
        }
    }

    /// A copy of what waits, and the number of its first report.
    pub fn waiting(&self) -> (Vec<Waiting>, u64) {
        let open = self.open.iter().map(|open| Waiting { count: open.count(), bytes: open.bytes().to_vec() });
        (self.full.iter().cloned().chain(open).collect(), self.kept.next + self.dropped)
    }
}

impl Waiting {
    fn of(chunk: Chunk) -> Self {
        Self { count: chunk.count(), bytes: chunk.into_bytes() }
    }
}
