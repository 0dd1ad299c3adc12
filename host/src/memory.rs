//! Memory that was freed goes back to the system.

/// After much was freed at once: the allocator keeps it otherwise, in pieces between what is still in use.
pub fn give_back() {
    // SAFETY: it takes no pointer, and may be called at any time and from any thread.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
