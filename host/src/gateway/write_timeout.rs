//! A stream whose reader may not stand still: a write that makes no progress for a while ends the connection.
//!
//! Its end is unhurried: what a client still sends is read for a moment, since a socket that is closed with unread bytes in it takes the
//! last answer with it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

pub struct WriteTimeout<S> {
    stream: S,
    /// How long a client may leave what is sent to it unread.
    limit: Duration,
    /// Runs while a write waits, and then while the end waits.
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
    /// Bytes that are still read and thrown away, once nothing is sent any more.
    ending: Option<usize>,
}

const END_TIMEOUT: Duration = Duration::from_secs(1);
const END_BYTES_MAX: usize = 256 << 10;

impl<S> WriteTimeout<S> {
    pub fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, timer: Box::pin(sleep(limit)), is_waiting: false, ending: None }
    }

    fn hold<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_waiting = false;
            return written;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read what is sent to it")))
    }
}

impl<S: AsyncRead + Unpin> WriteTimeout<S> {
    /// Reads until the client has ended too, or long enough.
    fn poll_end(&mut self, context: &mut Context<'_>, mut left: usize) -> Poll<io::Result<()>> {
        let mut thrown_away = [0; 4_096];
        loop {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            match read {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && buffer.filled().len() < left => left -= buffer.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    self.ending = Some(left);
                    return self.timer.as_mut().poll(context).map(Ok);
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.hold(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.hold(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(left) = self.ending {
            return self.poll_end(context, left);
        }
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        ready!(self.hold(context, ended))?;
        self.timer.as_mut().reset(Instant::now() + END_TIMEOUT);
        self.poll_end(context, END_BYTES_MAX)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.hold(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut stream = WriteTimeout::new(ours, Duration::from_millis(20));
        stream.write_all(&[0; 16]).await.unwrap();
        assert_eq!(stream.write_all(&[0; 16]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_a_client_still_sends_at_the_end_is_read() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut stream = WriteTimeout::new(ours, Duration::from_secs(5));
        let ending = tokio::spawn(async move { stream.shutdown().await });
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0, "it says that nothing more comes");
        theirs.write_all(&[0; 1_000]).await.unwrap();
        drop(theirs);
        ending.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn whoever_sends_for_ever_is_not_waited_for() {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        let mut stream = WriteTimeout::new(ours, Duration::from_secs(5));
        let flood = tokio::spawn(async move { while theirs.write_all(&[0; 4_096]).await.is_ok() {} });
        stream.shutdown().await.unwrap();
        drop(stream);
        flood.await.unwrap();
    }
}
