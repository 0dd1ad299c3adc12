//! Passwords: hashed with Argon2id, one at a time.
//!
//! A hash costs about 30 ms and 19 MiB on purpose, so a flood of logins may neither fill the memory nor take more than one core.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::seal::random;

/// What is kept of a password: its hash, with the salt and the cost that made it.
#[derive(Clone)]
pub struct Hash(PasswordHash);

/// A password that is too short to be safe, or too long to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password has {length} characters: choose one of {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX}")]
pub struct LengthError {
    pub length: usize,
}

/// Hands out turns to hash.
pub struct Hasher {
    waiting: Arc<Semaphore>,
    one: Arc<Semaphore>,
    hashes: Arc<AtomicU64>,
}

/// The right to hash. Whoever holds it is the only one who reads or changes passwords.
pub struct Turn {
    hashes: Arc<AtomicU64>,
    _waiting: Option<OwnedSemaphorePermit>,
    _one: Option<OwnedSemaphorePermit>,
}

impl Hasher {
    pub fn new() -> Self {
        let waiting = Arc::new(Semaphore::new(LOGINS_WAITING_MAX + 1));
        Self { waiting, one: Arc::new(Semaphore::new(1)), hashes: Arc::default() }
    }

    /// Waits for a turn; `None` if too many wait already.
    pub async fn turn(&self) -> Option<Turn> {
        let waiting = self.waiting.clone().try_acquire_owned().ok()?;
        let one = self.one.clone().acquire_owned().await.ok()?;
        Some(Turn { hashes: self.hashes.clone(), _waiting: Some(waiting), _one: Some(one) })
    }

    /// A turn for the start of the process, when nobody else can want one.
    pub fn first_turn(&self) -> Turn {
        Turn { hashes: self.hashes.clone(), _waiting: None, _one: None }
    }

    /// How many hashes were computed so far.
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }
}

impl Turn {
    /// Takes its time: call it where blocking is allowed.
    pub fn hash(&self, password: &str) -> Result<Hash> {
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).context("choosing the cost of a password")?;
        let salt = Salt::new(&random::<16>()).context("salting a password")?;
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).context("writing the cost of a password")?,
            salt: Some(salt),
            hash: Some(compute(password, params, &salt).context("hashing a password")?),
        };
        Ok(Hash(hash))
    }

    /// Whether the hash is of this password. Takes as long for a user who does not exist (`None`).
    pub fn verify(&self, password: &str, hash: Option<&Hash>) -> bool {
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let nobody = || PasswordHash::new(NOBODY).expect("tested");
        let matches = |hash: &PasswordHash| {
            let params = Params::try_from(hash).ok();
            let computed = params.zip(hash.salt).and_then(|(params, salt)| compute(password, params, &salt).ok());
            // Two outputs are compared in constant time.
            computed.is_some() && computed == hash.hash
        };
        match hash {
            Some(hash) => matches(&hash.0),
            None => {
                matches(&nobody());
                false
            }
        }
    }
}

/// Every hash here is of this algorithm: nothing else ever made one.
fn compute(password: &str, params: Params, salt: &Salt) -> Result<Output> {
    // The allocator keeps small pieces for later, in each thread that ever hashed. One as large as this comes from the
    // system and goes back to it; only the blocks that are used are ever there.
    let mut memory = Vec::with_capacity(params.block_count().max(GIVEN_BACK_BLOCKS));
    memory.resize(params.block_count(), Block::default());
    let mut output = Zeroizing::new([0; OUTPUT_BYTES]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut *output, &mut memory[..])?;
    Ok(Output::new(&*output)?)
}

impl Hash {
    pub fn parse(text: &str) -> Result<Self> {
        PasswordHash::new(text).map(Self).context("reading a password's hash")
    }

    pub fn to_text(&self) -> String {
        self.0.to_string()
    }
}

/// Refuses passwords that a person chose badly.
pub fn check_length(password: &str) -> Result<(), LengthError> {
    let length = password.chars().count();
    if (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length) { Ok(()) } else { Err(LengthError { length }) }
}

/// A password of 99 bits that can be read aloud and typed.
pub fn generate() -> Zeroizing<String> {
    let mut password = Zeroizing::new(String::with_capacity(GENERATED_CHARS));
    while password.len() < GENERATED_CHARS {
        let [byte] = random();
        // Five bits choose; the one value too many is drawn again, so that every letter is as likely.
        if let Some(letter) = ALPHABET.get(usize::from(byte & 31)) {
            password.push(char::from(*letter));
        }
    }
    password
}

/// More than the 32 MiB up to which glibc's allocator may keep memory, in blocks of 1 KiB.
const GIVEN_BACK_BLOCKS: usize = 33 << 10;
const OUTPUT_BYTES: usize = 32;

pub const PASSWORD_CHARS_MIN: usize = 12;
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Logins that may wait for the one that is being checked. One more is answered 503.
/// An address has one of them, so that fifty who guess leave room for one who knows.
pub const LOGINS_WAITING_MAX: usize = 56;

const GENERATED_CHARS: usize = 20;
/// Without `i`, `l`, `o`, `0` and `1`, which people confuse.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
const MEMORY_KIB: u32 = 19 << 10;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// A hash at our cost that no password is known to have.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_that_nobody_has_costs_what_a_real_one_costs() {
        let turn = Hasher::new().first_turn();
        let real = turn.hash("correct horse").unwrap();
        let nobody = Hash::parse(NOBODY).unwrap();
        assert_eq!((real.0.algorithm, real.0.version), (nobody.0.algorithm, nobody.0.version));
        assert_eq!(real.0.params, nobody.0.params);
        assert!(turn.verify("correct horse", Some(&Hash::parse(&real.to_text()).unwrap())));
        assert!(!turn.verify("wrong horse!", Some(&real)));
        assert!(!turn.verify("correct horse", None));
    }

    #[test]
    fn generated_passwords_are_long_enough_and_differ() {
        let password = generate();
        check_length(&password).unwrap();
        assert_eq!(password.len(), GENERATED_CHARS);
        assert_ne!(*password, *generate());
        assert_eq!(check_length("admin1234"), Err(LengthError { length: 9 }));
        check_length(&"é".repeat(128)).unwrap();
        assert_eq!(check_length(&"é".repeat(129)), Err(LengthError { length: 129 }));
    }

    #[tokio::test]
    async fn too_many_waiting_logins_are_turned_away_at_once() {
        let hasher = Arc::new(Hasher::new());
        let running = hasher.turn().await.unwrap();
        let waiting: Vec<_> = (0..LOGINS_WAITING_MAX)
            .map(|_| {
                tokio::spawn({
                    let hasher = hasher.clone();
                    async move { hasher.turn().await.is_some() }
                })
            })
            .collect();
        while hasher.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(hasher.turn().await.is_none());
        drop(running);
        for one in waiting {
            assert!(one.await.unwrap());
        }
        assert!(hasher.turn().await.is_some());
    }
}
