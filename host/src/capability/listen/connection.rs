//! One connection of a driver's listener. Reading and writing go on at the same time, and `close` ends both.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, OwnedSemaphorePermit, watch};

use crate::bindings::types::Fault;
use crate::thing::fault;

/// A socket, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Clones are of the same connection, which is closed once the last is gone.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    peer: SocketAddr,
    reading: Mutex<Option<ReadHalf<Box<dyn Stream>>>>,
    writing: Mutex<Option<WriteHalf<Box<dyn Stream>>>>,
    is_closed: watch::Sender<bool>,
    /// Free for another once the socket is gone, whatever the guest still holds.
    place: parking_lot::Mutex<Option<OwnedSemaphorePermit>>,
}

/// For what is sent to a peer and not read by it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// For the goodbye of TLS.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

impl Connection {
    pub fn new(stream: Box<dyn Stream>, peer: SocketAddr, place: OwnedSemaphorePermit) -> Self {
        let (reading, writing) = tokio::io::split(stream);
        Self(Arc::new(Inner {
            peer,
            reading: Mutex::new(Some(reading)),
            writing: Mutex::new(Some(writing)),
            is_closed: watch::Sender::new(false),
            place: parking_lot::Mutex::new(Some(place)),
        }))
    }

    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Lets go of the socket; where a call has it, that call ends and does.
    pub fn close(&self) {
        self.0.is_closed.send_replace(true);
        let (reading, writing) = (self.0.reading.try_lock(), self.0.writing.try_lock());
        let is_free = reading.is_ok() && writing.is_ok();
        drop((reading.map(|mut half| half.take()), writing.map(|mut half| half.take())));
        if is_free {
            self.0.place.lock().take();
        }
    }

    /// What came, at most `bytes_max` bytes; nothing if the peer or this side has closed.
    pub async fn read(&self, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        if bytes_max == 0 {
            return Err(Fault { code: fault::INVALID_PARAM, message: "reading at most 0 bytes would look like the end".to_owned() });
        }
        let read = async {
            let mut reading = self.0.reading.lock().await;
            let Some(reading) = reading.as_mut() else { return Ok::<_, io::Error>(Vec::new()) };
            // Not before its turn has come: many may wait for it.
            let mut bytes = vec![0; bytes_max];
            let length = reading.read(&mut bytes).await?;
            bytes.truncate(length);
            Ok(bytes)
        };
        match self.unless_closed(read).await.unwrap_or(Ok(Vec::new())) {
            Ok(bytes) => Ok(bytes),
            // Without the goodbye of TLS: many devices end so.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Vec::new()),
            Err(error) => Err(self.broke(&error)),
        }
    }

    pub async fn write(&self, bytes: &[u8]) -> Result<(), Fault> {
        let write = async {
            let mut writing = self.0.writing.lock().await;
            let writing = writing.as_mut().ok_or(ErrorKind::NotConnected)?;
            writing.write_all(bytes).await?;
            writing.flush().await
        };
        match tokio::time::timeout(WRITE_TIMEOUT, self.unless_closed(write)).await {
            Ok(written) => written.unwrap_or(Err(ErrorKind::NotConnected.into())).map_err(|error| self.broke(&error)),
            Err(_) => {
                // Somewhere in the middle of the bytes: nothing can follow.
                self.close();
                let message = format!("{} took nothing for {} s; the connection is closed", self.0.peer, WRITE_TIMEOUT.as_secs());
                Err(Fault { code: fault::TIMEOUT, message })
            }
        }
    }

    pub async fn finish(&self) -> Result<(), Fault> {
        let finish = async {
            match &mut *self.0.writing.lock().await {
                Some(writing) => writing.shutdown().await,
                None => Ok(()),
            }
        };
        let finished = tokio::time::timeout(FINISH_TIMEOUT, self.unless_closed(finish)).await;
        finished.ok().flatten().unwrap_or(Ok(())).map_err(|error| self.broke(&error))
    }

    /// None if the connection was closed on this side meanwhile.
    async fn unless_closed<R>(&self, work: impl Future<Output = R>) -> Option<R> {
        let mut is_closed = self.0.is_closed.subscribe();
        let done = tokio::select! {
            biased;
            _ = is_closed.wait_for(|is_closed| *is_closed) => None,
            done = work => Some(done),
        };
        if done.is_none() {
            // What this call held is free only now.
            self.close();
        }
        done
    }

    fn broke(&self, error: &io::Error) -> Fault {
        Fault { code: fault::SERVICE_UNREACHABLE, message: format!("the connection with {} broke: {error}", self.0.peer) }
    }
}
