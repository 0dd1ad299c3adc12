//! The queue against a model of it, through random operations, crashes and reopenings; and on a disk that loses power at every step.

use std::collections::HashMap;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::job::{Ended, Status};
use super::*;
use crate::clock::Hands;
use crate::store::Batch;
use crate::store::torn::Disk;

const START_MS: u64 = 1_700_000_000_000;

/// A queue with no thread that commits: the test is that thread.
struct Bench {
    store: Arc<Store>,
    clock: Clock,
    hands: Hands,
    queue: Arc<Queue>,
}

impl Bench {
    fn new() -> Self {
        Self::on(Store::in_memory()).unwrap()
    }

    fn on(store: Store) -> anyhow::Result<Self> {
        let (store, (clock, hands)) = (Arc::new(store), Clock::fixed(START_MS));
        let queue = Queue::open(store.clone(), clock.clone(), None)?;
        Ok(Self { store, clock, hands, queue })
    }

    fn commit(&self) -> bool {
        let mut batch = Batch::new();
        self.queue.gather(&mut batch);
        let is_written = self.store.commit(batch).is_ok();
        if is_written {
            self.queue.committed()
        } else {
            self.queue.failed()
        }
        is_written
    }

    /// As if the process had been killed.
    fn reopen(&mut self) {
        self.queue = Queue::open(self.store.clone(), self.clock.clone(), None).unwrap();
    }

    fn submit(&self, job: Job) -> Accepted {
        let written = self.queue.submit(job).unwrap();
        assert!(self.commit());
        written.now_or_never().expect("it is on disk").unwrap()
    }

    fn lease(&self) -> Option<Lease> {
        match self.queue.try_lease() {
            Next::Lease(lease) => Some(lease),
            _ => None,
        }
    }

    fn end(&self, lease: Lease, outcome: Outcome) {
        let written = self.queue.end(lease, outcome, vec![]);
        assert!(self.commit());
        written.now_or_never().expect("it is on disk").unwrap();
    }
}

fn job(target: &str, event: usize) -> Job {
    Job::new(target.parse().unwrap(), vec![0; event], 8)
}

fn keyed(target: &str, key: &str) -> Job {
    Job { key: Some(key.to_owned()), ..job(target, 1) }
}

fn retry(after: Duration) -> Outcome {
    Outcome::Retry { began_ms: 0, error: "no".to_owned(), after }
}

fn dead() -> Outcome {
    Outcome::Dead { began_ms: 0, error: "never".to_owned() }
}

#[test]
fn a_target_with_many_jobs_does_not_hide_another() {
    let bench = Bench::new();
    for _ in 0..100 {
        bench.submit(job("a/slow", 1));
    }
    bench.submit(job("a/quick", 1));
    let targets = [bench.lease(), bench.lease()].map(|lease| lease.unwrap().job.target.function().to_owned());
    assert_eq!(targets, ["slow", "quick"]);
}

#[test]
fn many_jobs_of_one_target_are_a_backlog_and_a_few_are_none() {
    let bench = Bench::new();
    for _ in 0..BACKLOG + 3 {
        bench.submit(job("a/slow", 1));
    }
    bench.submit(job("a/quick", 1));
    let leases: Vec<_> = std::iter::from_fn(|| bench.lease()).map(|lease| (lease.job.target.to_string(), lease.is_backlog)).collect();
    let of = |name| leases.iter().filter(move |(target, _)| target == name).map(|(_, is_backlog)| *is_backlog).collect::<Vec<_>>();
    assert_eq!(of("a/slow"), [true, true, true, false, false, false, false, false]);
    assert_eq!(of("a/quick"), [false]);
}

#[test]
fn there_is_no_backlog_in_a_queue_that_is_half_full() {
    let bench = Bench::new();
    bench.submit(job("a/large", BYTES_MAX / 2));
    for _ in 0..BACKLOG + 1 {
        bench.submit(job("a/slow", 1));
    }
    let large = bench.lease().unwrap();
    assert!(!bench.lease().unwrap().is_backlog);
    bench.end(large, Outcome::Done(Bytes::new()));
    for _ in 0..BACKLOG {
        bench.submit(job("a/slow", 1));
    }
    assert!(bench.lease().unwrap().is_backlog);
}

