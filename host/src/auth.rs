//! Who may call the gateway, and what each may do: users, their passwords, access keys, sessions and rights.
//!
//! Passwords are kept only as Argon2id hashes, tokens only as hashes in memory: a restart logs everybody out. What a user may do is looked
//! up at each request, so a change holds at once. Deliberately absent: cookies and HTTP answers (`api`), and the audit of failed logins
//! (`api` knows from where they came).

mod access_key;
mod basic;
mod link;
mod password;
mod permission;
mod session;
pub mod signature;
mod throttle;
mod users;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ring::digest::{SHA256, digest};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use self::access_key::AccessKeys;
use self::basic::{Basic, Credentials};
use self::link::Links;
use self::password::{Hash, Hasher, Turn};
use self::session::Sessions;
use self::throttle::{Throttle, Wait};
use self::users::Users;
use crate::clock::Clock;
use crate::seal::{Seal, random_token};
use crate::store::Store;

pub use self::access_key::{ACCESS_KEYS_MAX, AccessKey, NewAccessKey};
pub use self::link::{LINK_AGE_MAX, Link};
pub use self::password::{BadPassword, LOGINS_WAITING_MAX, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, generate as generate_password};
pub use self::permission::{CameFrom, Permission, Rights, Role, User};
pub use self::session::{SESSION_AGE_MAX, SESSION_IDLE_MAX, SESSIONS_MAX, SESSIONS_PER_USER_MAX};
pub use self::throttle::Source;
pub use self::users::USERS_MAX;

/// Users and sessions. Clones share them.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    users: Users,
    keys: AccessKeys,
    clock: Clock,
    hasher: Hasher,
    throttle: Throttle,
    sessions: Sessions,
    basic: Basic,
    links: Links,
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
    /// Whether the password is right was not looked at.
    #[error("too many failed logins of this user, or from this address: try again in {wait_s} s")]
    TooOften { wait_s: u64 },
}

/// How far the clock of whoever signs may be from the gateway's, and so how long a request that somebody else has seen can be sent again.
pub const SIGNATURE_AGE_MAX: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    Wrong,
    /// The gateway's clock shows another time.
    Time {
        now_ms: u64,
    },
}

impl From<Wait> for LoginError {
    fn from(Wait(wait): Wait) -> Self {
        Self::TooOften { wait_s: wait.as_millis().div_ceil(1_000).max(1) as u64 }
    }
}

