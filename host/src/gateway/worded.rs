//! What hyper says by itself, in our words: its answer to a head that it cannot read.
//!
//! That comes before anything of ours has seen a request, it has no body, and hyper lets nobody change it. So it is recognised where it goes out.
//! It says nothing but its length, the date and that the connection ends, and each answer of ours says more (`api::guard::marked`): what functions
//! answer may look like it, and does not pass here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::api;

pub struct Worded<S> {
    stream: S,
    /// What goes out in the place of what is being written, and how much of it has.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Worded<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, instead: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, instead } = &mut *self;
        if instead.is_none() {
            *instead = in_our_words(bytes).map(|words| (words, 0));
        }
        let Some((words, sent)) = instead else { return Pin::new(stream).poll_write(context, bytes) };
        while *sent < words.len() {
            match ready!(Pin::new(&mut *stream).poll_write(context, &words[*sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *sent += more,
            }
        }
        *instead = None;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match parts {
            [only] => self.poll_write(context, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// `None`: this is none of hyper's own.
fn in_our_words(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() > OWN_BYTES_MAX || !bytes.starts_with(b"HTTP/1.") {
        return None;
    }
    let mut lines = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?.split("\r\n");
    let first = lines.next()?;
    let status: StatusCode = first.split(' ').nth(1)?.parse().ok()?;
    let mut date = None;
    for line in lines {
        match line.split_once(": ")? {
            ("date", said) => date = Some(said),
            ("connection", "close") | ("content-length", "0") => {}
            _ => return None,
        }
    }
    let (date, (head, body)) = (date?, api::unreadable(status)?);
    Some(format!("{first}\r\n{head}connection: close\r\ncontent-length: {}\r\ndate: {date}\r\n\r\n{body}", body.len()).into_bytes())
}

/// Longer than each of them.
const OWN_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const DATE: &str = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

    #[tokio::test]
    async fn it_goes_out_whole_over_a_narrow_stream_and_what_follows_is_as_it_was() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let mut stream = Worded::new(ours);
        let own = format!("HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n{DATE}\r\n");
        let writing = tokio::spawn(async move {
            stream.write_all(own.as_bytes()).await.unwrap();
            stream.write_all(b"more").await.unwrap();
        });
        let mut said = String::new();
        theirs.read_to_string(&mut said).await.unwrap();
        writing.await.unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 431 ") && head.contains("nosniff") && head.contains("no-store") && head.contains(DATE.trim()),
            "{head}"
        );
        let body = body.strip_suffix("more").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{said}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], 431);
    }

    #[test]
    fn what_says_more_or_less_is_somebody_elses() {
        for other in [
            format!("HTTP/1.1 400 Bad Request\r\ncache-control: no-store\r\n{DATE}\r\n"),
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\n{DATE}\r\n"),
            format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{DATE}\r\n"),
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n{DATE}\r\nbody"),
            "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
            "HTTP/1.1".to_owned(),
        ] {
            assert!(in_our_words(other.as_bytes()).is_none(), "{other}");
        }
    }
}
