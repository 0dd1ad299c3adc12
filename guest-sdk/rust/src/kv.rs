//! What a function remembers from call to call: keys and values of its own, which no other function sees.
//!
//! What was written when a call returns is on the gateway's disk. Keys have 1 to 256 bytes; all keys and values of a function together stay
//! within its limit `kv_bytes`. No grant is needed. Faults of every call: 100001 (the key), 100008 (the disk).

use crate::Fault;
use crate::bindings::function::ledge::edge::kv as wit;

/// The value of the key, if there is one.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Fault> {
    wit::get(key)
}

/// Sets the key, whatever it was.
///
/// Fault: 110002 (the limit `kv_bytes`).
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), Fault> {
    wit::set(key, value.as_ref())
}

/// Whether there was such a key.
pub fn delete(key: &str) -> Result<bool, Fault> {
    wit::delete(key)
}

/// The keys that begin with `prefix` and come after `after`, in the order of their bytes: `max` of them, and 1,000, at most.
pub fn list_keys(prefix: &str, after: Option<&str>, max: u32) -> Result<Vec<String>, Fault> {
    wit::list_keys(prefix, after, max)
}

/// Sets the key to `value` (`None`: deletes it) if it is `expected` now (`None`: if it is not there), and says whether it did. Of several
/// callers at once one does.
///
/// Fault: 110002 (the limit `kv_bytes`).
pub fn compare_and_swap(key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, Fault> {
    wit::compare_and_swap(key, expected, value)
}

/// Changes the value of the key by `change`, which is called again where another call changed it meanwhile. The new value.
pub fn update(key: &str, mut change: impl FnMut(Option<Vec<u8>>) -> Vec<u8>) -> Result<Vec<u8>, Fault> {
    loop {
        let now = get(key)?;
        let new = change(now.clone());
        if compare_and_swap(key, now.as_deref(), Some(&new))? {
            return Ok(new);
        }
    }
}
