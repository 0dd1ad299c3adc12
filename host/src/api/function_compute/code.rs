//! The package that a function's component comes in: a zip with one `.wasm`, or the component as it is.

use std::io::{Cursor, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_64_XZ, Crc};
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

use crate::deploy::CodeNote;
use crate::limit::COMPONENT_BYTES_MAX;
use crate::set::Digest;

/// Members of an archive, directories included: it is looked through before anything of it is unpacked.
const MEMBERS_MAX: u16 = 100;
/// The record at a zip's end, and the longest comment after it.
const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: usize = u16::MAX as usize;

pub const CRC_64: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// A component, and what is known of the package that it was in. Takes a while: not for threads that serve others.
pub fn unpack(base64: &str) -> Result<(Vec<u8>, CodeNote), String> {
    let package = STANDARD.decode(base64).map_err(|wrong| format!("`code.zipFile` is no base64: {wrong}"))?;
    let (bytes, checksum) = (package.len() as u64, CRC_64.checksum(&package).to_string());
    let component = if package.starts_with(b"\0asm") { package } else { unzip(&package)? };
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(too_large("the component"));
    }
    let note = CodeNote { component: Digest::of(&component), bytes, checksum };
    Ok((component, note))
}

fn too_large(what: &str) -> String {
    format!("`code.zipFile`: {what} has more than {COMPONENT_BYTES_MAX} bytes, the most that is taken")
}

fn unzip(package: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = |why: String| format!("`code.zipFile`: {why}; expected a zip with one file, a component `*.wasm`, or the component itself");
    let members = members_said(package).ok_or_else(|| wrong("it is no zip".to_owned()))?;
    if members > MEMBERS_MAX {
        return Err(wrong(format!("it has {members} members")));
    }
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, Cursor::new(package)).map_err(|error| wrong(error.to_string()))?;
    let mut found = None;
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(|error| wrong(error.to_string()))?;
        let name = member.name().map_err(|error| wrong(error.to_string()))?.into_owned();
        let shown = name.escape_debug();
        if member.enclosed_name().is_none() || name.starts_with(['/', '\\']) || name.split(['/', '\\']).any(|part| part == "..") {
            return Err(wrong(format!("the name `{shown}` leads out of it")));
        }
        if member.is_dir() {
            continue;
        }
        if member.is_symlink() {
            return Err(wrong(format!("`{shown}` is a link")));
        }
        if found.replace(index).is_some() {
            return Err(wrong(format!("it has several files, `{shown}` among them")));
        }
        if Path::new(&name).extension().is_none_or(|extension| extension != "wasm") {
            return Err(wrong(format!("`{shown}` is no `*.wasm`")));
        }
    }
    let index = found.ok_or_else(|| wrong("it has no file".to_owned()))?;
    let member = archive.by_index(index).map_err(|error| wrong(error.to_string()))?;
    let mut component = Vec::new();
    // What it says of its size is not believed.
    member
        .take(COMPONENT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut component)
        .map_err(|error| wrong(format!("it cannot be unpacked: {error}")))?;
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(too_large("what it unpacks to"));
    }
    Ok(component)
}

/// How many members the records say that could be an archive's end; the most of them. A list of many is not even read.
fn members_said(package: &[u8]) -> Option<u16> {
    let tail = &package[package.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX)..];
    let records = tail.windows(END_BYTES).filter(|window| window.starts_with(b"PK\x05\x06"));
    let said = |record: &[u8]| {
        // For more than these can hold there is a second record, elsewhere, with a count of its own.
        if record[12..16] == [0xff; 4] || record[16..20] == [0xff; 4] {
            return u16::MAX;
        }
        u16::from_le_bytes([record[8], record[9]]).max(u16::from_le_bytes([record[10], record[11]]))
    };
    records.map(said).max()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn zipped(members: &[(&str, &[u8])]) -> String {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        STANDARD.encode(zip.finish().unwrap().into_inner())
    }

    fn refused(base64: &str) -> String {
        unpack(base64).map(drop).unwrap_err()
    }

    #[test]
    fn a_zip_with_one_component_and_the_component_itself_are_taken() {
        for package in [zipped(&[("a/hello.wasm", b"\0asm....")]), STANDARD.encode(b"\0asm....")] {
            let (component, note) = unpack(&package).unwrap();
            assert_eq!(component, b"\0asm....");
            assert_eq!(note.component, Digest::of(&component));
        }
        // The check value of CRC-64/XZ.
        assert_eq!(CRC_64.checksum(b"123456789"), 0x995d_c9bb_df19_39fa);
    }

    #[test]
    fn what_is_no_such_zip_is_refused() {
        assert!(refused("?").contains("no base64"));
        assert!(refused(&STANDARD.encode(b"hello")).contains("no zip"));
        assert!(refused(&zipped(&[])).contains("no file"));
        assert!(refused(&zipped(&[("index.py", b"x")])).contains("no `*.wasm`"));
        assert!(refused(&zipped(&[("a.wasm", b"x"), ("b.wasm", b"x")])).contains("several files"));
        for name in ["../a.wasm", "/a.wasm", "a/../../b.wasm", "a/../b.wasm", "..\\a.wasm"] {
            assert!(refused(&zipped(&[(name, b"x")])).contains("leads out"), "{name}");
        }
        let many: Vec<String> = (0..101).map(|at| format!("{at}.wasm")).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        assert!(refused(&zipped(&many)).contains("101 members"));
    }

    #[test]
    fn a_count_of_members_in_another_record_is_not_believed() {
        let mut package = STANDARD.decode(zipped(&[("a.wasm", b"x")])).unwrap();
        let end = package.len() - END_BYTES;
        for at in [12, 16] {
            let before = package[end + at..end + at + 4].to_vec();
            package[end + at..end + at + 4].fill(0xff);
            assert!(refused(&STANDARD.encode(&package)).contains("65535 members"));
            package[end + at..end + at + 4].copy_from_slice(&before);
        }
        assert!(unpack(&STANDARD.encode(&package)).is_ok());
    }

    #[test]
    fn a_link_in_a_zip_is_refused() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("a.wasm", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        assert!(refused(&STANDARD.encode(zip.finish().unwrap().into_inner())).contains("is a link"));
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_the_largest_component() {
        let bomb = zipped(&[("a.wasm", &vec![0; COMPONENT_BYTES_MAX + 1])]);
        assert!(bomb.len() < 100_000);
        assert!(refused(&bomb).contains("unpacks to has more than"));
    }

    proptest::proptest! {
        #[test]
        fn a_zip_with_a_byte_that_was_changed_is_taken_or_refused(at in 0..120_usize, byte in 0..=255_u8) {
            let mut package = STANDARD.decode(zipped(&[("hello.wasm", b"\0asm....")])).unwrap();
            let at = at % package.len();
            package[at] = byte;
            let _ = unpack(&STANDARD.encode(package));
        }
    }
}
