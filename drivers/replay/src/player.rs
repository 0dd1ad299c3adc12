//! Plays one recording as one thing.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::io::BufReader;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ledge_sdk::thing_access::Thing;
use ledge_sdk::value::Properties;
use ledge_sdk::{Fault, clock};

use crate::model::Model;
use crate::pace::Pace;
use crate::recording::{Line, Next, Recording, What};
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::tally::{self, Lacks, Tally};

pub struct Player {
    thing: Thing,
    settings: Settings,
    model: Model,
    /// Of all things of the driver.
    pace: Rc<Pace>,
    /// What was played last of each property.
    values: RefCell<Properties>,
    is_paused: Cell<bool>,
    /// Where to go on, in milliseconds from the first line.
    seek_ms: Cell<Option<f64>>,
    /// At its end, waiting to be told where to begin again.
    is_over: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

/// How a wait ended.
enum Waited {
    /// Its time has come, after so long a pause.
    Over(Duration),
    /// To go on elsewhere.
    Sought,
}

/// How much of a file is in memory.
const READ_BYTES: usize = 64 << 10;
/// Values that are no properties: how many of a line are named, and how much of a name.
const UNKNOWN_NAMED_MAX: usize = 8;
const NAME_CHARS_MAX: usize = 64;
/// How long a gateway that takes no more is left alone, at first and at most.
const BACK_OFF_MIN: Duration = Duration::from_millis(2);
const BACK_OFF_MAX: Duration = Duration::from_millis(250);
/// The same of a thing that plays by the time.
const BACK_OFF_MAX_TIMED: Duration = Duration::from_millis(20);
/// How soon a player that waits sees that it is to pause or to go on elsewhere.
const LOOK: Duration = Duration::from_millis(50);
/// Lines that are played, and lines that are read, before other calls of the driver have their turn.
const PLAYED_AT_ONCE: u64 = 64;
const READ_AT_ONCE: u64 = 1_024;

/// Opens a recording, and leaves out what is no property of the product. An error is a sentence about the file.
pub fn open(settings: &Settings, model: &Model) -> Result<(Recording<BufReader<File>>, Vec<String>), String> {
    let about = |why: String| format!("the recording `{}`: {why}", settings.file.escape_debug());
    let file = File::open(&settings.file)
        .map_err(|error| about(format!("{error}; name it in the driver's `fileList`, or grant its directory")))?;
    let mut recording = Recording::open(&settings.file, BufReader::with_capacity(READ_BYTES, file), settings.unit).map_err(about)?;
    let unknown: Vec<String> = recording.columns().iter().filter(|name| !model.has_property(name)).cloned().collect();
    if !unknown.is_empty() && unknown.len() == recording.columns().len() {
        return Err(about(format!("none of its columns ({}) is a property of the product", unknown.join(", "))));
    }
    unknown.iter().for_each(|column| recording.leave_out(column));
    Ok((recording, unknown))
}

impl Player {
    pub fn new(thing: Thing, settings: Settings, model: Model, pace: Rc<Pace>) -> Self {
        Self {
            thing,
            settings,
            model,
            pace,
            values: RefCell::default(),
            is_paused: Cell::default(),
            seek_ms: Cell::default(),
            is_over: Cell::default(),
            waiting: RefCell::default(),
        }
    }

    pub fn values(&self) -> Properties {
        self.values.borrow().clone()
    }

    pub fn pause(&self) {
        self.is_paused.set(true);
    }

    /// Goes on; from the first line, where it has come to its end.
    pub fn resume(&self) {
        self.is_paused.set(false);
        if self.is_over.get() {
            self.seek(Duration::ZERO);
        }
    }

