//! Who has the machine: tests run beside one another, but what measures times and memory has to be alone.
//!
//! Gateways that share the machine never wait for one that wants it alone, only for one that has it: a test that starts a
//! second gateway while it holds its first must not wait for somebody who waits for the first.

use std::sync::{Condvar, Mutex};

static MACHINE: Mutex<Machine> = Mutex::new(Machine { shared: 0, is_taken: false });
static CHANGED: Condvar = Condvar::new();

struct Machine {
    shared: usize,
    is_taken: bool,
}

/// The right to run beside others, for as long as it lives.
pub struct Shared(());

/// The right to run while no other gateway does, for as long as it lives.
pub struct Alone(());

pub fn shared() -> Shared {
    let mut machine = CHANGED.wait_while(MACHINE.lock().unwrap(), |machine| machine.is_taken).unwrap();
    machine.shared += 1;
    Shared(())
}

pub fn alone() -> Alone {
    let mut machine = CHANGED.wait_while(MACHINE.lock().unwrap(), |machine| machine.is_taken || machine.shared > 0).unwrap();
    machine.is_taken = true;
    Alone(())
}

impl Drop for Shared {
    fn drop(&mut self) {
        MACHINE.lock().unwrap().shared -= 1;
        CHANGED.notify_all();
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        MACHINE.lock().unwrap().is_taken = false;
        CHANGED.notify_all();
    }
}