#[test]
fn an_end_brings_the_next_job_of_the_same_place() {
    let bench = Bench::new();
    let ids: Vec<_> = (0..3).map(|_| bench.submit(Job { concurrency: 1, ..job("a/b", 1) }).id).collect();
    let first = bench.lease().unwrap();
    assert!(bench.lease().is_none());
    let second = bench.queue.end_and_lease(first, Outcome::Done(Bytes::new()), vec![]).unwrap();
    assert_eq!(second.job.id, ids[1]);
    assert!(bench.lease().is_none());
    let third = bench.queue.end_and_lease(second, dead(), vec![]).unwrap();
    assert!(bench.queue.end_and_lease(third, Outcome::Done(Bytes::new()), vec![]).is_none());
    assert!(bench.commit());
    assert_eq!((bench.queue.rows(), bench.queue.dead_letters().len()), (0, 1));
}

#[test]
fn a_full_queue_refuses_and_has_room_again_when_a_job_is_done() {
    let bench = Bench::new();
    bench.submit(job("a/b", BYTES_MAX - 256));
    assert_eq!(bench.queue.submit(job("a/c", 1)).err(), Some(QueueError::Bytes));
    let lease = bench.lease().unwrap();
    bench.end(lease, Outcome::Done(Bytes::new()));
    bench.submit(job("a/c", 1));
    assert_eq!(bench.queue.rows(), 1);
}

#[test]
fn nobody_is_told_before_it_is_on_disk_and_nothing_runs_before() {
    let bench = Bench::new();
    let mut written = Box::pin(bench.queue.submit(job("a/b", 1)).unwrap());
    assert!((&mut written).now_or_never().is_none());
    assert!(bench.lease().is_none());
    assert!(bench.commit());
    assert!(written.now_or_never().unwrap().is_ok());
    assert!(bench.lease().is_some());
}

#[test]
fn a_key_is_one_job_for_a_day_and_then_another() {
    let mut bench = Bench::new();
    let first = bench.submit(keyed("a/b", "k"));
    assert_eq!(bench.submit(keyed("a/b", "k")), Accepted { id: first.id, is_duplicate: true });
    assert!(!bench.submit(keyed("a/c", "k")).is_duplicate, "a key is of one function");
    let lease = bench.lease().unwrap();
    bench.end(lease, Outcome::Done("result".into()));
    bench.reopen();
    assert!(bench.submit(keyed("a/b", "k")).is_duplicate);
    assert_eq!(bench.queue.result(first.id).unwrap().unwrap(), b"result");
    assert!(matches!(bench.queue.status(first.id).unwrap(), Some(Status::Ended(Ended { error: None, attempts: 1, .. }))));
    bench.hands.advance(KEPT);
    assert!(bench.commit());
    assert!(!bench.submit(keyed("a/b", "k")).is_duplicate);
    assert!(bench.commit());
    assert_eq!(bench.queue.result(first.id).unwrap(), None);
    assert_eq!(bench.queue.status(first.id).unwrap(), None);
}

#[test]
fn a_pause_is_kept_over_a_restart_and_no_jump_of_the_clock_makes_it_longer() {
    let mut bench = Bench::new();
    bench.submit(job("a/b", 1));
    bench.end(bench.lease().unwrap(), retry(Duration::from_secs(30)));
    bench.hands.advance(Duration::from_secs(20));
    bench.reopen();
    assert!(bench.lease().is_none());
    bench.hands.set_unix_ms(0);
    bench.reopen();
    bench.hands.advance(Duration::from_secs(30));
    assert_eq!(bench.lease().unwrap().job.attempts.len(), 1);
}

