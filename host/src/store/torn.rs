//! Power loss, at every step of the disk: what was acknowledged is there, and no batch is there by half.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use super::{Batch, Store, Table};

/// A disk that loses power at a chosen step. What was not synced by then is kept in part: sectors of it, in no order.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    synced: Vec<u8>,
    written: Vec<u8>,
    steps: u64,
    steps_max: Option<u64>,
}

impl Disk {
    /// The same bytes, on a disk of its own that dies after so many steps.
    pub fn dying_at(&self, steps_max: u64) -> Self {
        Self(Arc::new(Mutex::new(State { steps: 0, steps_max: Some(steps_max), ..self.0.lock().clone() })))
    }

    /// The disk after the power is back. Each sector that was not synced is new or old, as the seed has it.
    pub fn revived(&self, seed: u64) -> Self {
        let state = self.0.lock();
        // The new length without the new bytes is one of the ways in which it can go wrong.
        let length = if chance(seed, 0) { state.written.len() } else { state.synced.len().min(state.written.len()) };
        let mut image = vec![0; length];
        for (number, sector) in image.chunks_mut(SECTOR_BYTES).enumerate() {
            let from = if chance(seed, number as u64 + 1) { &state.written } else { &state.synced };
            let source = from.get(number * SECTOR_BYTES..).unwrap_or_default();
            let known = source.len().min(sector.len());
            sector[..known].copy_from_slice(&source[..known]);
        }
        Self(Arc::new(Mutex::new(State { synced: image.clone(), written: image, ..State::default() })))
    }

    /// Steps that it has done.
    pub fn steps(&self) -> u64 {
        self.0.lock().steps
    }

    fn step(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.steps_max.is_some_and(|max| state.steps >= max) {
            return Err(io::Error::other("no power"));
        }
        state.steps += 1;
        change(&mut state);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        let source = state.written.get(offset as usize..offset as usize + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(source);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.step(|state| state.written.resize(length as usize, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(|state| state.synced = state.written.clone())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(|state| state.written[offset as usize..offset as usize + data.len()].copy_from_slice(data))
    }
}

/// A coin (SplitMix64), so that every run tosses the same.
fn chance(seed: u64, number: u64) -> bool {
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & 1 == 1
}

/// Commits until the power goes; says how many were acknowledged.
fn work(disk: Disk) -> usize {
    let Ok(store) = Store::with_backend(disk) else { return 0 };
    (0..COMMITS)
        .take_while(|number| {
            let mut batch = Batch::new();
            batch.put(Table::Things, format!("{number:02}"), vec![*number as u8; 3_000]);
            batch.put(Table::Routes, format!("{number:02}"), vec![*number as u8; 300]);
            store.commit(batch).is_ok()
        })
        .count()
}

#[test]
fn what_was_acknowledged_survives_power_loss_at_every_step() {
    // Creation is not part of it: `Store::open` does that under another name.
    let empty = Disk::default();
    drop(Store::with_backend(empty.clone()).unwrap());
    let healthy = empty.dying_at(u64::MAX);
    assert_eq!(work(healthy.clone()), COMMITS);
    let steps = healthy.steps();
    for cut in 0..steps {
        let disk = empty.dying_at(cut);
        let acknowledged = work(disk.clone());
        for seed in 0..IMAGES {
            let at = format!("power lost at step {cut} of {steps}, image {seed}");
            let store = Store::with_backend(disk.revived(seed)).unwrap_or_else(|error| panic!("{at}: {error}"));
            let things = store.list(Table::Things).unwrap();
            let routes = store.list(Table::Routes).unwrap();
            assert!(things.len() >= acknowledged, "{at}: {} of {acknowledged} are there", things.len());
            assert!(things.iter().map(|(key, _)| key).eq(routes.iter().map(|(key, _)| key)), "{at}: half a batch");
            assert!(things.iter().enumerate().all(|(number, (_, row))| *row == vec![number as u8; 3_000]), "{at}: a damaged row");
        }
    }
}

const SECTOR_BYTES: usize = 512;
const COMMITS: usize = 6;
const IMAGES: u64 = 8;