/// Why a user is not changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("there is no user `{0}`; `ledge list users` shows those that there are")]
    Unknown(String),
    #[error("there is a user `{0}` already")]
    Exists(String),
    #[error("`{0}` is no name for a user: it has 1 to 64 letters, digits, `-`, `_`, `.` and `@`")]
    Name(String),
    #[error("there are {USERS_MAX} users already: delete one first")]
    TooMany,
    #[error("user `{0}` has {ACCESS_KEYS_MAX} access keys already: delete one first")]
    TooManyKeys(String),
    #[error("user `{user}` has no access key `{id}`; `ledge user key list {user}` shows those that there are")]
    UnknownKey { user: String, id: String },
    #[error("the role {role} has no permission `{}`, so it cannot be one of those that are left to it", permission.name())]
    NotOfRole { role: String, permission: Permission },
    #[error("`admin` may do everything and cannot be deleted, so that somebody can always give rights back")]
    Admin,
    #[error(transparent)]
    Password(#[from] BadPassword),
    #[error("too many logins at the moment: try again in a second")]
    Busy,
    /// Nothing is changed.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

impl Auth {
    /// Reads the users, and sees to it that `admin` has a password. Blocks for as long as a hash takes.
    pub fn open(store: Arc<Store>, seal: Arc<Seal>, clock: Clock, options: AuthOptions) -> Result<(Self, FirstPassword)> {
        let inner = Inner {
            users: Users::open(store.clone())?,
            keys: AccessKeys::open(store, seal)?,
            clock: clock.clone(),
            hasher: Hasher::new(),
            throttle: Throttle::new(clock.clone()),
            sessions: Sessions::new(clock.clone()),
            basic: Basic::new(clock),
            links: Links::new(),
            compat_default_login: options.compat_default_login,
        };
        let first = inner.first_password(options.admin_password)?;
        Ok((Self(Arc::new(inner)), first))
    }

    /// Checks a password and starts a session.
    pub async fn login(&self, user: &str, password: &str, source: Option<Source>) -> Result<Session, LoginError> {
        let (user, _turn) = self.check(user, password, source).await?;
        let token = random_token();
        self.0.sessions.start(hash_of(&token), &user.name);
        Ok(Session { token, user })
    }

    /// The same for an `Authorization: Basic ...`.
    pub async fn login_basic(&self, header_value: &str, source: Option<Source>) -> Result<Session, LoginError> {
        let credentials = Credentials::parse(header_value).ok_or(LoginError::Invalid)?;
        self.login(&credentials.user, &credentials.password, source).await
    }

    pub fn has_user(&self, name: &str) -> bool {
        self.0.users.has(name)
    }

    /// What may be written down of a name that somebody tried: people type passwords into the wrong field.
    pub fn known<'a>(&self, name: &'a str) -> &'a str {
        if self.has_user(name) { name } else { "an unknown user" }
    }

    /// The same for the name in an `Authorization: Basic ...`.
    pub fn known_of_basic(&self, header_value: &str) -> String {
        let credentials = Credentials::parse(header_value);
        self.known(credentials.as_ref().map_or("", |credentials| &credentials.user)).to_owned()
    }

    /// Whose session a token is. Cheap, and counts as use of the session.
    pub fn session(&self, token: &str) -> Option<User> {
        let key = hash_of(token);
        let user = self.0.user(&self.0.sessions.user(&key)?)?;
        Some(User { session: Some(key), ..user })
    }

    /// Ends a session; `false` if there was none.
    pub fn logout(&self, token: &str) -> bool {
        self.0.sessions.end(&hash_of(token))
    }

    /// Whose `Authorization: Basic ...` this is. Cheap, but for the first time, of which `logged_in` is told.
    pub async fn basic(&self, header_value: &str, source: Option<Source>, logged_in: impl FnOnce(&User)) -> Result<User, LoginError> {
        let basic = &self.0.basic;
        let key = basic.key(header_value, source);
        let check = || async {
            let credentials = Credentials::parse(header_value).ok_or(LoginError::Invalid)?;
            let (user, _turn) = self.check(&credentials.user, &credentials.password, source).await?;
            basic.remember(key, &user.name);
            logged_in(&user);
            Ok(user.name.into())
        };
        let name = basic.user(key, check).await?;
        self.0.user(&name).ok_or(LoginError::Invalid)
    }

    /// Checks a password and starts nothing: for those who must prove once more who they are.
    pub async fn verify(&self, user: &str, password: &str, source: Option<Source>) -> Result<User, LoginError> {
        self.check(user, password, source).await.map(|(user, _turn)| user)
    }

    /// All users and what they may do, in the order of their names.
    pub fn users(&self) -> Vec<(String, Arc<Rights>)> {
        self.0.users.list()
    }

    pub fn rights(&self, user: &str) -> Option<Arc<Rights>> {
        self.0.users.rights(user)
    }

    /// Whether somebody who proved who they are has the password and the rights that they had then, and the access key or the session, which is
    /// in use.
    pub fn is_unchanged(&self, user: &User) -> bool {
        let has_key = user.access_key.as_ref().is_none_or(|id| self.0.keys.has(id));
        if !has_key || user.session.is_some_and(|key| self.0.sessions.user(&key).is_none()) {
            return false;
        }
        user.is_local() || self.rights(&user.name).is_some_and(|now| Arc::ptr_eq(&now, &user.rights))
    }

    /// Adds a user. Whether the caller may is for the caller to know, here and below.
    pub async fn add_user(&self, user: &str, password: &str, rights: Rights) -> Result<(), UserError> {
        self.hashed(user, password, move |inner, user, hash| inner.users.add(user, hash, rights)).await
    }

    /// Changes a password and ends all that the old one opened.
    pub async fn set_password(&self, user: &str, password: &str) -> Result<(), UserError> {
        if !self.has_user(user) {
            return Err(UserError::Unknown(user.to_owned()));
        }
        self.hashed(user, password, |inner, user, hash| {
            inner.users.set_hash(user, hash)?;
            inner.log_out(user);
            Ok(())
        })
        .await
    }

    /// Holds from the next request on.
    pub async fn set_rights(&self, user: &str, rights: Rights) -> Result<(), UserError> {
        self.changed(user, |inner, user| inner.users.set_rights(user, rights)).await
    }

    /// Deletes a user, and ends all that they opened.
    pub async fn delete_user(&self, user: &str) -> Result<(), UserError> {
        // Nobody who is being checked now may open anything afterwards, for the next user of this name.
        let turn = self.0.hasher.turn().await.ok_or(UserError::Busy)?;
        self.changed(user, move |inner, user| {
            let _turn = turn;
            inner.keys.delete_user(&inner.users, user)?;
            inner.log_out(user);
            Ok(())
        })
        .await
    }

    /// Makes an access key for a user.
    pub async fn add_access_key(&self, user: &str) -> Result<NewAccessKey, UserError> {
        self.changed(user, |inner, user| inner.keys.add(&inner.users, user, inner.clock.unix_ms())).await
    }

    pub fn access_keys(&self, user: &str) -> Result<Vec<AccessKey>, UserError> {
        if self.has_user(user) { Ok(self.0.keys.list(user)) } else { Err(UserError::Unknown(user.to_owned())) }
    }

    /// From the next request on it opens nothing.
    pub async fn delete_access_key(&self, user: &str, id: &str) -> Result<(), UserError> {
        let id = id.to_owned();
        self.changed(user, move |inner, user| inner.keys.delete(user, &id)).await
    }

    /// Whose access key signed `text` at a time, in milliseconds since 1970. An id that nobody has and a wrong signature are not told apart.
    pub fn signed(&self, key_id: &str, signed_ms: u64, text: &[u8], signature: &[u8]) -> Result<User, SignatureError> {
        let now_ms = self.0.clock.unix_ms();
        if now_ms.abs_diff(signed_ms) > SIGNATURE_AGE_MAX.as_millis() as u64 {
            return Err(SignatureError::Time { now_ms });
        }
        let user = self.0.keys.user(key_id, text, signature).and_then(|user| self.0.user(&user)).ok_or(SignatureError::Wrong)?;
        Ok(User { access_key: Some(key_id.into()), ..user })
    }

    /// A link to something that a user may have. Whether they may is for the caller to know.
    pub fn link(&self, user: &str, to: &str) -> Link {
        self.0.links.sign(user, self.0.clock.unix_ms() + LINK_AGE_MAX.as_millis() as u64, to)
    }

    /// Whose link to this it is, if it holds still. What they may now is for the caller to look at.
    pub fn linked(&self, link: &Link, to: &str) -> Option<User> {
        let holds = self.0.links.is_own(link, to) && self.0.clock.unix_ms() < link.until_ms;
        holds.then(|| self.0.user(&link.user)).flatten()
    }

    /// All of it in a task that cannot be cancelled: no session may outlive a password that was changed.
    async fn hashed<W>(&self, user: &str, password: &str, work: W) -> Result<(), UserError>
    where
        W: FnOnce(&Inner, &str, Hash) -> Result<(), UserError> + Send + 'static,
    {
        password::check(password)?;
        let turn = self.0.hasher.turn().await.ok_or(UserError::Busy)?;
        let password = Zeroizing::new(password.to_owned());
        self.changed(user, move |inner, user| {
            let hash = turn.hash(&password).map_err(UserError::Failed)?;
            work(inner, user, hash)
        })
        .await
    }

    async fn changed<T, W>(&self, user: &str, work: W) -> Result<T, UserError>
    where
        T: Send + 'static,
        W: FnOnce(&Inner, &str) -> Result<T, UserError> + Send + 'static,
    {
        let (inner, user) = (self.0.clone(), user.to_owned());
        let done = spawn_blocking(move || work(&inner, &user)).await;
        done.unwrap_or_else(|stopped| Err(UserError::Failed(stopped.into())))
    }

    /// How many passwords were hashed so far, for the metrics.
    pub fn hashes(&self) -> u64 {
        self.0.hasher.hashes()
    }

    /// The turn comes back with the user: what the password opens is opened before anybody can change it. Without a source (the local
    /// socket, a test) nobody has to wait.
    async fn check(&self, user: &str, password: &str, source: Option<Source>) -> Result<(User, Turn), LoginError> {
        let attempt = if let Some(source) = source { Some(self.0.throttle.admit(user, source).await?) } else { None };
        let turn = self.0.hasher.turn().await.ok_or(LoginError::Busy)?;
        let (inner, user, password) = (self.0.clone(), user.to_owned(), Zeroizing::new(password.to_owned()));
        // The turn goes along: a caller who gives up does not let a second hash start beside this one. And the attempt: who goes before the
        // answer has guessed all the same.
        let checked = spawn_blocking(move || {
            let is_right = inner.is_right(&turn, &user, &password);
            match attempt {
                Some(attempt) if is_right => inner.throttle.succeeded(attempt),
                Some(attempt) => inner.throttle.failed(attempt),
                None => {}
            }
            is_right.then(|| inner.user(&user)).flatten().map(|user| (user, turn))
        });
        // It only fails while the process stops.
        checked.await.map_err(|_| LoginError::Busy)?.ok_or(LoginError::Invalid)
    }
}

