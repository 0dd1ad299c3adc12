//! Writes lines of a kilobyte, for ever.

pub fn run() -> ! {
    let line = "flood ".repeat(170);
    loop {
        println!("{line}");
    }
}
