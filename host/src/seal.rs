//! The gateway's own secrets: what it writes down sealed, and what it signs for itself.
//!
//! Everything comes from one key file of 32 random bytes, through a key of its own for each purpose: what was sealed for one purpose does
//! not open for another. Deliberately absent: passwords (`auth`) and a change of the key.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce};
use ring::digest::{self, SHA256};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// Seals and signs. It has no `Debug`: keys are never printed.
pub struct Seal {
    root: Prk,
}

/// Bytes that this gateway did not seal for this purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are damaged, or were sealed with another key file or for another purpose")]
pub struct UnsealError;

impl Seal {
    /// Reads the key file, or creates it on the first start. Its directory must be there.
    pub fn open(key_file: &Path) -> Result<Self> {
        let shown = key_file.display();
        let key = match File::open(key_file) {
            Ok(file) => read_key(file, key_file)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_key(key_file).with_context(|| format!("creating the key file `{shown}`"))?;
                read_key(File::open(key_file).with_context(|| format!("opening the key file `{shown}`"))?, key_file)?
            }
            Err(error) => return Err(error).with_context(|| format!("opening the key file `{shown}`")),
        };
        Ok(Self::from_key(&key))
    }

    /// Reads the key file, which must be there: for those who only look.
    pub fn read(key_file: &Path) -> Result<Self> {
        let file = File::open(key_file).with_context(|| format!("opening the key file `{}`", key_file.display()))?;
        let key = read_key(file, key_file)?;
        Ok(Self::from_key(&key))
    }

    /// A seal that is gone with the process: for tests.
    pub fn ephemeral() -> Self {
        Self::from_key(&Zeroizing::new(random()))
    }

    fn from_key(key: &[u8; KEY_BYTES]) -> Self {
        Self { root: Salt::new(HKDF_SHA256, b"ledge seal 1").extract(key) }
    }

    /// Encrypts. Name in the purpose all that the bytes belong to (`env EdgeFC/hello`), or they can be swapped for others.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = [&[FORMAT], &nonce[..], plain].concat();
        let tag = self
            .aead(purpose)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed[HEADER_BYTES..])
            .expect("only an input of 256 GiB is refused");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    pub fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(UnsealError)?;
        let (&[FORMAT], nonce) = header.split_at(1) else { return Err(UnsealError) };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnsealError)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let length = self.aead(purpose).open_in_place(nonce, Aad::empty(), &mut plain).map_err(|_| UnsealError)?.len();
        plain.truncate(length);
        Ok(plain)
    }

    /// Signs. The parts keep their borders: `["a", "b"]` and `["ab"]` have different signatures.
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.signer(purpose).mac(parts)
    }

    /// Makes the signatures of [`Seal::mac`] for one purpose, many of them: its key is derived once.
    pub fn signer(&self, purpose: &str) -> Signer {
        Signer(self.mac_key(purpose))
    }

    /// Whether [`Seal::mac`] made this signature, compared in constant time.
    pub fn verify(&self, purpose: &str, parts: &[&[u8]], signature: &[u8]) -> bool {
        hmac::verify(&self.mac_key(purpose), digest_of(parts).as_ref(), signature).is_ok()
    }

    /// [`Seal::verify`] where the last part is what a reader still has, and need not fit in memory.
    pub fn verify_read(&self, purpose: &str, parts: &[&[u8]], last: impl Read, last_bytes: u64, signature: &[u8]) -> io::Result<bool> {
        let mut context = parts_context(parts);
        context.update(&last_bytes.to_le_bytes());
        // One byte more: a last part that is longer than it says is another one.
        let mut last = last.take(last_bytes.saturating_add(1));
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match last.read(&mut chunk)? {
                0 => break,
                bytes => context.update(&chunk[..bytes]),
            }
        }
        Ok(hmac::verify(&self.mac_key(purpose), context.finish().as_ref(), signature).is_ok())
    }

    fn aead(&self, purpose: &str) -> LessSafeKey {
        LessSafeKey::new(self.key(b"seal ", purpose, &CHACHA20_POLY1305))
    }

    fn mac_key(&self, purpose: &str) -> hmac::Key {
        self.key(b"mac ", purpose, HMAC_SHA256)
    }

    fn key<L: KeyType, K: for<'a> From<ring::hkdf::Okm<'a, L>>>(&self, kind: &[u8], purpose: &str, length: L) -> K {
        self.root.expand(&[kind, purpose.as_bytes()], length).expect("these keys are far shorter than HKDF's limit").into()
    }
}

/// Signs for one purpose. It has no `Debug`, as [`Seal`] has none.
pub struct Signer(hmac::Key);