impl Inner {
    /// With what they may do now.
    fn user(&self, name: &str) -> Option<User> {
        self.users.rights(name).map(|rights| User::new(name, rights))
    }

    fn log_out(&self, user: &str) {
        self.sessions.end_all_of(user);
        self.basic.forget(user);
    }

    fn is_right(&self, turn: &Turn, user: &str, password: &str) -> bool {
        // No secret, so no need to compare in constant time.
        if self.compat_default_login && (user, password) == COMPAT_DEFAULT {
            return true;
        }
        let entry = self.users.get(user);
        turn.verify(password, entry.as_ref().map(|entry| &entry.hash))
    }

    fn first_password(&self, given: Option<Zeroizing<String>>) -> Result<FirstPassword> {
        let turn = self.hasher.first_turn();
        let Some(given) = given else {
            if self.users.has(ADMIN) {
                return Ok(FirstPassword::Kept);
            }
            let generated = password::generate();
            self.save(&turn, ADMIN, &generated)?;
            return Ok(FirstPassword::Generated(generated));
        };
        password::check(&given).with_context(|| format!("the password given for `{ADMIN}` is refused"))?;
        let entry = self.users.get(ADMIN);
        if !entry.is_some_and(|entry| turn.verify(&given, Some(&entry.hash))) {
            self.save(&turn, ADMIN, &given)?;
        }
        Ok(FirstPassword::Given)
    }

    fn save(&self, turn: &Turn, user: &str, password: &str) -> Result<()> {
        let hash = turn.hash(password)?;
        Ok(self.users.set_hash(user, hash)?)
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
