//! Requests to one peer that wait for their replies. Each ends exactly once: by its reply, by its time, or with the connection.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ledge_sdk::serde_json::Value as Json;
use ledge_sdk::{Fault, ThingId};

use crate::slot::Slot;

pub type Answer = Rc<Slot<Result<Json, Fault>>>;

/// Requests that one peer may have unanswered. One more is refused at once, so that a peer that never answers does not use up the calls
/// that the driver may have under way.
const WAITING_MAX: usize = 16;

#[derive(Default)]
pub struct Replies {
    last: u32,
    waiting: BTreeMap<u32, Waiting>,
    /// Replies since the connection began that nobody waited for: late, twice, or with an id of their own making.
    unexpected: u32,
}

struct Waiting {
    thing: ThingId,
    method: &'static str,
    until: Duration,
    /// Of `unexpected`, when it began.
    unexpected_before: u32,
    answer: Answer,
}

impl Replies {
    /// Makes room for one reply, and gives the id under which it has to come.
    pub fn expect(&mut self, thing: &ThingId, method: &'static str, until: Duration) -> Result<(u32, Answer), Fault> {
        if self.waiting.len() >= WAITING_MAX {
            let message = format!("{WAITING_MAX} requests to the device's connection have no reply yet; try again");
            return Err(Fault::new(Fault::TOO_MANY, message));
        }
        // 0 stands for a request without an id. Whatever is still waiting keeps its own.
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.waiting.contains_key(&self.last) {
                break;
            }
        }
        let answer = Answer::default();
        let waiting = Waiting { thing: thing.clone(), method, until, unexpected_before: self.unexpected, answer: answer.clone() };
        self.waiting.insert(self.last, waiting);
        Ok((self.last, answer))
    }

    /// Hands a reply to whoever waits for it.
    pub fn came(&mut self, id: u32, reply: Result<Json, Fault>) {
        match self.waiting.remove(&id) {
            Some(waiting) => waiting.answer.put(reply),
            None => self.unexpected = self.unexpected.saturating_add(1),
        }
    }

    /// Ends what has waited for its whole time.
    pub fn expire(&mut self, now: Duration) {
        let unexpected = self.unexpected;
        self.end(
            |waiting| waiting.until <= now,
            |waiting| {
                let others = match unexpected - waiting.unexpected_before {
                    0 => String::new(),
                    others => format!("; meanwhile {others} replies came whose messageId is of no request that waits"),
                };
                Fault::new(Fault::TIMEOUT, format!("the device did not reply to `{}` in time{others}", waiting.method))
            },
        );
    }

    /// Ends what waits for one thing, or for any.
    pub fn cancel(&mut self, thing: Option<&ThingId>, why: &str) {
        self.end(|waiting| thing.is_none_or(|thing| waiting.thing == *thing), |_| Fault::new(Fault::DEVICE_OFFLINE, why));
    }

    fn end(&mut self, is_over: impl Fn(&Waiting) -> bool, fault: impl Fn(&Waiting) -> Fault) {
        self.waiting.retain(|_, waiting| {
            let is_over = is_over(waiting);
            if is_over {
                waiting.answer.put(Err(fault(waiting)));
            }
            !is_over
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn lamp() -> ThingId {
        ThingId::new("a1", "lamp")
    }

    fn now(answer: &Answer) -> Option<Result<Json, Fault>> {
        match pin!(answer.take()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    #[test]
    fn each_reply_goes_to_the_request_of_its_id_once() {
        let mut replies = Replies::default();
        let (first, one) = replies.expect(&lamp(), "getProperty", Duration::MAX).unwrap();
        let (second, two) = replies.expect(&lamp(), "getProperty", Duration::MAX).unwrap();
        assert!(first != second && first != 0 && second != 0);
        replies.came(second, Ok(Json::from(2)));
        assert_eq!((now(&one), now(&two)), (None, Some(Ok(Json::from(2)))));
        replies.came(second, Ok(Json::from(3)));
        assert_eq!(now(&two), None);
        replies.came(first, Err(Fault::new(5, "x")));
        assert_eq!(now(&one), Some(Err(Fault::new(5, "x"))));
    }

    #[test]
    fn a_request_without_a_reply_ends_in_its_time_and_says_what_came_instead() {
        let mut replies = Replies::default();
        let (id, answer) = replies.expect(&lamp(), "setProperty", Duration::from_secs(9)).unwrap();
        replies.came(id + 1, Ok(Json::Null));
        replies.expire(Duration::from_secs(8));
        assert_eq!(now(&answer), None);
        replies.expire(Duration::from_secs(9));
        let fault = now(&answer).unwrap().unwrap_err();
        assert_eq!(fault.code, Fault::TIMEOUT);
        assert!(fault.message.contains("`setProperty`") && fault.message.contains("1 replies"), "{fault}");
        // Too late.
        replies.came(id, Ok(Json::Null));
        assert_eq!(now(&answer), None);
    }

    #[test]
    fn a_connection_that_ends_lets_go_of_those_who_wait() {
        let mut replies = Replies::default();
        let (_, lamp_s) = replies.expect(&lamp(), "getProperty", Duration::MAX).unwrap();
        let (_, other_s) = replies.expect(&ThingId::new("a1", "other"), "getProperty", Duration::MAX).unwrap();
        replies.cancel(Some(&lamp()), "taken over");
        assert_eq!(now(&lamp_s), Some(Err(Fault::new(Fault::DEVICE_OFFLINE, "taken over"))));
        assert_eq!(now(&other_s), None);
        replies.cancel(None, "closed");
        assert_eq!(now(&other_s).unwrap().unwrap_err().code, Fault::DEVICE_OFFLINE);
    }

    #[test]
    fn only_so_many_wait_and_ids_go_round_without_meeting() {
        let mut replies = Replies { last: u32::MAX - 1, ..Replies::default() };
        let ids: Vec<u32> = (0..WAITING_MAX).map(|_| replies.expect(&lamp(), "m", Duration::MAX).unwrap().0).collect();
        assert_eq!(ids[..3], [u32::MAX, 1, 2]);
        assert_eq!(replies.expect(&lamp(), "m", Duration::MAX).err().map(|fault| fault.code), Some(Fault::TOO_MANY));
        replies.last = u32::MAX - 1;
        replies.came(2, Ok(Json::Null));
        assert_eq!(replies.expect(&lamp(), "m", Duration::MAX).unwrap().0, 2);
    }
}
