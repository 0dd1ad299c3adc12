//! HTTP Basic: every request carries the password, and hashing it each time would take 30 ms.
//!
//! So a header that was right is remembered for as long as a session, by a hash under a key that only this process knows. Requests
//! that come with the same unknown header at the same time share one check: a client with many connections is no flood.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Weak};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use ring::hmac::{self, HMAC_SHA256};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::session::{Key, Sessions};
use super::{LoginError, Source};
use crate::clock::Clock;
use crate::seal::random;

pub struct Basic {
    key: hmac::Key,
    known: Sessions,
    checks: Mutex<HashMap<Key, Weak<Check>>>,
}

type Check = OnceCell<Result<Arc<str>, LoginError>>;

/// What a Basic header says.
pub struct Credentials {
    pub user: String,
    pub password: Zeroizing<String>,
}

impl Basic {
    pub fn new(clock: Clock) -> Self {
        let key = hmac::Key::new(HMAC_SHA256, &*Zeroizing::new(random::<32>()));
        Self { key, known: Sessions::new(clock), checks: Mutex::default() }
    }

    /// The user if the header is known; else whom `check` says it is. `check` calls [`Basic::remember`] while it holds its turn.
    pub async fn user<F: Future<Output = Result<Arc<str>, LoginError>>>(
        &self,
        key: Key,
        check: impl FnOnce() -> F,
    ) -> Result<Arc<str>, LoginError> {
        if let Some(user) = self.known.user(&key) {
            return Ok(user);
        }
        let shared = self.shared_check(key);
        shared.get_or_init(check).await.clone()
    }

    /// Of a header that comes from there. What was right from one address is looked at like any other guess where it comes from another.
    pub fn key(&self, header_value: &str, source: Option<Source>) -> Key {
        let mut tag = hmac::Context::with_key(&self.key);
        tag.update(&source.map(Source::bytes).unwrap_or_default());
        tag.update(header_value.as_bytes());
        tag.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }

    pub fn remember(&self, key: Key, user: &str) {
        self.known.start(key, user);
    }

    /// Headers of this user are checked anew.
    pub fn forget(&self, user: &str) {
        self.known.end_all_of(user);
        // A check that is under way ends with the old answer: nobody who comes later may share it.
        self.checks.lock().clear();
    }

    fn shared_check(&self, key: Key) -> Arc<Check> {
        let mut checks = self.checks.lock();
        if let Some(check) = checks.get(&key).and_then(Weak::upgrade).filter(|check| !check.initialized()) {
            return check;
        }
        checks.retain(|_, check| check.strong_count() > 0);
        let check = Arc::new(Check::new());
        checks.insert(key, Arc::downgrade(&check));
        check
    }
}

impl Credentials {
    /// `None` for whatever is not `Basic` and base64 of `user:password` in UTF-8.
    pub fn parse(header_value: &str) -> Option<Self> {
        let (scheme, encoded) = header_value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > ENCODED_BYTES_MAX {
            return None;
        }
        let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
        let (user, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
        Some(Self { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }
}

/// Room for a user and a password of 128 characters of four bytes, and to spare.
const ENCODED_BYTES_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_nonsense_is_not() {
        let read = Credentials::parse("bAsIc dTpwOnE=").unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str()), ("u", "p:q"));
        for wrong in
            ["", "Basic", "Basic ", "Bearer dTpw", "Basic ???", "Basic dXA=", "Basic /w==", &format!("Basic {}", "A".repeat(2_052))]
        {
            assert!(Credentials::parse(wrong).is_none(), "{wrong}");
        }
    }
}
