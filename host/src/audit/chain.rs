//! The chain: each line says its number and is signed together with the signature of the line before, so that none can be changed, taken out,
//! put in or moved without the gateway's key file.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::seal::{Seal, Signer, random};

/// What the audit signs with.
pub struct Keys {
    lines: Signer,
    head: Signer,
}

/// A place in the chain: a line's number and its signature. As text `57:SIGNATURE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Link {
    pub seq: u64,
    pub mac: [u8; MAC_BYTES],
}

/// One line, as it is read: nothing of it is believed yet.
pub struct Read<'a> {
    pub link: Link,
    pub what: Cow<'a, str>,
    pub detail: Cow<'a, str>,
    signed: &'a [u8],
}

/// What stands in every line, of which the chain wants to know this.
#[derive(Deserialize)]
struct Members<'a> {
    seq: u64,
    #[serde(borrow)]
    what: Cow<'a, str>,
    #[serde(borrow)]
    detail: Cow<'a, str>,
}

impl Keys {
    pub fn of(seal: &Seal) -> Self {
        Self { lines: seal.signer("audit"), head: seal.signer("audit head") }
    }

    /// A JSON object with its signature as the last member, and the place in the chain that it has then.
    pub fn sign_line(&self, before: &Link, seq: u64, object: &str) -> (String, Link) {
        let signed = open(object);
        let link = Link { seq, mac: self.lines.mac(&[&before.mac, signed.as_bytes()]) };
        (closed(signed, &link.mac), link)
    }

    /// Whether the gateway wrote this line, and right after the one that is there.
    pub fn follows(&self, before: &Link, line: &Read<'_>) -> bool {
        before.seq.checked_add(1) == Some(line.link.seq) && self.lines.verify(&[&before.mac, line.signed], &line.link.mac)
    }

    pub fn sign_head(&self, object: &str) -> String {
        let signed = open(object);
        closed(signed, &self.head.mac(&[signed.as_bytes()]))
    }

    /// The JSON object that [`Keys::sign_head`] was given.
    pub fn read_head(&self, text: &[u8]) -> Option<Vec<u8>> {
        let (signed, mac) = taken_apart(text)?;
        self.head.verify(&[signed], &mac).then(|| [signed, b"}"].concat())
    }
}

impl Link {
    /// Where a chain begins. Random, so that two gateways with one key file have no line in common.
    pub fn origin() -> Self {
        Self { seq: 0, mac: random() }
    }
}

impl<'a> Read<'a> {
    /// `None`: the gateway writes no such line. Without its line feed.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (signed, mac) = taken_apart(line)?;
        let Members { seq, what, detail } = serde_json::from_slice(line).ok()?;
        Some(Self { link: Link { seq, mac }, what, detail, signed })
    }
}

impl Display for Link {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, URL_SAFE_NO_PAD.encode(self.mac))
    }
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(seq, mac)| Some((seq.parse().ok()?, decoded(mac.as_bytes())?)));
        let (seq, mac) = parts.ok_or_else(|| format!("`{text}` is no NUMBER:SIGNATURE, as `ledge audit verify` prints one"))?;
        Ok(Self { seq, mac })
    }
}

impl TryFrom<String> for Link {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Link> for String {
    fn from(link: Link) -> Self {
        link.to_string()
    }
}

fn open(object: &str) -> &str {
    object.strip_suffix('}').expect("a JSON object ends with a brace")
}

fn closed(signed: &str, mac: &[u8; MAC_BYTES]) -> String {
    format!("{signed}{MAC_MEMBER}{}\"}}", URL_SAFE_NO_PAD.encode(mac))
}

/// What was signed, and the signature.
fn taken_apart(line: &[u8]) -> Option<(&[u8], [u8; MAC_BYTES])> {
    let (rest, end) = line.split_at_checked(line.len().checked_sub(MAC_CHARS + 2)?)?;
    let signed = rest.strip_suffix(MAC_MEMBER.as_bytes())?;
    Some((signed, decoded(end.strip_suffix(b"\"}")?)?))
}

fn decoded(mac: &[u8]) -> Option<[u8; MAC_BYTES]> {
    URL_SAFE_NO_PAD.decode(mac).ok()?.try_into().ok()
}

const MAC_BYTES: usize = 32;
/// In base64.
const MAC_CHARS: usize = 43;
const MAC_MEMBER: &str = ",\"mac\":\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_follows_only_the_one_that_it_was_written_after() {
        let keys = Keys::of(&Seal::ephemeral());
        let origin = Link::origin();
        let (line, link) = keys.sign_line(&origin, 1, r#"{"seq":1,"what":"a","detail":"b"}"#);
        let read = Read::parse(line.as_bytes()).unwrap();
        assert_eq!((read.link, &*read.what, &*read.detail), (link, "a", "b"));
        assert!(keys.follows(&origin, &read));
        assert!(!keys.follows(&Link::origin(), &read));
        assert!(!Keys::of(&Seal::ephemeral()).follows(&origin, &read));
        assert_eq!(link.to_string().parse(), Ok(link));
    }

    #[test]
    fn what_is_no_line_is_none() {
        for line in ["", "}", "{}", r#"{"seq":1}"#, &"x".repeat(100), r#"{"seq":1,"what":"a","detail":"b","mac":"short"}"#] {
            assert!(Read::parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
