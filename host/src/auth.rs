//! Who may call the gateway: users, their passwords and their sessions.
//!
//! Passwords are kept only as Argon2id hashes, tokens only as hashes in memory: a restart logs everybody out. Deliberately absent: roles
//! and permissions, cookies and HTTP answers (`api`), and the audit of failed logins (`api` knows from where they came).

mod basic;
mod password;
mod session;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::RwLock;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use self::basic::{Basic, Credentials};
use self::password::{Hash, Hasher, Turn};
use self::session::Sessions;
use crate::clock::Clock;
use crate::seal::random_token;
use crate::store::{Batch, Store, Table};

pub use self::password::{LOGINS_WAITING_MAX, LengthError, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN};
pub use self::session::{SESSION_AGE_MAX, SESSION_IDLE_MAX, SESSIONS_MAX};

/// Users and sessions. Clones share them.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    /// The table `users`, which only this part writes, so that no login waits for the disk.
    hashes: RwLock<HashMap<String, Hash>>,
    hasher: Hasher,
    sessions: Sessions,
    basic: Basic,
    compat_default_login: bool,
}

/// No `Debug`: it holds a password.
#[derive(Default)]
pub struct AuthOptions {
    /// Becomes the password of `admin`, if it is not already.
    pub admin_password: Option<Zeroizing<String>>,
    /// Accepts the manual's `admin` / `admin1234` besides. Whoever sets it must listen on nothing but loopback.
    pub compat_default_login: bool,
}

/// Where the password of `admin` comes from.
pub enum FirstPassword {
    /// Made just now: show it once, it is nowhere else.
    Generated(Zeroizing<String>),
    Given,
    /// The one of an earlier start.
    Kept,
}

/// Somebody who has proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
}

/// A new session. The token is known to nobody else; it has no `Debug`.
pub struct Session {
    pub token: String,
    pub user: User,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Deliberately not said: which of the two was wrong.
    #[error("wrong user name or password")]
    Invalid,
    #[error("too many logins at the moment: try again in a second")]
    Busy,
}

#[derive(Debug, thiserror::Error)]
pub enum SetPasswordError {
    #[error("there is no user `{0}`")]
    UnknownUser(String),
    #[error(transparent)]
    Length(#[from] LengthError),
    #[error("too many logins at the moment: try again in a second")]
    Busy,
    /// The old password still holds.
    #[error("the new password could not be saved: {0:#}")]
    Failed(anyhow::Error),
}

/// A row of the table `users`, under the user's name.
#[derive(Serialize, Deserialize)]
struct UserRow {
    password_hash: String,
}

impl Auth {
    /// Reads the users, and sees to it that `admin` has a password. Blocks for as long as a hash takes.
    pub fn open(store: Arc<Store>, clock: Clock, options: AuthOptions) -> Result<(Self, FirstPassword)> {
        let mut hashes = HashMap::new();
        for (name, row) in store.list_json::<UserRow>(Table::Users)? {
            let hash = Hash::parse(&row.password_hash).with_context(|| format!("the stored password of user `{name}` is damaged"))?;
            hashes.insert(name, hash);
        }
        let inner = Inner {
            store,
            hashes: RwLock::new(hashes),
            hasher: Hasher::new(),
            sessions: Sessions::new(clock.clone()),
            basic: Basic::new(clock),
            compat_default_login: options.compat_default_login,
        };
        let first = inner.first_password(options.admin_password)?;
        Ok((Self(Arc::new(inner)), first))
    }

    /// Checks a password and starts a session.
    pub async fn login(&self, user: &str, password: &str) -> Result<Session, LoginError> {
        let (user, _turn) = self.check(user, password).await?;
        let token = random_token();
        self.0.sessions.start(hash_of(&token), user.clone());
        Ok(Session { token, user })
    }

    pub fn has_user(&self, name: &str) -> bool {
        self.0.hashes.read().contains_key(name)
    }

    /// Whose session a token is. Cheap, and counts as use of the session.
    pub fn session(&self, token: &str) -> Option<User> {
        self.0.sessions.user(&hash_of(token))
    }

    /// Ends a session; `false` if there was none.
    pub fn logout(&self, token: &str) -> bool {
        self.0.sessions.end(&hash_of(token))
    }

