//! Links: whoever has one may have the one thing that it leads to, for a while, and only while the user who asked for it may have it.
//!
//! Signed with a key that lives as long as the process: nothing of them is kept. Deliberately absent: what they lead to, and URLs (`api`).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac::{self, HMAC_SHA256};

use crate::seal::random;

/// How long a link holds.
pub const LINK_AGE_MAX: Duration = Duration::from_secs(10 * 60);

/// A link without what it leads to. It has no `Debug`: it opens that.
pub struct Link {
    pub user: String,
    /// Milliseconds since 1970.
    pub until_ms: u64,
    pub signature: String,
}

pub struct Links(hmac::Key);

impl Links {
    pub fn new() -> Self {
        Self(hmac::Key::new(HMAC_SHA256, &random::<32>()))
    }

    pub fn sign(&self, user: &str, until_ms: u64, to: &str) -> Link {
        let signature = hmac::sign(&self.0, text(user, until_ms, to).as_bytes());
        Link { user: user.to_owned(), until_ms, signature: URL_SAFE_NO_PAD.encode(signature) }
    }

    /// Whether it was made here, for this. When it ends is not looked at.
    pub fn is_own(&self, link: &Link, to: &str) -> bool {
        let signature = URL_SAFE_NO_PAD.decode(&link.signature).unwrap_or_default();
        hmac::verify(&self.0, text(&link.user, link.until_ms, to).as_bytes(), &signature).is_ok()
    }
}

/// Neither a user's name nor a number has a line break in it.
fn text(user: &str, until_ms: u64, to: &str) -> String {
    format!("{user}\n{until_ms}\n{to}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_one_thing_for_one_user_until_one_moment() {
        let links = Links::new();
        let link = || links.sign("op", 1_000, "a");
        assert!(links.is_own(&link(), "a"));
        for (changed, to) in [
            (link(), "b"),
            (Link { user: "admin".into(), ..link() }, "a"),
            (Link { until_ms: 1_001, ..link() }, "a"),
            (Link { signature: String::new(), ..link() }, "a"),
            (Link { signature: "?".into(), ..link() }, "a"),
        ] {
            assert!(!links.is_own(&changed, to));
        }
        assert!(!Links::new().is_own(&link(), "a"), "another process takes it");
    }
}
