//! The users: who there is, what each may do, and how their passwords are checked. On disk before they are anywhere else.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::password::Hash;
use super::permission::{Permission, Rights, Role};
use super::{ADMIN, UserError};
use crate::store::{Batch, Store, Table};

/// A row of the table `users`, under the user's name.
#[derive(Serialize, Deserialize)]
struct Row {
    password_hash: String,
    /// Before there were roles, there was only `admin`.
    #[serde(default = "admin")]
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permissions: Option<BTreeSet<Permission>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    products: Option<BTreeSet<String>>,
}

fn admin() -> Role {
    Role::Admin
}

#[derive(Clone)]
pub struct Entry {
    pub hash: Hash,
    /// Others after each change of the user, and be it of the password only: whoever still has the ones of before can tell.
    pub rights: Arc<Rights>,
}

pub struct Users {
    store: Arc<Store>,
    entries: ArcSwap<HashMap<String, Entry>>,
    /// Held by whoever changes them.
    changing: Mutex<()>,
}

/// Far more than people at one gateway.
pub const USERS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 64;

impl Users {
    pub fn open(store: Arc<Store>) -> Result<Self> {
        let mut entries = HashMap::new();
        for (name, row) in store.list_json::<Row>(Table::Users)? {
            let hash = Hash::parse(&row.password_hash).with_context(|| format!("the stored password of user `{name}` is damaged"))?;
            let rights = Rights { role: row.role, permissions: row.permissions, products: row.products };
            entries.insert(name, Entry { hash, rights: Arc::new(rights) });
        }
        Ok(Self { store, entries: ArcSwap::from_pointee(entries), changing: Mutex::default() })
    }

    pub fn get(&self, name: &str) -> Option<Entry> {
        self.entries.load().get(name).cloned()
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.load().contains_key(name)
    }

    pub fn rights(&self, name: &str) -> Option<Arc<Rights>> {
        self.entries.load().get(name).map(|entry| entry.rights.clone())
    }

    /// In the order of their names.
    pub fn list(&self) -> Vec<(String, Arc<Rights>)> {
        let mut list: Vec<_> = self.entries.load().iter().map(|(name, entry)| (name.clone(), entry.rights.clone())).collect();
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        list
    }

    pub fn add(&self, name: &str, hash: Hash, rights: Rights) -> Result<(), UserError> {
        check_name(name)?;
        check_rights(&rights)?;
        let _changing = self.changing.lock();
        if self.has(name) {
            return Err(UserError::Exists(name.to_owned()));
        }
        if self.entries.load().len() >= USERS_MAX {
            return Err(UserError::TooMany);
        }
        self.write(name, Entry { hash, rights: Arc::new(rights) })
    }

    /// Gives a user another password; `admin` is made where there is none.
    pub fn set_hash(&self, name: &str, hash: Hash) -> Result<(), UserError> {
        let _changing = self.changing.lock();
        let rights = match self.rights(name) {
            Some(rights) => Arc::new(Rights::clone(&rights)),
            None if name == ADMIN => Arc::new(Rights::of(Role::Admin)),
            None => return Err(UserError::Unknown(name.to_owned())),
        };
        self.write(name, Entry { hash, rights })
    }

    pub fn set_rights(&self, name: &str, rights: Rights) -> Result<(), UserError> {
        check_rights(&rights)?;
        let _changing = self.changing.lock();
        let entry = self.get(name).ok_or_else(|| UserError::Unknown(name.to_owned()))?;
        // Somebody must be able to give rights back.
        if name == ADMIN && rights != Rights::of(Role::Admin) {
            return Err(UserError::Admin);
        }
        self.write(name, Entry { rights: Arc::new(rights), ..entry })
    }

    /// Deletes a user together with what else `batch` changes.
    pub fn delete(&self, name: &str, mut batch: Batch) -> Result<(), UserError> {
        let _changing = self.changing.lock();
        if name == ADMIN {
            return Err(UserError::Admin);
        }
        if !self.has(name) {
            return Err(UserError::Unknown(name.to_owned()));
        }
        batch.delete(Table::Users, name);
        self.store.commit(batch).with_context(|| format!("deleting user `{name}`")).map_err(UserError::Failed)?;
        self.entries.rcu(|entries| {
            let mut entries = HashMap::clone(entries);
            entries.remove(name);
            entries
        });
        Ok(())
    }

    /// Whoever calls holds `changing`.
    fn write(&self, name: &str, entry: Entry) -> Result<(), UserError> {
        let Rights { role, permissions, products } = Rights::clone(&entry.rights);
        let row = Row { password_hash: entry.hash.to_text(), role, permissions, products };
        let mut batch = Batch::new();
        let written = batch.put_json(Table::Users, name, &row).and_then(|()| self.store.commit(batch));
        written.with_context(|| format!("saving user `{name}`")).map_err(UserError::Failed)?;
        self.entries.rcu(|entries| {
            let mut entries = HashMap::clone(entries);
            entries.insert(name.to_owned(), entry.clone());
            entries
        });
        Ok(())
    }
}

/// What a role has not cannot be left to a user of it.
fn check_rights(rights: &Rights) -> Result<(), UserError> {
    let foreign = rights.permissions.iter().flatten().find(|permission| !rights.role.may(**permission));
    foreign.map_or(Ok(()), |permission| Err(UserError::NotOfRole { role: rights.role.name().to_owned(), permission: *permission }))
}

/// Names stand in HTTP Basic, in paths and in the audit.
fn check_name(name: &str) -> Result<(), UserError> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_good) || name.bytes().all(|byte| byte == b'.') {
        return Err(UserError::Name(name.to_owned()));
    }
    Ok(())
}