    /// Whose `Authorization: Basic ...` this is. Cheap, but for the first time.
    pub async fn basic(&self, header_value: &str) -> Result<User, LoginError> {
        let basic = &self.0.basic;
        let key = basic.key(header_value);
        let check = || async {
            let credentials = Credentials::parse(header_value).ok_or(LoginError::Invalid)?;
            let (user, _turn) = self.check(&credentials.user, &credentials.password).await?;
            basic.remember(key, user.clone());
            Ok(user)
        };
        basic.user(key, check).await
    }

    /// Checks a password and starts nothing: for those who must prove once more who they are.
    pub async fn verify(&self, user: &str, password: &str) -> Result<User, LoginError> {
        self.check(user, password).await.map(|(user, _turn)| user)
    }

    /// Changes a password and ends all that the old one opened. Whether the caller may is for the caller to know.
    pub async fn set_password(&self, user: &str, password: &str) -> Result<(), SetPasswordError> {
        password::check_length(password)?;
        if !self.0.hashes.read().contains_key(user) {
            return Err(SetPasswordError::UnknownUser(user.to_owned()));
        }
        let turn = self.0.hasher.turn().await.ok_or(SetPasswordError::Busy)?;
        let (inner, user, password) = (self.0.clone(), user.to_owned(), Zeroizing::new(password.to_owned()));
        // All of it in the task that cannot be cancelled: no session may outlive a password that was changed.
        let saved = spawn_blocking(move || {
            inner.save(&turn, &user, &password)?;
            inner.sessions.end_all_of(&user);
            inner.basic.forget(&user);
            Ok(())
        });
        saved.await.unwrap_or_else(|stopped| Err(stopped.into())).map_err(SetPasswordError::Failed)
    }

    /// How many passwords were hashed so far, for the metrics.
    pub fn hashes(&self) -> u64 {
        self.0.hasher.hashes()
    }

    /// The turn comes back with the user: what the password opens is opened before anybody can change it.
    async fn check(&self, user: &str, password: &str) -> Result<(User, Turn), LoginError> {
        let turn = self.0.hasher.turn().await.ok_or(LoginError::Busy)?;
        let (inner, user, password) = (self.0.clone(), user.to_owned(), Zeroizing::new(password.to_owned()));
        // The turn goes along: a caller who gives up does not let a second hash start beside this one.
        let checked = spawn_blocking(move || inner.is_right(&turn, &user, &password).then_some((User { name: user }, turn)));
        // It only fails while the process stops.
        checked.await.map_err(|_| LoginError::Busy)?.ok_or(LoginError::Invalid)
    }
}

impl Inner {
    fn is_right(&self, turn: &Turn, user: &str, password: &str) -> bool {
        // No secret, so no need to compare in constant time.
        if self.compat_default_login && (user, password) == COMPAT_DEFAULT {
            return true;
        }
        let hash = self.hashes.read().get(user).cloned();
        turn.verify(password, hash.as_ref())
    }

    fn first_password(&self, given: Option<Zeroizing<String>>) -> Result<FirstPassword> {
        let turn = self.hasher.first_turn();
        let Some(given) = given else {
            if self.hashes.read().contains_key(ADMIN) {
                return Ok(FirstPassword::Kept);
            }
            let generated = password::generate();
            self.save(&turn, ADMIN, &generated)?;
            return Ok(FirstPassword::Generated(generated));
        };
        password::check_length(&given).with_context(|| format!("the password given for `{ADMIN}` is refused"))?;
        let hash = self.hashes.read().get(ADMIN).cloned();
        if hash.is_none() || !turn.verify(&given, hash.as_ref()) {
            self.save(&turn, ADMIN, &given)?;
        }
        Ok(FirstPassword::Given)
    }

    fn save(&self, turn: &Turn, user: &str, password: &str) -> Result<()> {
        let hash = turn.hash(password)?;
        let mut batch = Batch::new();
        batch.put_json(Table::Users, user, &UserRow { password_hash: hash.to_text() })?;
        self.store.commit(batch).with_context(|| format!("saving the password of user `{user}`"))?;
        self.hashes.write().insert(user.to_owned(), hash);
        Ok(())
    }
}

fn hash_of(token: &str) -> session::Key {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

const ADMIN: &str = "admin";
/// The manual's.
const COMPAT_DEFAULT: (&str, &str) = (ADMIN, "admin1234");

#[cfg(test)]
mod tests;
