//! A driver's life as a future that its own task polls, and that whoever asks the driver something may poll too.
//!
//! Waking a task and waiting for it takes several times as long as most answers. So who asks looks first whether nobody polls the
//! driver at the moment, and then does it itself: the answer is there most of the time. Who finds that somebody else polls leaves it to
//! them. Whatever comes later (a timer, a socket, the rest of a long computation) wakes the driver's own task and nobody else.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst, fence};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::function::BoxFuture;

/// A handle for those who ask. Clones are of the same life.
pub struct Shared<T> {
    life: Mutex<Life<T>>,
    alarm: Arc<Alarm>,
    /// Of `alarm`: what the future is polled with, whoever polls it.
    waker: Waker,
    /// Whose timers and sockets those of the life are, whoever polls it.
    runtime: Handle,
}

/// How often who asks polls in a row. A driver that computes has each time as much as one of its own turns.
const POLLS_MAX: usize = 3;

enum Life<T> {
    Running(BoxFuture<'static, T>),
    Ended(T),
    /// Not begun, or over.
    Gone,
}

/// Wakes the driver's own task, unless somebody is about to poll in its place.
#[derive(Default)]
struct Alarm {
    task: AtomicWaker,
    /// Something came up since the last poll began.
    is_due: AtomicBool,
    helpers: AtomicUsize,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_due.store(true, SeqCst);
        if self.helpers.load(SeqCst) == 0 {
            self.task.wake();
        }
    }
}

impl Alarm {
    /// To be asked by whoever has just let go of the life, or has found that somebody else has it: one of the two sees what came up.
    fn is_due(&self) -> bool {
        fence(SeqCst);
        self.is_due.load(SeqCst)
    }
}

impl<T: Send + 'static> Shared<T> {
    /// In the runtime that the life is to live in.
    pub fn new() -> Arc<Self> {
        let alarm = Arc::<Alarm>::default();
        Arc::new(Self { life: Mutex::new(Life::Gone), waker: alarm.clone().into(), alarm, runtime: Handle::current() })
    }

    /// Begins `life`, and lives it until its end, or until it is dropped, which ends it too.
    pub fn live(self: &Arc<Self>, life: BoxFuture<'static, T>) -> Owner<T> {
        *self.life.lock() = Life::Running(life);
        Owner(self.clone())
    }

    /// Does what brings the driver work, and then polls it, unless somebody else does at the moment.
    pub fn help<R>(&self, bring: impl FnOnce() -> R) -> R {
        self.alarm.helpers.fetch_add(1, SeqCst);
        let brought = bring();
        // What others bring meanwhile is done too, and what the driver has put off.
        for _ in 0..POLLS_MAX {
            fence(SeqCst);
            let Some(mut life) = self.life.try_lock() else { break };
            let goes_on = self.poll(&mut life);
            drop(life);
            if !goes_on || !self.alarm.is_due() {
                break;
            }
        }
        self.alarm.helpers.fetch_sub(1, SeqCst);
        // Whoever has the life looks at the alarm in the same way once they have let go of it.
        if self.alarm.is_due() && !self.life.is_locked() {
            self.alarm.task.wake();
        }
        brought
    }

    /// Whether there is a life that goes on. What has ended stays due until its owner has seen it.
    fn poll(&self, life: &mut Life<T>) -> bool {
        let Life::Running(running) = life else { return false };
        let _runtime = self.runtime.enter();
        self.alarm.is_due.store(false, SeqCst);
        let Poll::Ready(ended) = running.as_mut().poll(&mut Context::from_waker(&self.waker)) else { return true };
        *life = Life::Ended(ended);
        self.alarm.is_due.store(true, SeqCst);
        false
    }
}

/// The driver's own task. Dropped, the life is over.
pub struct Owner<T>(Arc<Shared<T>>);

impl<T: Send + 'static> Future for Owner<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Shared { life, alarm, .. } = &*self.0;
        alarm.task.register(context.waker());
        loop {
            if let Some(mut life) = life.try_lock() {
                self.0.poll(&mut life);
                if let Life::Ended(_) = &*life {
                    let Life::Ended(ended) = std::mem::replace(&mut *life, Life::Gone) else { return Poll::Pending };
                    return Poll::Ready(ended);
                }
                drop(life);
                // Of what came up while this polled, a helper may have kept the alarm silent.
                if alarm.is_due() {
                    context.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            // A helper polls. It looks at this when it is done, unless it was done just now.
            alarm.is_due.store(true, SeqCst);
            fence(SeqCst);
            if life.is_locked() {
                return Poll::Pending;
            }
        }
    }
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        // Outside of the lock: what is dropped answers those who wait, and they may come here.
        let gone = std::mem::replace(&mut *self.0.life.lock(), Life::Gone);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    type Question = (u32, oneshot::Sender<u32>);

    /// Answers each question with its double, and yields in between where the number is odd.
    async fn doubling(mut questions: mpsc::Receiver<Question>) -> u32 {
        let mut answered = 0;
        while let Some((number, answer)) = questions.recv().await {
            if number % 2 == 1 {
                tokio::task::yield_now().await;
            }
            let _ = answer.send(number * 2);
            answered += 1;
        }
        answered
    }

    async fn ask(shared: &Shared<u32>, questions: &mpsc::Sender<Question>, number: u32) -> u32 {
        let (answer, answered) = oneshot::channel();
        shared.help(|| questions.try_send((number, answer))).unwrap();
        answered.await.unwrap()
    }

    #[tokio::test]
    async fn who_asks_has_the_answer_without_the_driver_having_been_woken() {
        let (shared, (sender, questions)) = (Shared::new(), mpsc::channel(8));
        let mut owner = shared.live(Box::pin(doubling(questions)));
        assert!(futures_util::poll!(&mut owner).is_pending());
        let (answer, mut answered) = oneshot::channel();
        shared.help(|| sender.try_send((4, answer))).unwrap();
        assert_eq!(answered.try_recv(), Ok(8));
        drop(sender);
        assert_eq!(owner.await, 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_question_of_many_askers_is_answered() {
        let (shared, (sender, questions)) = (Shared::new(), mpsc::channel(64));
        let owner = tokio::spawn(shared.live(Box::pin(doubling(questions))));
        let asker = |asker: u32| {
            let (shared, sender) = (shared.clone(), sender.clone());
            async move {
                for number in 0..5_000 {
                    assert_eq!(ask(&shared, &sender, asker + number).await, (asker + number) * 2);
                }
            }
        };
        let all: tokio::task::JoinSet<()> = (0..8).map(asker).collect();
        tokio::time::timeout(Duration::from_secs(60), all.join_all()).await.expect("a question was lost");
        drop(sender);
        assert_eq!(owner.await.unwrap(), 40_000);
    }

    #[tokio::test]
    async fn a_life_that_is_dropped_lets_go_of_those_who_wait() {
        let (shared, (sender, questions)) = (Shared::<u32>::new(), mpsc::channel::<Question>(8));
        let owner = shared.live(Box::pin(async move {
            let _questions = questions;
            std::future::pending().await
        }));
        let (answer, answered) = oneshot::channel();
        shared.help(|| sender.try_send((1, answer))).unwrap();
        drop(owner);
        assert!(answered.await.is_err());
        assert!(shared.help(|| sender.try_send((1, oneshot::channel().0))).is_err());
    }
}
