//! Access keys: who signs a request in place of logging in. On disk before they are anywhere else, and sealed there.
//!
//! A key is a user's, and may what its user may. Its secret is told once. Deliberately absent: what a request's signature is about (`api`).

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parking_lot::Mutex;
use ring::hmac::{self, HMAC_SHA256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::UserError;
use super::users::Users;
use crate::seal::{Seal, random, random_token};
use crate::store::{Batch, Store, Table};

/// Keys of one user: enough to change to another one, and for a program each.
pub const ACCESS_KEYS_MAX: usize = 10;

/// A row of the table `access_keys`, under the key's id.
#[derive(Serialize, Deserialize)]
struct Row {
    user: String,
    sealed_secret: String,
    created_ms: u64,
}

/// A key without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    pub id: String,
    pub created_ms: u64,
}

/// A key that was made just now. It has no `Debug`.
pub struct NewAccessKey {
    pub id: String,
    /// Here and never again.
    pub secret: Zeroizing<String>,
}

#[derive(Clone)]
struct Entry {
    user: Arc<str>,
    created_ms: u64,
    /// Its `Debug` shows the algorithm only.
    secret: Arc<hmac::Key>,
}

pub struct AccessKeys {
    store: Arc<Store>,
    seal: Arc<Seal>,
    entries: ArcSwap<HashMap<String, Entry>>,
    /// What a signature of nobody's key is held against, so that it costs the same.
    of_nobody: hmac::Key,
    /// Held by whoever changes them, before the users are looked at.
    changing: Mutex<()>,
}

impl AccessKeys {
    pub fn open(store: Arc<Store>, seal: Arc<Seal>) -> Result<Self> {
        let mut entries = HashMap::new();
        for (id, row) in store.list_json::<Row>(Table::AccessKeys)? {
            let failed = || format!("reading access key `{id}` (is this the key file that it was made with?)");
            let sealed = STANDARD_NO_PAD.decode(&row.sealed_secret).with_context(failed)?;
            let secret = seal.unseal(&purpose(&id, &row.user), &sealed).with_context(failed)?;
            entries.insert(id, Entry { user: row.user.into(), created_ms: row.created_ms, secret: key_of(&secret) });
        }
        let of_nobody = hmac::Key::new(HMAC_SHA256, &random::<32>());
        Ok(Self { store, seal, entries: ArcSwap::from_pointee(entries), of_nobody, changing: Mutex::default() })
    }

    /// Whose key signed `text`. Compared in constant time, and no sooner done for an id that nobody has.
    pub fn user(&self, id: &str, text: &[u8], signature: &[u8]) -> Option<Arc<str>> {
        let entry = self.entries.load().get(id).cloned();
        let secret = entry.as_ref().map_or(&self.of_nobody, |entry| &entry.secret);
        let is_right = hmac::verify(secret, text, signature).is_ok();
        entry.filter(|_| is_right).map(|entry| entry.user)
    }

    pub fn has(&self, id: &str) -> bool {
        self.entries.load().contains_key(id)
    }

    /// The oldest first.
    pub fn list(&self, user: &str) -> Vec<AccessKey> {
        let entries = self.entries.load();
        let own = entries.iter().filter(|(_, entry)| *entry.user == *user);
        let mut list: Vec<_> = own.map(|(id, entry)| AccessKey { id: id.clone(), created_ms: entry.created_ms }).collect();
        list.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        list
    }

    pub fn add(&self, users: &Users, user: &str, now_ms: u64) -> Result<NewAccessKey, UserError> {
        let _changing = self.changing.lock();
        if !users.has(user) {
            return Err(UserError::Unknown(user.to_owned()));
        }
        if self.list(user).len() >= ACCESS_KEYS_MAX {
            return Err(UserError::TooManyKeys(user.to_owned()));
        }
        let id: String = std::iter::once("LK".to_owned()).chain(random::<10>().map(|byte| format!("{byte:02X}"))).collect();
        let secret = Zeroizing::new(random_token());
        let sealed_secret = STANDARD_NO_PAD.encode(self.seal.seal(&purpose(&id, user), secret.as_bytes()));
        let mut batch = Batch::new();
        let row = Row { user: user.to_owned(), sealed_secret, created_ms: now_ms };
        let written = batch.put_json(Table::AccessKeys, &id, &row).and_then(|()| self.store.commit(batch));
        written.with_context(|| format!("saving an access key of user `{user}`")).map_err(UserError::Failed)?;
        let entry = Entry { user: user.into(), created_ms: now_ms, secret: key_of(secret.as_bytes()) };
        self.replace(|entries| drop(entries.insert(id.clone(), entry.clone())));
        Ok(NewAccessKey { id, secret })
    }

    pub fn delete(&self, user: &str, id: &str) -> Result<(), UserError> {
        let _changing = self.changing.lock();
        if self.entries.load().get(id).is_none_or(|entry| *entry.user != *user) {
            return Err(UserError::UnknownKey { user: user.to_owned(), id: id.to_owned() });
        }
        let mut batch = Batch::new();
        batch.delete(Table::AccessKeys, id);
        self.store.commit(batch).with_context(|| format!("deleting access key `{id}`")).map_err(UserError::Failed)?;
        self.replace(|entries| drop(entries.remove(id)));
        Ok(())
    }

    /// Deletes a user, and in the same commit all of their keys.
    pub fn delete_user(&self, users: &Users, user: &str) -> Result<(), UserError> {
        let _changing = self.changing.lock();
        let mut batch = Batch::new();
        for key in self.list(user) {
            batch.delete(Table::AccessKeys, key.id);
        }
        users.delete(user, batch)?;
        self.replace(|entries| entries.retain(|_, entry| *entry.user != *user));
        Ok(())
    }

    fn replace(&self, change: impl Fn(&mut HashMap<String, Entry>)) {
        self.entries.rcu(|entries| {
            let mut entries = HashMap::clone(entries);
            change(&mut entries);
            entries
        });
    }
}

fn key_of(secret: &[u8]) -> Arc<hmac::Key> {
    Arc::new(hmac::Key::new(HMAC_SHA256, secret))
}

/// A row under another id, or of another user, does not open.
fn purpose(id: &str, user: &str) -> String {
    format!("access key {id} of {user}")
}
