//! Passwords: hashed with Argon2id, one at a time.
//!
//! A hash costs about 30 ms and 19 MiB on purpose, so a flood of logins may neither fill the memory nor take more than one core.

use std::collections::HashSet;
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

/// A password that is easily guessed, or too long to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    #[error("the password has {0} characters: choose one of {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX}")]
    Length(usize),
    #[error("this password is among those that are tried first: choose another, four words that have nothing to do with one another, say")]
    Common,
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
pub fn check(password: &str) -> Result<(), BadPassword> {
    let length = password.chars().count();
    if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length) {
        return Err(BadPassword::Length(length));
    }
    if is_common(password) { Err(BadPassword::Common) } else { Ok(()) }
}

/// Whether it is what people take who must have twelve characters: a well-known word or row of keys with something in front or behind, one
/// after another or the same again, or hardly any characters that differ.
fn is_common(password: &str) -> bool {
    let letters: Vec<char> = password.to_lowercase().chars().collect();
    let differing = letters.iter().collect::<HashSet<_>>().len();
    // After 9 comes 0.
    let is_row = letters.windows(2).all(|pair| [0, 1, 9].contains(&u32::from(pair[0]).abs_diff(u32::from(pair[1]))));
    differing < DIFFERING_MIN || is_row || is_of_words(&letters)
}

/// Whether known words are all of it, but for numbers, signs and two letters.
fn is_of_words(letters: &[char]) -> bool {
    let plain: Vec<char> = letters.iter().copied().map(plain_letter).collect();
    let mut is_known = vec![false; letters.len()];
    for word in WORDS {
        let word: Vec<char> = word.chars().collect();
        for at in 0..plain.len().saturating_sub(word.len() - 1) {
            if plain[at..at + word.len()] == word[..] {
                is_known[at..at + word.len()].fill(true);
            }
        }
    }
    let others = letters.iter().zip(&is_known).filter(|(letter, is_known)| letter.is_alphabetic() && !**is_known).count();
    others < 3 && is_known.contains(&true)
}

/// What stands for a letter in `P@ssw0rd`.
fn plain_letter(letter: char) -> char {
    match letter {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// Characters that a password must have at least, each counted once.
const DIFFERING_MIN: usize = 5;
/// What lists of the commonest passwords are made of, as [`plain_letter`] writes it.
const WORDS: [&str; 40] = [
    "password",
    "passwort",
    "passwd",
    "qwertyuiop",
    "qwertz",
    "qwerty",
    "asdfghjkl",
    "asdf",
    "zxcvbnm",
    "iqaz",
    "2wsx",
    "admin",
    "administrator",
    "root",
    "letmein",
    "welcome",
    "changeme",
    "default",
    "gateway",
    "ledge",
    "aliyun",
    "iloveyou",
    "monkey",
    "dragon",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "superman",
    "batman",
    "trustno",
    "master",
    "secret",
    "login",
    "abcdefgh",
    "abcd",
    "abc",
    "test",
    "guest",
    "user",
];

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
        check(&password).unwrap();
        assert_eq!(password.len(), GENERATED_CHARS);
        assert_ne!(*password, *generate());
    }

    #[test]
    fn what_is_short_long_or_tried_first_is_refused() {
        assert_eq!(check("admin1234"), Err(BadPassword::Length(9)));
        check(&"élan vital ".repeat(11)).unwrap();
        assert_eq!(check(&"é".repeat(129)), Err(BadPassword::Length(129)));
        for common in [
            "password1234",
            "P@ssw0rd2026!",
            "qwertyuiop12",
            "123456789012",
            "abcdefghijkl",
            "admin1234admin",
            "aaaaaaaaaaaa",
            "Welcome12345!",
            "1qaz2wsx1qaz2wsx",
            "LetMeIn123456",
            "0987654321098",
            "adminadminadmin",
            "ababababababab",
            "changeme2026!!",
        ] {
            assert_eq!(check(common), Err(BadPassword::Common), "{common}");
        }
        for good in [
            "correct horse",
            "another horse",
            "a whole new horse",
            "Tr0ub4dor&3-x",
            "fabrik-halle-sieben",
            "9f2c51b07de48a31",
            "绿色的火车开往南方的城市去",
        ] {
            check(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
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
