//! An HTTP client of the API: over the local administrator's socket, or over TLS to one pinned certificate.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderName};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, OtherError};
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::TargetArgs;
use super::signing::KeyPair;
use crate::gateway;
use crate::tls;

/// Which gateway, and as whom.
#[derive(Clone)]
pub struct Client {
    via: Via,
    proof: Proof,
}

/// By what the gateway knows who asks.
#[derive(Clone)]
enum Proof {
    /// The socket says enough, or nothing is said.
    Nothing,
    /// The value of `Authorization`.
    Basic(Zeroizing<String>),
    Key(KeyPair),
}

#[derive(Clone)]
enum Via {
    Local(PathBuf),
    Tls { authority: String, config: Arc<rustls::ClientConfig> },
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// One open connection. Several requests may follow one another on it.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    proof: Proof,
}

impl Client {
    /// The gateway whose data directory this is.
    pub fn local(data: &Path) -> Self {
        Self { via: Via::Local(data.to_owned()), proof: Proof::Nothing }
    }

    /// A gateway by its `host:port`, with the fingerprint of its certificate.
    pub fn remote(authority: &str, fingerprint: &str) -> anyhow::Result<Self> {
        Ok(Self { via: Via::Tls { authority: authority.to_owned(), config: tls::client_config(fingerprint)? }, proof: Proof::Nothing })
    }

    #[must_use]
    pub fn with_password(self, user: &str, password: &str) -> Self {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Self { proof: Proof::Basic(format!("Basic {pair}").into()), ..self }
    }

    /// Signs every request.
    #[must_use]
    pub fn with_access_key(self, id: &str, secret: &str) -> Self {
        Self { proof: Proof::Key(KeyPair { id: id.to_owned(), secret: secret.to_owned().into() }), ..self }
    }

    pub(super) fn of(target: &TargetArgs) -> anyhow::Result<Self> {
        let (Some(url), Some(fingerprint)) = (&target.gateway, &target.fingerprint) else { return Ok(Self::local(&target.data)) };
        let Some(authority) = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/')) else {
            bail!("--gateway is `{url}`; expected https://HOST:PORT");
        };
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:9999") };
        let client = Self::remote(&authority, fingerprint)?;
        if let Some(key) = target.access_key.pair()? {
            return Ok(Self { proof: Proof::Key(key), ..client });
        }
        let password = target.password.as_deref().context(
            "nothing says who you are on the other gateway: put the password into LEDGE_PASSWORD, or an access key into LEDGE_ACCESS_KEY_ID and LEDGE_ACCESS_KEY_SECRET",
        )?;
        Ok(client.with_password(&target.user, password))
    }

    /// Where a gateway is that is reached over TLS by its address, and what accepts its certificate.
    pub fn pinned(&self) -> Option<(SocketAddr, Arc<rustls::ClientConfig>)> {
        match &self.via {
            Via::Local(_) => None,
            Via::Tls { authority, config } => Some((authority.parse().ok()?, config.clone())),
        }
    }

    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let (sender, authority) = match &self.via {
            Via::Local(data) => (start(local_stream(data).await?).await?, "localhost".to_owned()),
            Via::Tls { authority, config } => (start(tls_stream(authority, config).await?).await?, authority.clone()),
        };
        Ok(Connection { sender, authority, proof: self.proof.clone() })
    }

    /// One request on a connection of its own.
    pub async fn send(&self, method: Method, path: &str, headers: &[(HeaderName, &str)], body: Bytes) -> anyhow::Result<Answer> {
        self.connect().await?.send(method, path, headers, body).await
    }

    /// `GET`, where anything but JSON is an error.
    pub async fn get_json(&self, path: &str) -> anyhow::Result<Json> {
        self.send(Method::GET, path, &[], Bytes::new()).await?.json()
    }
}

impl Connection {
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(HeaderName, &str)], body: Bytes) -> anyhow::Result<Answer> {
        let response = self.start(method, path, headers, body).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("reading the answer")?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends a request and gives the answer with its body still to be read.
    pub async fn start(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        if let Proof::Basic(authorization) = &self.proof {
            request = request.header(AUTHORIZATION, authorization.as_str());
        }
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut request = request.body(Full::new(body.clone()))?;
        if let Proof::Key(key) = &self.proof {
            key.sign(&mut request, &body)?;
        }
        self.sender.ready().await.context("the gateway closed the connection")?;
        self.sender.send_request(request).await.context("asking the gateway")
    }
}

impl Answer {
    /// The body of a success. An error becomes its message.
    pub fn ok(self) -> anyhow::Result<Bytes> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let said = serde_json::from_slice::<Json>(&self.body).ok();
        match said
            .as_ref()
            .and_then(|body| ["message", "Message", "ErrorMessage"].iter().find_map(|name| body.get(name)))
            .and_then(Json::as_str)
        {
            _ if self.status == StatusCode::UNAUTHORIZED => bail!("the gateway does not accept this user name and password"),
            // What the status is called says nothing that the rest does not.
            Some(message) => {
                let rest = message.split_once(": ").filter(|(first, _)| self.status.canonical_reason() == Some(*first));
                bail!("{}", rest.map_or(message, |(_, rest)| rest))
            }
            None => bail!("the gateway answered {}", self.status),
        }
    }

    pub fn json(self) -> anyhow::Result<Json> {
        serde_json::from_slice(&self.ok()?).context("the gateway's answer is not JSON")
    }
}

async fn local_stream(data: &Path) -> anyhow::Result<UnixStream> {
    let nobody =
        || format!("no gateway runs with the data directory {}: start one with `ledge up`, or name another with --data", data.display());
    // The open directory must outlive the connect: the path leads through it.
    let (_dir, path) = gateway::socket_path(data).with_context(nobody)?;
    UnixStream::connect(path).await.with_context(nobody)
}

async fn tls_stream(authority: &str, config: &Arc<rustls::ClientConfig>) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(authority).await.with_context(|| format!("connecting to {authority}"))?;
    stream.set_nodelay(true)?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("`{host}` is no host name"))?;
    let connected = TlsConnector::from(config.clone()).connect(name, stream).await;
    connected.map_err(in_words).with_context(|| format!("TLS with {authority}"))
}

/// What rustls found wrong in its own words is one of Rust's, where it is ours to say.
fn in_words(error: std::io::Error) -> anyhow::Error {
    let found = error.get_ref().and_then(|error| error.downcast_ref());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(ours)))) = found
        && let Some(wrong) = ours.downcast_ref::<tls::WrongFingerprint>()
    {
        return anyhow::anyhow!("{wrong}");
    }
    error.into()
}

async fn start<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("starting HTTP")?;
    // It ends when the sender is dropped; an error shows at the next request.
    tokio::spawn(connection);
    Ok(sender)
}
