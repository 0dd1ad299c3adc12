//! A command and not a function: it exports `wasi:cli/run` and nothing of the contract.

fn main() {
    println!("this is not a function");
}
