//! What is on disk. Jobs that are accepted together are one row, so that a commit writes few pages however many callers it acknowledges.
//!
//! | table | key | row |
//! |---|---|---|
//! | `jobs` | the number of the first job of the block | the jobs, numbered one after another |
//! | `jobs_gone` | the same | a bit for each job of the block that is there no more; both rows go with the last one |
//! | `ended` | the number of the commit | how the jobs ended that it ended |
//! | `results` | the job's id | the result, for jobs with a key |
//! | `dead_letters` | the job's number | the job, with all of its attempts |
//!
//! Rows are postcard after one byte that says which form they have.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::KEPT;
use super::job::{DeadLetter, Ended, Job};
use crate::clock::{Clock, Now};
use crate::store::{Batch, Store, Table};

/// What one thread, that of the commits, knows of the rows.
#[derive(Default)]
pub struct Log {
    blocks: BTreeMap<u64, Block>,
    next_commit: u64,
    ended: VecDeque<EndedRow>,
    ended_jobs: usize,
}

struct Block {
    jobs: u32,
    gone: Vec<u8>,
    gone_count: u32,
}

/// A row of the table `ended`.
struct EndedRow {
    commit: u64,
    jobs: Vec<Kept>,
    /// When nobody needs it any more.
    until: Instant,
}

/// What is needed to forget a job.
#[derive(Clone, Copy)]
pub struct Kept {
    pub id: Uuid,
    pub commit: u64,
    pub result_bytes: Option<u32>,
    is_keyed: bool,
}

/// What was read at the start.
#[derive(Default)]
pub struct Loaded {
    pub jobs: Vec<(u64, Job)>,
    /// With the commit that holds it.
    pub ended: Vec<(u64, Ended)>,
    pub dead: Vec<(u64, DeadLetter)>,
    pub next_number: u64,
}

/// What a commit changes.
#[derive(Default)]
pub struct Changes {
    /// In the order of their numbers, which are those of no other jobs.
    pub added: Vec<(u64, Job)>,
    pub gone: Vec<u64>,
    pub ended: Vec<(Ended, Option<Vec<u8>>)>,
    pub dead: Vec<(u64, DeadLetter)>,
    /// Dead letters that are dead no more.
    pub buried: Vec<u64>,
}

impl Log {
    pub fn load(store: &Store, clock: &Clock) -> anyhow::Result<(Self, Loaded)> {
        let (mut log, mut loaded, now) = (Self::default(), Loaded::default(), clock.now());
        let gone: HashMap<String, Vec<u8>> = store.list(Table::JobsGone)?.into_iter().collect();
        for (key, row) in store.list(Table::Jobs)? {
            let first = number(&key)?;
            let jobs: Vec<Job> = decoded(Table::Jobs, &key, &row)?;
            let mut block = Block::new(jobs.len());
            for (at, job) in jobs.into_iter().enumerate() {
                if gone.get(&key).is_some_and(|gone| is_set(gone, at)) {
                    block.leave(at);
                } else {
                    loaded.jobs.push((first + at as u64, job));
                }
            }
            loaded.next_number = loaded.next_number.max(first + u64::from(block.jobs));
            log.blocks.insert(first, block);
        }
        for (key, row) in store.list(Table::Ended)? {
            let commit = number(&key)?;
            let jobs: Vec<Ended> = decoded(Table::Ended, &key, &row)?;
            let newest_ms = jobs.iter().map(|job| job.ended_ms).max().unwrap_or_default();
            log.remember(commit, &jobs, now.monotonic + left(now, newest_ms, KEPT));
            log.next_commit = commit + 1;
            loaded.ended.extend(jobs.into_iter().map(|job| (commit, job)));
        }
        for (key, row) in store.list(Table::DeadLetters)? {
            let number = number(&key)?;
            loaded.dead.push((number, decoded(Table::DeadLetters, &key, &row)?));
            loaded.next_number = loaded.next_number.max(number + 1);
        }
        Ok((log, loaded))
    }

    /// Adds `changes` to `batch`; where the jobs that ended are then, by the number of their row.
    pub fn write(&mut self, changes: &Changes, now: Instant, batch: &mut Batch) -> u64 {
        for jobs in blocks_of(&changes.added) {
            let first = jobs[0].0;
            let row: Vec<&Job> = jobs.iter().map(|(_, job)| job).collect();
            batch.put(Table::Jobs, key(first), encoded(&row, jobs.iter().map(|(_, job)| job.bytes()).sum()));
            self.blocks.insert(first, Block::new(jobs.len()));
        }
        let mut touched = Vec::new();
        for number in &changes.gone {
            let Some((first, block)) = self.blocks.range_mut(..=number).next_back() else { continue };
            block.leave((number - first) as usize);
            touched.push(*first);
        }
        touched.sort_unstable();
        touched.dedup();
        for first in touched {
            let Some(block) = self.blocks.get(&first) else { continue };
            if block.gone_count < block.jobs {
                batch.put(Table::JobsGone, key(first), block.gone.clone());
            } else {
                batch.delete(Table::Jobs, key(first));
                batch.delete(Table::JobsGone, key(first));
                self.blocks.remove(&first);
            }
        }
        for (number, letter) in &changes.dead {
            batch.put(Table::DeadLetters, key(*number), encoded(letter, letter.job.bytes()));
        }
        for number in &changes.buried {
            batch.delete(Table::DeadLetters, key(*number));
        }
        let commit = self.next_commit;
        if !changes.ended.is_empty() {
            let ended: Vec<&Ended> = changes.ended.iter().map(|(ended, _)| ended).collect();
            batch.put(Table::Ended, key(commit), encoded(&ended, ended.len() * ENDED_BYTES));
            for (ended, result) in &changes.ended {
                if let Some(result) = result {
                    batch.put(Table::Results, ended.id.simple().to_string(), result.clone());
                }
            }
            self.remember(commit, changes.ended.iter().map(|(ended, _)| ended), now + KEPT);
            self.next_commit += 1;
        }
        commit
    }