/// Each day a job that fails four times, with the usual pauses; once a week the gateway is started again in the middle of them.
#[test]
fn a_year_of_retries_has_every_try_at_its_time_over_restarts() {
    let mut bench = Bench::new();
    let pauses = [1, 5, 30, 120].map(Duration::from_secs);
    for day in 0..365 {
        let id = bench.submit(job("a/b", 1)).id;
        for (tried, pause) in pauses.into_iter().enumerate() {
            let lease = bench.lease().expect("it is time");
            assert_eq!((lease.job.id, lease.job.attempts.len()), (id, tried));
            bench.end(lease, retry(pause));
            bench.hands.advance(pause - Duration::from_millis(1));
            assert!(bench.lease().is_none(), "not before its time");
            if day % 7 == 0 {
                bench.reopen();
                assert!(bench.lease().is_none(), "nor after a restart");
            }
            bench.hands.advance(Duration::from_millis(1));
        }
        let lease = bench.lease().unwrap();
        assert_eq!(lease.job.attempts.len(), 4);
        bench.end(lease, Outcome::Done(Bytes::new()));
        bench.hands.advance(Duration::from_secs(86_400 - 156));
    }
    assert_eq!(bench.queue.rows(), 0);
}

#[test]
fn dead_letters_stay_until_somebody_says_what_becomes_of_them() {
    let mut bench = Bench::new();
    let ids = [bench.submit(job("a/b", 3)).id, bench.submit(job("a/b", 3)).id];
    for _ in ids {
        bench.end(bench.lease().unwrap(), dead());
    }
    bench.reopen();
    assert_eq!(bench.queue.dead_letters().len(), 2);
    assert_eq!(bench.queue.dead_letter(ids[0]).unwrap().unwrap().job.attempts[0].error, "never");
    let requeued = bench.queue.unbury(|head| head.id == ids[0], true);
    let purged = bench.queue.unbury(|head| head.id == ids[1], false);
    assert!(bench.commit());
    assert_eq!((requeued.now_or_never().unwrap().unwrap(), purged.now_or_never().unwrap().unwrap()), (1, 1));
    bench.reopen();
    assert!(bench.queue.dead_letters().is_empty());
    let lease = bench.lease().unwrap();
    assert_eq!((lease.job.id, lease.job.attempts.len()), (ids[0], 0));
    bench.end(lease, Outcome::Done(Bytes::new()));
    assert_eq!(bench.queue.rows(), 0);
}

#[test]
fn a_function_with_too_many_dead_letters_gets_no_more_jobs_and_others_do() {
    let bench = Bench::new();
    for _ in 0..DEAD_LETTERS_MAX {
        drop(bench.queue.submit(job("a/b", 1)).unwrap());
    }
    assert!(bench.commit());
    while let Some(lease) = bench.lease() {
        drop(bench.queue.end(lease, dead(), vec![]));
    }
    assert!(bench.commit());
    assert!(matches!(bench.queue.submit(job("a/b", 1)).err(), Some(QueueError::DeadLetters(_))));
    bench.submit(job("a/c", 1));
}

#[test]
fn what_is_known_of_ended_jobs_has_an_end() {
    let bench = Bench::new();
    for _ in 0..ENDED_MAX / 500 + 2 {
        for at in 0..500 {
            drop(bench.queue.submit(job(&format!("a/f{}", at % 40), 1)).unwrap());
        }
        assert!(bench.commit());
        while let Some(lease) = bench.lease() {
            drop(bench.queue.end(lease, Outcome::Done(Bytes::new()), vec![]));
        }
        assert!(bench.commit());
    }
    assert!(bench.commit());
    assert!(bench.queue.state.lock().ids.len() <= ENDED_MAX);
    assert!(bench.store.list(crate::store::Table::Jobs).unwrap().is_empty());
}

#[tokio::test]
async fn a_stopped_queue_wakes_its_workers() {
    let bench = Bench::new();
    let (leased, ()) = tokio::join!(bench.queue.lease(), async { bench.queue.stop() });
    assert!(leased.is_none());
    assert_eq!(bench.queue.submit(job("a/b", 1)).err(), Some(QueueError::Stopping));
}

