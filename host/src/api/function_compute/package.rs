//! The package that a function's code goes out in: a zip with the component in it as it is, which is read from the disk while it is sent. What
//! came in is not kept, so this is not it; it has the same component.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use axum::body::Body;
use bytes::Bytes;
use crc::{CRC_32_ISO_HDLC, Crc};
use futures_util::{StreamExt, stream};
use tokio::io::AsyncReadExt;

use super::code::CRC_64;
use crate::deploy::Components;
use crate::set::Digest;

const CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const PIECE_BYTES: usize = 64 << 10;

/// The version of the format that a reader needs, the flag for a name in UTF-8, and the first day that the format knows.
const FORMAT: [u8; 2] = 20_u16.to_le_bytes();
const UTF_8: [u8; 2] = 0x0800_u16.to_le_bytes();
const NO_TIME: [u8; 4] = [0, 0, 0x21, 0];
const STORED: [u8; 2] = [0, 0];

pub struct Package {
    /// Before the component, and after it.
    head: Vec<u8>,
    tail: Vec<u8>,
    component: PathBuf,
    component_bytes: u32,
}

impl Package {
    /// Reads the component through. Takes a while.
    pub fn of(components: &Components, name: &str, digest: &Digest) -> anyhow::Result<Self> {
        let (mut sum, mut bytes) = (CRC_32.digest(), 0_u32);
        let component = components.look_through(digest, |piece| {
            sum.update(piece);
            bytes = bytes.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        })?;
        let name = format!("{name}.wasm");
        // What a member's two headers have in common.
        let mut member = [&FORMAT[..], &UTF_8, &STORED, &NO_TIME, &sum.finalize().to_le_bytes()].concat();
        member.extend([bytes.to_le_bytes(), bytes.to_le_bytes()].concat());
        member.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
        let head = [&b"PK\x03\x04"[..], &member, name.as_bytes()].concat();
        let listed = [&b"PK\x01\x02"[..], &FORMAT, &member, &[0; 14], name.as_bytes()].concat();
        let (list_bytes, list_at) = (listed.len() as u32, bytes + head.len() as u32);
        let counts = [0_u16, 0, 1, 1].map(u16::to_le_bytes).concat();
        let end = [&b"PK\x05\x06"[..], &counts, &list_bytes.to_le_bytes(), &list_at.to_le_bytes(), &[0; 2]].concat();
        Ok(Self { head, tail: [listed, end].concat(), component, component_bytes: bytes })
    }

    pub fn bytes(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64 + u64::from(self.component_bytes)
    }

    /// CRC-64, in decimal, as of packages that come in.
    pub fn checksum(&self) -> anyhow::Result<String> {
        let mut sum = CRC_64.digest();
        sum.update(&self.head);
        let reading = || format!("reading {}", self.component.display());
        let (mut file, mut piece) = (File::open(&self.component).with_context(reading)?, vec![0; PIECE_BYTES]);
        loop {
            match file.read(&mut piece).with_context(reading)? {
                0 => break,
                bytes => sum.update(&piece[..bytes]),
            }
        }
        sum.update(&self.tail);
        Ok(sum.finalize().to_string())
    }

    /// Piece by piece: a client that is slow to read holds no more of it in memory.
    pub async fn body(self) -> anyhow::Result<Body> {
        let file = tokio::fs::File::open(&self.component).await.with_context(|| format!("reading {}", self.component.display()))?;
        let pieces = stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE_BYTES];
            let bytes = file.read(&mut piece).await?;
            piece.truncate(bytes);
            Ok::<_, std::io::Error>((bytes > 0).then(|| (Bytes::from(piece), file)))
        });
        let [head, tail] = [self.head, self.tail].map(|part| stream::iter([Ok(Bytes::from(part))]));
        Ok(Body::from_stream(head.chain(pieces).chain(tail)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use http_body_util::BodyExt;
    use zip::ZipArchive;

    use super::*;

    #[tokio::test]
    async fn it_is_a_zip_with_the_component_and_has_the_size_and_the_checksum_that_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let components = Components::open(dir.path()).unwrap();
        for component in [b"\0asm".to_vec(), b"\0asm....".repeat(20_000)] {
            let digest = Digest::of(&component);
            components.put(&digest, &component).unwrap();
            let package = Package::of(&components, "hello", &digest).unwrap();
            let (bytes, checksum) = (package.bytes(), package.checksum().unwrap());
            let whole = package.body().await.unwrap().collect().await.unwrap().to_bytes();
            assert_eq!((whole.len() as u64, CRC_64.checksum(&whole).to_string()), (bytes, checksum));
            let mut archive = ZipArchive::new(Cursor::new(whole)).unwrap();
            assert_eq!(archive.len(), 1);
            let mut member = archive.by_name("hello.wasm").unwrap();
            let mut unpacked = Vec::new();
            member.read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, component);
        }
    }
}
