//! Traps at once. The storm is made by those who call it.

pub fn run() -> ! {
    std::process::abort()
}