    fn remember<'e>(&mut self, commit: u64, jobs: impl IntoIterator<Item = &'e Ended>, until: Instant) {
        let kept = |job: &Ended| Kept { id: job.id, commit, result_bytes: job.result_bytes, is_keyed: job.key.is_some() };
        let jobs: Vec<_> = jobs.into_iter().map(kept).collect();
        self.ended_jobs += jobs.len();
        self.ended.push_back(EndedRow { commit, jobs, until });
    }

    /// Drops what is known of jobs that ended [`KEPT`] ago, and the oldest where they are too many, but for those with a key. The jobs
    /// that nothing is known of any more.
    pub fn forget(&mut self, now: Instant, jobs_max: usize, batch: &mut Batch) -> Vec<Kept> {
        let mut forgotten = Vec::new();
        while let Some(row) = self.ended.front() {
            let is_spare = self.ended_jobs > jobs_max && row.jobs.iter().all(|job| !job.is_keyed);
            if row.until > now && !is_spare {
                break;
            }
            batch.delete(Table::Ended, key(row.commit));
            for job in row.jobs.iter().filter(|job| job.result_bytes.is_some()) {
                batch.delete(Table::Results, job.id.simple().to_string());
            }
            self.ended_jobs -= row.jobs.len();
            forgotten.extend(&row.jobs);
            self.ended.pop_front();
        }
        forgotten
    }
}

/// What is left of `whole` that began at `from_ms`, which was on a clock that may have been set since.
pub fn left(now: Now, from_ms: u64, whole: Duration) -> Duration {
    whole.saturating_sub(Duration::from_millis(now.unix_ms.saturating_sub(from_ms)))
}

impl Block {
    fn new(jobs: usize) -> Self {
        Self { jobs: u32::try_from(jobs).expect("a block has few jobs"), gone: vec![0; jobs.div_ceil(8)], gone_count: 0 }
    }

    fn leave(&mut self, at: usize) {
        if !is_set(&self.gone, at) {
            self.gone[at / 8] |= 1 << (at % 8);
            self.gone_count += 1;
        }
    }
}

fn is_set(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0)
}

/// Cuts the jobs into blocks: small enough that a row with one job left in it does not keep much.
fn blocks_of(jobs: &[(u64, Job)]) -> Vec<&[(u64, Job)]> {
    let (mut blocks, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for at in 0..jobs.len() {
        let own = jobs[at].1.bytes();
        let follows = at == begin || jobs[at].0 == jobs[at - 1].0 + 1;
        if at > begin && (bytes + own > BLOCK_BYTES_MAX || at - begin >= BLOCK_JOBS_MAX || !follows) {
            blocks.push(&jobs[begin..at]);
            (begin, bytes) = (at, 0);
        }
        bytes += own;
    }
    if begin < jobs.len() {
        blocks.push(&jobs[begin..]);
    }
    blocks
}

const BLOCK_BYTES_MAX: usize = 256 << 10;
const BLOCK_JOBS_MAX: usize = 512;
/// About what one takes.
const ENDED_BYTES: usize = 128;

/// How one job ended, of the row that holds it.
pub fn ended(store: &Store, commit: u64, id: Uuid) -> anyhow::Result<Option<Ended>> {
    let key = key(commit);
    let Some(row) = store.get(Table::Ended, &key)? else { return Ok(None) };
    let jobs: Vec<Ended> = decoded(Table::Ended, &key, &row)?;
    Ok(jobs.into_iter().find(|job| job.id == id))
}

pub fn result(store: &Store, id: Uuid) -> anyhow::Result<Option<Vec<u8>>> {
    store.get(Table::Results, &id.simple().to_string())
}

pub fn dead_letter(store: &Store, number: u64) -> anyhow::Result<Option<DeadLetter>> {
    let key = key(number);
    store.get(Table::DeadLetters, &key)?.map(|row| decoded(Table::DeadLetters, &key, &row)).transpose()
}

fn key(number: u64) -> String {
    format!("{number:016x}")
}

fn number(key: &str) -> anyhow::Result<u64> {
    u64::from_str_radix(key, 16).with_context(|| format!("`{key}` is no key of the queue"))
}

/// What the rows of now begin with.
const FORM: u8 = 1;

/// `bytes` is about what it takes: a row that grows is copied again and again.
fn encoded(row: &impl Serialize, bytes: usize) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes);
    encoded.push(FORM);
    postcard::to_extend(row, encoded).expect("these types have a form in postcard")
}

fn decoded<T: DeserializeOwned>(table: Table, key: &str, row: &[u8]) -> anyhow::Result<T> {
    let at = || format!("row `{key}` of table `{table:?}`");
    match row.split_first() {
        Some((&FORM, row)) => postcard::from_bytes(row).with_context(|| format!("{} is damaged", at())),
        Some((form, _)) => bail!("{} has form {form}; this gateway knows form {FORM}: was it written by a newer one?", at()),
        None => bail!("{} is empty", at()),
    }
}
