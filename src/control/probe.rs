//! One active check: a connection, and what is asked on it. A connection of its own each time: that connecting works is a
//! part of what is asked.
use crate::{
    observe::stats::CheckResult,
    tls::UpstreamTls,
    upstream::{EndpointAddr, EndpointRule, Protocol, health::Probe},
};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, TE, USER_AGENT},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

/// Largest answer of `grpc`: a few bytes are expected.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest text that is told of a failure, characters.
const TEXT_CHARS_MAX: usize = 200;
/// As `User-Agent` has it.
const AGENT: &str = concat!("edge-health/", env!("CARGO_PKG_VERSION"));
/// The method of the gRPC health checking protocol.
const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
/// SERVING, in the answer of that method.
const GRPC_SERVING: u64 = 1;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    addr: EndpointAddr,
    authority: Arc<str>,
    tls: Option<Arc<UpstreamTls>>,
    protocol: Protocol,
}

impl Target {
    /// The endpoint of a pool.
    pub(super) fn new(endpoint: &EndpointRule) -> Target {
        Target {
            addr: endpoint.addr.clone(),
            authority: endpoint.authority.clone(),
            tls: endpoint.tls.clone(),
            protocol: endpoint.protocol,
        }
    }
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// For the metric.
    pub result: CheckResult,
    /// For people: `200`, `connection refused`.
    pub text: String,
}

impl Outcome {
    pub(super) fn new(result: CheckResult, text: String) -> Outcome {
        // Some of it may come from the endpoint.
        let text = text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
        Outcome { result, text }
    }

    /// With the time that it took.
    pub(super) fn took(mut self, time: Duration) -> Outcome {
        self.text += &format!(" in {} ms", time.as_millis());
        self
    }
}

type Asked<T> = Result<T, Outcome>;

/// Both halves of a connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Asks. The caller bounds the time.
pub(super) async fn ask(target: &Target, probe: &Probe) -> Outcome {
    match try_ask(target, probe).await {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

async fn try_ask(target: &Target, probe: &Probe) -> Asked<Outcome> {
    let grpc = matches!(probe, Probe::Grpc { .. });
    let (stream, h2) = connect(target, grpc).await?;
    match probe {
        Probe::Tcp => Ok(Outcome::new(CheckResult::Ok, "connected".to_owned())),
        Probe::Http { method, path, host, statuses } => {
            let authority = host.as_ref().unwrap_or(&target.authority);
            let request = request(target, authority, method, path, h2, Bytes::new())?;
            let status = exchange(stream, h2, request, async |response| Ok(response.status().as_u16())).await?;
            let well = statuses.iter().any(|range| range.contains(&status));
            Ok(Outcome::new(if well { CheckResult::Ok } else { CheckResult::Status }, status.to_string()))
        }
        Probe::Grpc { service, host } => {
            let authority = host.as_ref().unwrap_or(&target.authority);
            let mut request = request(target, authority, "POST", GRPC_PATH, true, grpc_question(service))?;
            request.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/grpc"));
            request.headers_mut().insert(TE, hyper::header::HeaderValue::from_static("trailers"));
            exchange(stream, true, request, grpc_answer).await
        }
    }
}

/// Connects, with TLS where the endpoint wants it; answers whether HTTP/2 is spoken.
async fn connect(target: &Target, h2_only: bool) -> Asked<(Box<dyn Stream>, bool)> {
    let refused = |e: std::io::Error| Outcome::new(CheckResult::Connect, e.to_string());
    let socket: Box<dyn Stream> = match &target.addr {
        EndpointAddr::Tcp(addr) => Box::new(TcpStream::connect(addr).await.map_err(refused)?),
        EndpointAddr::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(refused)?),
        EndpointAddr::Abstract(name) => {
            let name = [b"\0", &**name].concat();
            let name = PathBuf::from(std::ffi::OsStr::from_bytes(&name));
            Box::new(UnixStream::connect(name).await.map_err(refused)?)
        }
    };
    let Some(tls) = &target.tls else { return Ok((socket, h2_only || target.protocol == Protocol::Http2)) };
    let mut config = tls.client.clone();
    if h2_only {
        Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec()];
    }
    let failed = |e: std::io::Error| Outcome::new(CheckResult::Tls, format!("TLS: {e}"));
    let secured = TlsConnector::from(config).connect(tls.name.clone(), socket).await.map_err(failed)?;
    let h2 = secured.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(secured), h2 || h2_only))
}

