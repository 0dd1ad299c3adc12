//! What a commit costs: by the database, and by a file that is only appended to, which is the least that any log of our own would do.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::store::{Batch, Store, Table};

/// Jobs of one commit, as of so many callers, and the bytes that each of them takes.
const JOBS: usize = 64;
const JOB_BYTES: usize = 350;
/// Before the file begins anew, as a log would go to its next segment.
const FILE_BYTES: u64 = 64 << 20;

/// Two files beside the database: one that grows, and one whose blocks are there already.
struct Files {
    growing: File,
    filled: File,
}

pub fn measure(effort: &Effort, scratch: &Scratch) -> anyhow::Result<Row> {
    let dir = scratch.path().join("commit");
    let store = Store::open(&dir)?;
    let mut files = Files::open(&dir)?;
    let jobs = vec![b'x'; JOBS * JOB_BYTES];
    let (mut database, mut growing, mut filled) = (Samples::default(), Samples::default(), Samples::default());
    for at in 0..effort.rounds * 3 {
        let began = Instant::now();
        let mut batch = Batch::new();
        // As the queue does: one row for all that came together, and the one from a while ago is gone.
        batch.put(Table::Jobs, format!("{at:016x}"), jobs.clone());
        if let Some(old) = at.checked_sub(32) {
            batch.delete(Table::Jobs, format!("{old:016x}"));
        }
        store.commit(batch)?;
        database.add(us(began));
        growing.add(appended(&mut files.growing, &jobs)?);
        filled.add(appended(&mut files.filled, &jobs)?);
    }
    let baseline = Row::of_samples(Name::Commit, &filled);
    let note = format!(
        "{JOBS} jobs; beside an append to a file whose blocks are there; {:.0} us to one that grows; median of {}",
        growing.median(),
        database.len()
    );
    Ok(Row::of_samples(Name::Commit, &database).beside(&baseline).note(note))
}

impl Files {
    fn open(dir: &Path) -> anyhow::Result<Self> {
        let new = |name: &str| OpenOptions::new().create(true).truncate(true).write(true).open(dir.join(name));
        let (growing, mut filled) = (new("growing")?, new("filled")?);
        let zeros = vec![0; 1 << 20];
        for _ in 0..FILE_BYTES >> 20 {
            filled.write_all(&zeros)?;
        }
        filled.sync_all()?;
        filled.seek(SeekFrom::Start(0))?;
        Ok(Self { growing, filled })
    }
}

fn appended(file: &mut File, bytes: &[u8]) -> anyhow::Result<f64> {
    if file.stream_position()? + bytes.len() as u64 > FILE_BYTES {
        file.seek(SeekFrom::Start(0))?;
    }
    let began = Instant::now();
    file.write_all(bytes)?;
    file.sync_data()?;
    Ok(us(began))
}

fn us(began: Instant) -> f64 {
    began.elapsed().as_nanos() as f64 / 1_000.0
}