    pub fn seek(&self, from_start: Duration) {
        self.seek_ms.set(Some(from_start.as_secs_f64() * 1_000.0));
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// To the end of the recording, and again whenever it is told to; or for ever. The thing is offline where it ends.
    pub async fn play(&self) {
        let (name, mut tally) = (self.thing.id(), Tally::default());
        loop {
            let ended = self.rounds(&mut tally).await;
            match &ended {
                Ok(()) => println!("{name} has played `{}`: {tally}", self.settings.file),
                Err(why) => eprintln!("{name} ends after {tally}: {why}"),
            }
            if ended.is_err() || !self.model.can_begin_again() {
                break;
            }
            self.sought().await;
            tally = tally.again();
        }
        if let Err(fault) = self.thing.offline().await {
            eprintln!("{name} cannot go offline: {fault}");
        }
    }

    /// Until it is told where to begin again.
    async fn sought(&self) {
        self.is_over.set(true);
        poll_fn(|context| {
            if self.seek_ms.get().is_some() {
                return Poll::Ready(());
            }
            self.waiting.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        self.is_over.set(false);
    }

    async fn rounds(&self, tally: &mut Tally) -> Result<(), String> {
        let mut schedule = Schedule::new(self.settings.speed);
        let _timed = self.is_timed().then(|| self.pace.timed());
        loop {
            let (played, was_sought) = (tally.played, self.seek_ms.get().is_some());
            let is_sought = self.round(&mut schedule, tally).await?;
            if is_sought {
                continue;
            }
            if !self.settings.is_looped {
                return Ok(());
            }
            // What was sought may have been behind the end.
            if tally.played == played && !was_sought {
                return Err(format!("no line of `{}` can be played", self.settings.file));
            }
            tally.is_said = true;
            let begins = schedule.next_round(clock::now());
            self.until(begins).await;
        }
    }

    /// From the beginning, or from where it was sought, to the end. Whether it was sought again on the way.
    async fn round(&self, schedule: &mut Schedule, tally: &mut Tally) -> Result<bool, String> {
        let (mut recording, _) = open(&self.settings, &self.model)?;
        let mut from_ms = self.seek_ms.take();
        if from_ms.is_some() {
            schedule.restart();
        }
        let mut first_ms = None;
        loop {
            tally.read += 1;
            if tally.read.is_multiple_of(READ_AT_ONCE) {
                breathe().await;
            }
            let line = match recording.next().map_err(|error| format!("`{}` cannot be read on: {error}", self.settings.file))? {
                Next::End => return Ok(false),
                // On the way to what is sought nothing is played, and nothing left out.
                Next::Bad(..) if from_ms.is_some() => continue,
                Next::Bad(number, why) => {
                    self.leave_out(tally, number, Lacks::Everything, &why);
                    continue;
                }
                Next::Line(line) => line,
            };
            let first_ms = *first_ms.get_or_insert(line.time_ms);
            if from_ms.is_some_and(|from_ms| line.time_ms - first_ms < from_ms) {
                continue;
            }
            from_ms = None;
            let due = schedule.due(line.time_ms, clock::now());
            if due.is_backwards && !std::mem::replace(&mut tally.is_backwards_said, true) {
                eprintln!("{}:{}: the time goes backwards; such lines are played at once", self.settings.file, line.number);
            }
            match self.until(due.at).await {
                Waited::Sought => return Ok(true),
                Waited::Over(pause) => schedule.postpone(pause),
            }
            self.report(line, tally).await?;
        }
    }

    /// Waits, for as much longer as it is paused meanwhile.
    async fn until(&self, mut at: Duration) -> Waited {
        let mut pause = Duration::ZERO;
        loop {
            if self.seek_ms.get().is_some() {
                return Waited::Sought;
            }
            let now = clock::now();
            if self.is_paused.get() {
                clock::sleep(LOOK).await;
                let slept = clock::now() - now;
                (at, pause) = (at + slept, pause + slept);
            } else if at <= now {
                return Waited::Over(pause);
            } else {
                let rest = at - now;
                clock::sleep(if self.model.is_controlled() { rest.min(LOOK) } else { rest }).await;
            }
        }
    }

    /// Reports a line, as soon as the gateway takes it.
    async fn report(&self, line: Line, tally: &mut Tally) -> Result<(), String> {
        let (what, unknown) = self.known(line.what);
        let unknown = (!unknown.is_empty()).then(|| format!("the product has no property {}", unknown.join(", nor ")));
        if let What::Values(values) = &what
            && values.is_empty()
        {
            // Without values it says no more than what time it is.
            unknown.iter().for_each(|why| self.leave_out(tally, line.number, Lacks::Everything, why));
            return Ok(());
        }
        let refused = self.offer(&what).await?;
        let (taken, why) = match (what, refused) {
            (What::Event(..), Some(fault)) => (None, Some(fault.to_string())),
            (What::Event(..), None) => (Some(Properties::new()), None),
            (What::Values(values), Some(fault)) => (tally::taken(&values, &fault), Some(fault.to_string())),
            (What::Values(values), None) => (Some(values), None),
        };
        let lacks = if taken.is_some() { Lacks::Something } else { Lacks::Everything };
        let why: Vec<String> = unknown.into_iter().chain(why).collect();
        if !why.is_empty() {
            self.leave_out(tally, line.number, lacks, &why.join("; "));
        }
        let Some(taken) = taken else { return Ok(()) };
        {
            let mut kept = self.values.borrow_mut();
            taken.into_iter().for_each(|property| kept.set(property.identifier, property.value));
        }
        tally.played += 1;
        if tally.played.is_multiple_of(PLAYED_AT_ONCE) {
            breathe().await;
        }
        Ok(())
    }

    /// What the product may take, and the names of the values that are no properties of it.
    fn known(&self, what: What) -> (What, Vec<String>) {
        let What::Values(values) = what else { return (what, Vec::new()) };
        let (known, unknown): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| self.model.has_property(&value.identifier));
        let unknown = unknown.iter().map(|value| shown(&value.identifier)).take(UNKNOWN_NAMED_MAX).collect();
        (What::Values(known.into_iter().collect()), unknown)
    }

    /// Reports it until the gateway has room for it. What it refuses of it, if anything; an error where it takes nothing of the thing.
    async fn offer(&self, what: &What) -> Result<Option<Fault>, String> {
        let back_off_max = if self.is_timed() { BACK_OFF_MAX_TIMED } else { BACK_OFF_MAX };
        let (mut back_off, mut late) = (BACK_OFF_MIN, None);
        loop {
            while let Some(rest) = self.pace.wait(clock::now()).filter(|_| !self.is_timed()) {
                clock::sleep(rest).await;
            }
            let reported = match what {
                What::Values(values) => self.thing.report_properties(values.clone()).await,
                What::Event(event, outputs) => self.thing.report_event(event, outputs.clone()).await,
            };
            match reported {
                Err(fault) if fault.code == Fault::TOO_MANY => {
                    self.pace.refused(clock::now());
                    if self.is_timed() {
                        late.get_or_insert_with(|| self.pace.late());
                    }
                    clock::sleep(back_off).await;
                    back_off = (back_off * 2).min(back_off_max);
                }
                Err(fault) if matches!(fault.code, Fault::DEVICE_OFFLINE | Fault::DEVICE_UNREGISTER) => return Err(fault.to_string()),
                reported => {
                    self.pace.taken(clock::now());
                    return Ok(reported.err());
                }
            }
        }
    }

    fn is_timed(&self) -> bool {
        self.settings.speed > 0.0
    }

    fn leave_out(&self, tally: &mut Tally, number: u64, lacks: Lacks, why: &str) {
        if let Some(said) = tally.left_out(lacks, why) {
            eprintln!("{}:{number}: {said}", self.settings.file);
        }
    }
}

/// A name of a recording, in which anything may stand.
fn shown(name: &str) -> String {
    let more = if name.chars().nth(NAME_CHARS_MAX).is_some() { "..." } else { "" };
    format!("`{}{more}`", name.chars().take(NAME_CHARS_MAX).flat_map(char::escape_debug).collect::<String>())
}

/// Lets other calls of the driver have their turn.
async fn breathe() {
    clock::sleep(Duration::from_nanos(1)).await;
}