/// What the queue must be: as simple as it can be said.
#[derive(Default)]
struct Model {
    jobs: Vec<Known>,
    /// What the next commit does.
    arriving: Vec<Known>,
    ending: Vec<(Uuid, Now)>,
    now_s: u64,
}

#[derive(Clone, Debug)]
struct Known {
    id: Uuid,
    target: u8,
    key: Option<u8>,
    attempts: u32,
    now: Now,
    is_leased: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Now {
    /// From that second on.
    Waiting(u64),
    Done,
    Dead,
    Purged,
}

impl Model {
    /// The job that has this key, if there is one.
    fn same(&self, target: u8, key: Option<u8>) -> Option<Uuid> {
        let has = |job: &&Known| job.target == target && job.key == key && key.is_some();
        self.jobs.iter().chain(&self.arriving).find(has).map(|job| job.id)
    }

    fn submit(&mut self, id: Uuid, target: u8, key: Option<u8>) {
        self.arriving.push(Known { id, target, key, attempts: 0, now: Now::Waiting(0), is_leased: false });
    }

    fn is_free(&self, job: &Known) -> bool {
        matches!(job.now, Now::Waiting(at) if at <= self.now_s) && !job.is_leased
    }

    fn leased(&mut self, id: Uuid) {
        let job = self.job(id);
        job.is_leased = true;
    }

    fn job(&mut self, id: Uuid) -> &mut Known {
        self.jobs.iter_mut().find(|job| job.id == id).expect("a job that was committed")
    }

    fn commit(&mut self) {
        self.jobs.append(&mut self.arriving);
        let again = Now::Waiting(self.now_s + RETRY_S);
        for (id, now) in std::mem::take(&mut self.ending) {
            // The pause begins when it is written that there is one.
            let now = if matches!(now, Now::Waiting(_)) { again } else { now };
            let job = self.job(id);
            (job.now, job.is_leased) = (now, false);
            job.attempts += u32::from(now != Now::Purged);
        }
    }

    fn requeue(&mut self, id: Uuid) {
        let now = Now::Waiting(0);
        let job = self.job(id);
        (job.now, job.attempts) = (now, 0);
    }

    /// What was not committed is gone, and nobody holds a lease.
    fn crash(&mut self) {
        self.arriving.clear();
        self.ending.clear();
        self.jobs.iter_mut().for_each(|job| job.is_leased = false);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit {
        target: u8,
        key: Option<u8>,
    },
    Lease,
    /// One of the leases that are held.
    End {
        which: u8,
        outcome: u8,
    },
    Commit,
    Crash,
    Wait(u8),
    Unbury {
        which: u8,
        is_requeued: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, proptest::option::of(0..4u8)).prop_map(|(target, key)| Step::Submit { target, key }),
        4 => Just(Step::Lease),
        4 => (any::<u8>(), 0..4u8).prop_map(|(which, outcome)| Step::End { which, outcome }),
        4 => Just(Step::Commit),
        1 => Just(Step::Crash),
        1 => (0..20u8).prop_map(Step::Wait),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, is_requeued)| Step::Unbury { which, is_requeued }),
    ]
}

const RETRY_S: u64 = 10;