fn request(
    target: &Target,
    authority: &str,
    method: &str,
    path: &str,
    h2: bool,
    body: Bytes,
) -> Asked<Request<Full<Bytes>>> {
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    let request = Request::builder().method(method).header(USER_AGENT, AGENT);
    let request = match h2 {
        true => request.uri(format!("{scheme}://{authority}{path}")),
        false => request.uri(path).header(HOST, authority).header(CONNECTION, "close"),
    };
    request.body(Full::new(body)).map_err(|e| broken(&e))
}

fn broken(e: &dyn std::error::Error) -> Outcome {
    let cause = e.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Outcome::new(CheckResult::Protocol, format!("{e}{cause}"))
}

/// Sends `request` and reads as much of the answer as `read` wants, on a connection of its own.
async fn exchange<T>(
    stream: Box<dyn Stream>,
    h2: bool,
    request: Request<Full<Bytes>>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Asked<T>,
) -> Asked<T> {
    let io = TokioIo::new(stream);
    if h2 {
        let made = http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = made.map_err(|e| broken(&e))?;
        let talk = async { read(sender.send_request(request).await.map_err(|e| broken(&e))?).await };
        return drive(talk, connection).await;
    }
    let (mut sender, connection) = http1::handshake(io).await.map_err(|e| broken(&e))?;
    let talk = async { read(sender.send_request(request).await.map_err(|e| broken(&e))?).await };
    drive(talk, connection).await
}

async fn drive<T>(
    talk: impl Future<Output = Asked<T>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Asked<T> {
    tokio::pin!(talk, connection);
    tokio::select! {
        biased;
        done = &mut talk => done,
        closed = &mut connection => match closed {
            // The connection is done, but what it read may not have been looked at yet.
            Ok(()) => talk.await,
            Err(e) => Err(broken(&e)),
        },
    }
}

/// `HealthCheckRequest { service }` in gRPC's framing: a flag, four bytes of length, the message.
fn grpc_question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a); // field 1, a string
        let mut left = service.len();
        while left >= 0x80 {
            message.put_u8((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        message.put_u8(left as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

async fn grpc_answer(response: Response<Incoming>) -> Asked<Outcome> {
    let (head, body) = response.into_parts();
    if head.status.as_u16() != 200 {
        return Ok(Outcome::new(CheckResult::Status, head.status.as_u16().to_string()));
    }
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|e| Outcome::new(CheckResult::Protocol, e.to_string()))?;
    let status = |fields: &HeaderMap| fields.get("grpc-status").and_then(|v| v.to_str().ok()?.parse::<u32>().ok());
    let code = body.trailers().and_then(status).or_else(|| status(&head.headers));
    let answer = body.to_bytes();
    match (code, answer.get(5..).and_then(serving_status)) {
        (Some(0), Some(GRPC_SERVING)) => Ok(Outcome::new(CheckResult::Ok, "SERVING".to_owned())),
        (Some(0), Some(other)) => {
            let name = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"].get(other as usize);
            Ok(Outcome::new(CheckResult::Status, (*name.unwrap_or(&"an unknown status")).to_owned()))
        }
        (Some(0), None) => Ok(Outcome::new(CheckResult::Protocol, "the answer is no HealthCheckResponse".to_owned())),
        (Some(code), _) => Ok(Outcome::new(CheckResult::Status, format!("grpc-status {code}"))),
        (None, _) => Ok(Outcome::new(CheckResult::Protocol, "no grpc-status".to_owned())),
    }
}

/// The field `status` (1, an enumeration) of a `HealthCheckResponse`; absent is 0. `None`: not well-formed.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let (field, kind) = varint(&mut message).map(|tag| (tag >> 3, tag & 7))?;
        match kind {
            0 if field == 1 => status = varint(&mut message)?,
            0 => _ = varint(&mut message)?,
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