impl Signer {
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        hmac::sign(&self.0, digest_of(parts).as_ref()).as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }

    pub fn verify(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        hmac::verify(&self.0, digest_of(parts).as_ref(), signature).is_ok()
    }
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes; without them nothing here is safe");
    bytes
}

/// 256 random bits, as 43 characters that may stand in a URL, a header and a cookie.
pub fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

fn digest_of(parts: &[&[u8]]) -> digest::Digest {
    parts_context(parts).finish()
}

fn parts_context(parts: &[&[u8]]) -> digest::Context {
    let mut context = digest::Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    context
}

fn create_key(path: &Path) -> io::Result<()> {
    match crate::store::file::create(path, 0o600, &*Zeroizing::new(random::<KEY_BYTES>())) {
        // Another process was faster: its key is the key.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn read_key(file: File, path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
    let shown = path.display();
    let reading = || format!("reading the key file `{shown}`");
    let metadata = file.metadata().with_context(reading)?;
    ensure!(metadata.is_file(), "the key file `{shown}` is not a file: check the path");
    ensure!(
        metadata.uid() == rustix::process::geteuid().as_raw(),
        "the key file `{shown}` belongs to another user, who may know it: choose another with --key-file"
    );
    if metadata.permissions().mode() & 0o077 != 0 {
        bail!("the key file `{shown}` can be read or written by others, and may be known to them: type `chmod 600 {shown}`");
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(reading)?;
    let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok().with_context(|| {
        format!(
            "the key file `{shown}` does not have {KEY_BYTES} bytes: restore it from a backup (without it nothing sealed can be read), or \
             delete it to start with a new one"
        )
    })?;
    Ok(Zeroizing::new(key))
}

const KEY_BYTES: usize = 32;
/// How much of a reader is in memory at once.
const READ_BYTES: usize = 64 << 10;
/// The first byte of everything sealed.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + NONCE_LEN;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sealed_bytes_open_after_a_restart_and_only_for_their_purpose() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let sealed = Seal::open(&path).unwrap().seal("env a", b"secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let seal = Seal::open(&path).unwrap();
        assert_eq!(seal.unseal("env a", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(seal.unseal("env b", &sealed), Err(UnsealError));
        assert_eq!(Seal::ephemeral().unseal("env a", &sealed), Err(UnsealError));
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn damaged_bytes_do_not_open() {
        let seal = Seal::ephemeral();
        let sealed = seal.seal("x", b"");
        assert_eq!(seal.unseal("x", &sealed).unwrap().as_slice(), b"");
        for cut in 0..sealed.len() {
            assert_eq!(seal.unseal("x", &sealed[..cut]), Err(UnsealError));
            let mut flipped = sealed.clone();
            flipped[cut] ^= 1;
            assert_eq!(seal.unseal("x", &flipped), Err(UnsealError));
        }
    }

    #[test]
    fn a_signature_is_about_its_purpose_and_its_parts() {
        let seal = Seal::ephemeral();
        let signature = seal.mac("cache", &[b"ab", b"c"]);
        assert!(seal.verify("cache", &[b"ab", b"c"], &signature));
        assert!(!seal.verify("other", &[b"ab", b"c"], &signature));
        assert!(!seal.verify("cache", &[b"a", b"bc"], &signature));
        assert!(!seal.verify("cache", &[b"abc"], &signature));
        assert!(!seal.verify("cache", &[b"ab", b"c"], &signature[..31]));
    }

    #[test]
    fn a_signature_of_what_is_read_is_that_of_what_is_in_memory() {
        let seal = Seal::ephemeral();
        let long = vec![7; READ_BYTES + 1];
        let signature = seal.mac("cache", &[b"ab", &long]);
        let verify = |last: &[u8], bytes: usize| seal.verify_read("cache", &[b"ab"], last, bytes as u64, &signature).unwrap();
        assert!(verify(&long, long.len()));
        assert!(!verify(&long[1..], long.len()));
        assert!(!verify(&long, long.len() - 1));
        assert!(!verify(&[&long[..], b"x"].concat(), long.len()));
    }

    #[test]
    fn a_key_file_of_others_or_of_another_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        Seal::open(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = Seal::open(&path).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        for wrong in [31, 33, 0] {
            fs::write(&path, vec![7; wrong]).unwrap();
            assert!(Seal::open(&path).is_err());
        }
    }

    #[test]
    fn tokens_differ_and_fit_in_a_cookie() {
        let token = random_token();
        assert_eq!(token.len(), 43);
        assert_ne!(token, random_token());
    }
}