proptest! {
    #[test]
    fn it_does_what_its_model_does(steps in proptest::collection::vec(step(), 1..80)) {
        let (mut bench, mut model) = (Bench::new(), Model::default());
        let mut leases: Vec<Lease> = Vec::new();
        for step in steps {
            match step {
                Step::Submit { target, key } => {
                    let name = format!("a/f{target}");
                    let same = model.same(target, key);
                    let job = match key { Some(key) => keyed(&name, &key.to_string()), None => job(&name, 1) };
                    let id = job.id;
                    let mut written = Box::pin(bench.queue.submit(job).unwrap());
                    prop_assert!((&mut written).now_or_never().is_none());
                    if same.is_none() { model.submit(id, target, key) }
                }
                Step::Lease => match bench.lease() {
                    Some(lease) => {
                        let id = lease.job.id;
                        let leased = model.job(id).clone();
                        prop_assert!(model.is_free(&leased), "{leased:?} is leased at {}", model.now_s);
                        model.leased(id);
                        leases.push(lease);
                    }
                    None => prop_assert!(!model.jobs.iter().any(|job| model.is_free(job))),
                },
                Step::End { which, outcome } if !leases.is_empty() => {
                    let lease = leases.remove(usize::from(which) % leases.len());
                    let (outcome, now) = match outcome {
                        0 => (dead(), Now::Dead),
                        1 => (retry(Duration::from_secs(RETRY_S)), Now::Waiting(0)),
                        _ => (Outcome::Done(Bytes::new()), Now::Done),
                    };
                    model.ending.push((lease.job.id, now));
                    drop(bench.queue.end(lease, outcome, vec![]));
                }
                Step::End { .. } => {}
                Step::Commit => {
                    prop_assert!(bench.commit());
                    model.commit();
                }
                Step::Crash => {
                    bench.reopen();
                    model.crash();
                    leases.clear();
                }
                Step::Wait(seconds) => {
                    bench.hands.advance(Duration::from_secs(seconds.into()));
                    model.now_s += u64::from(seconds);
                }
                Step::Unbury { which, is_requeued } => {
                    let letters = bench.queue.dead_letters();
                    if !letters.is_empty() {
                        let id = letters[usize::from(which) % letters.len()].id;
                        drop(bench.queue.unbury(move |head| head.id == id, is_requeued));
                        prop_assert!(bench.commit());
                        model.commit();
                        if is_requeued { model.requeue(id) } else { model.job(id).now = Now::Purged }
                    }
                }
            }
            compare(&bench, &model)?;
        }
    }
}

fn compare(bench: &Bench, model: &Model) -> Result<(), TestCaseError> {
    for job in &model.jobs {
        let (now, attempts) = match bench.queue.status(job.id).unwrap() {
            Some(Status::Waiting { attempts, .. } | Status::Running { attempts, .. }) => ("waits", attempts),
            Some(Status::Ended(Ended { error: None, attempts, .. })) => ("done", attempts),
            Some(Status::Ended(Ended { attempts, .. })) => ("dead", attempts),
            None => ("lost", 0),
        };
        let wanted = match job.now {
            Now::Waiting(_) => "waits",
            Now::Done => "done",
            Now::Dead | Now::Purged => "dead",
        };
        prop_assert_eq!((now, attempts), (wanted, job.attempts), "{:?}", job);
    }
    let dead = model.jobs.iter().filter(|job| job.now == Now::Dead).count();
    prop_assert_eq!(bench.queue.dead_letters().len(), dead);
    let waiting = model.jobs.iter().filter(|job| matches!(job.now, Now::Waiting(_))).count();
    prop_assert_eq!(bench.queue.rows(), waiting + model.arriving.len());
    Ok(())
}

/// What callers and workers were told until the power went.
#[derive(Default)]
struct Told {
    accepted: Vec<Uuid>,
    ended: Vec<Uuid>,
}

/// When callers are told: a queue that tells them too early must be found out.
#[derive(Clone, Copy, PartialEq)]
enum Tells {
    Synced,
    BeforeTheSync,
}

