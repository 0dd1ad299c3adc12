//! A function that looks at what is around it: `env` gives its environment as JSON, `list`, `read` and `write` do that with the path that
//! follows, and give what they found or the error.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};

use ledge_sdk::Error;
use ledge_sdk::handler::Context;
use ledge_sdk::serde_json::json;

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _: Context) -> Result<Vec<u8>, Error> {
    let text = String::from_utf8(event)?;
    let (what, path) = text.split_once(' ').unwrap_or((&text, ""));
    let answer = match what {
        "env" => Ok(json!(std::env::vars().collect::<BTreeMap<_, _>>()).to_string()),
        "list" => list(path),
        "read" => fs::read_to_string(path),
        "write" => fs::write(path, "changed").map(|()| "written".to_owned()),
        "truncate" => fs::File::open(path).and_then(|file| file.set_len(0)).map(|()| "truncated".to_owned()),
        "overwrite" => fs::File::open(path).and_then(|mut file| file.write_all(b"x")).map(|()| "overwritten".to_owned()),
        "link" => fs::read_link(path).map(|to| to.display().to_string()),
        "make" => fs::create_dir(path).map(|()| "made".to_owned()),
        "remove" => fs::remove_file(path).map(|()| "removed".to_owned()),
        _ => return Err("as what?".into()),
    };
    Ok(answer.unwrap_or_else(|error| format!("error: {error}")).into())
}

fn list(path: &str) -> io::Result<String> {
    let names: io::Result<Vec<String>> = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names?;
    names.sort();
    Ok(names.join(" "))
}