/// Accepts, runs, retries and gives up jobs until the power goes.
fn work(disk: Disk, tells: Tells) -> Told {
    let mut told = Told::default();
    let Ok(bench) = Store::with_backend(disk).map_err(anyhow::Error::from).and_then(Bench::on) else { return told };
    for round in 0..ROUNDS {
        let (mut accepted, mut ended) = (Vec::new(), Vec::new());
        for at in 0..3 {
            let job = if at == 0 { keyed("a/k", &round.to_string()) } else { job("a/b", 100 * at) };
            let id = job.id;
            accepted.extend(bench.queue.submit(job).ok().map(|written| (id, Box::pin(written))));
        }
        for at in 0..2 {
            let Some(lease) = bench.lease() else { continue };
            let (id, is_over) = (lease.job.id, (round + at) % 3 != 0);
            let outcome = match (round + at) % 3 {
                0 => retry(Duration::ZERO),
                1 => dead(),
                _ => Outcome::Done("r".into()),
            };
            let written = Box::pin(bench.queue.end(lease, outcome, vec![]));
            if is_over {
                ended.push((id, written));
            }
        }
        let mut batch = Batch::new();
        bench.queue.gather(&mut batch);
        let is_written = if tells == Tells::Synced {
            let is_written = bench.store.commit(batch).is_ok();
            if is_written {
                bench.queue.committed()
            } else {
                bench.queue.failed()
            }
            is_written
        } else {
            bench.queue.committed();
            bench.store.commit(batch).is_ok()
        };
        told.accepted.extend(accepted.into_iter().filter_map(|(id, written)| matches!(written.now_or_never(), Some(Ok(_))).then_some(id)));
        told.ended.extend(ended.into_iter().filter_map(|(id, written)| matches!(written.now_or_never(), Some(Ok(()))).then_some(id)));
        if !is_written {
            break;
        }
    }
    told
}

/// What is wrong with the disk, after the power is back, by what was told.
fn wrong(disk: Disk, told: &Told) -> Option<String> {
    let opened = Store::with_backend(disk).map_err(anyhow::Error::from).and_then(Bench::on);
    let bench = match opened {
        Ok(bench) => bench,
        Err(error) => return Some(format!("it does not open: {error:#}")),
    };
    let status: HashMap<Uuid, _> = told.accepted.iter().map(|id| (*id, bench.queue.status(*id).unwrap())).collect();
    let lost = status.iter().find(|(_, status)| status.is_none()).map(|(id, _)| format!("{id} was accepted, and is lost"));
    let again = told.ended.iter().find(|id| !matches!(status.get(*id), Some(Some(Status::Ended(_)))));
    lost.or_else(|| again.map(|id| format!("{id} had ended, and would run again")))
}

/// Every step of the disk, with so many images of what a disk may hold then. What was found wrong, and how many images there were.
fn cut_everywhere(tells: Tells, images_min: u64) -> (Vec<String>, u64) {
    let empty = Disk::default();
    drop(Store::with_backend(empty.clone()).unwrap());
    let healthy = empty.dying_at(u64::MAX);
    assert!(!work(healthy.clone(), tells).ended.is_empty());
    let steps = healthy.steps();
    let (seeds, mut found) = (images_min.div_ceil(steps), Vec::new());
    for cut in 0..steps {
        let disk = empty.dying_at(cut);
        let told = work(disk.clone(), tells);
        found.extend((0..seeds).filter_map(|seed| {
            let wrong = wrong(disk.revived(seed), &told)?;
            Some(format!("power lost at step {cut} of {steps}, image {seed}: {wrong}"))
        }));
    }
    (found, steps * seeds)
}

/// `LEDGE_CRASH_IMAGES=250000 cargo test --release --lib power_loss -- --nocapture` is the long run (docs/testing.md).
#[test]
fn power_loss_at_any_step_loses_nothing_that_was_accepted_and_repeats_nothing_that_was_told_to_have_ended() {
    let wanted = std::env::var("LEDGE_CRASH_IMAGES").map_or(IMAGES, |text| text.parse().expect("LEDGE_CRASH_IMAGES is a number"));
    let (found, images) = cut_everywhere(Tells::Synced, wanted);
    println!("{images} crash images, {} of them wrong", found.len());
    assert!(found.is_empty(), "{} of {images}: {}", found.len(), found[0]);
}

#[test]
fn a_queue_that_tells_before_the_sync_is_found_out() {
    let (found, images) = cut_everywhere(Tells::BeforeTheSync, IMAGES / 20);
    assert!(found.iter().any(|wrong| wrong.contains("is lost")), "{images} images showed nothing: {found:?}");
}

const IMAGES: u64 = 10_000;
const ROUNDS: usize = 12;
