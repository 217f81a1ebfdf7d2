//! Frames of HTTP/3 (RFC 9114 7) as they are written and read, and what the ends of streams mean.
use crate::harness::{
    exchange::{Ask, Body, Fields},
    qpack,
};
use bytes::{Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, RecvStream, WriteError};
use std::{fmt, io};

/// Codes of RFC 9114 8.1.
pub mod code {
    pub const NO_ERROR: u64 = 0x100;
    pub const GENERAL_PROTOCOL_ERROR: u64 = 0x101;
    pub const INTERNAL_ERROR: u64 = 0x102;
    pub const EXCESSIVE_LOAD: u64 = 0x107;
    pub const REQUEST_REJECTED: u64 = 0x10b;
    pub const REQUEST_CANCELLED: u64 = 0x10c;
    pub const MESSAGE_ERROR: u64 = 0x10e;
    pub const CONNECT_ERROR: u64 = 0x10f;
    pub const VERSION_FALLBACK: u64 = 0x110;
}

/// Frame types (RFC 9114 7.2, RFC 9218 7.2).
pub mod frame {
    pub const DATA: u64 = 0;
    pub const HEADERS: u64 = 1;
    pub const SETTINGS: u64 = 4;
    pub const GOAWAY: u64 = 7;
    pub const PRIORITY_UPDATE: u64 = 0xf0700;
}

/// Why a stream or its connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The application's code, if one came.
    pub code: Option<u64>,
    /// The end of the whole connection, not of one stream.
    pub connection: bool,
    /// The server takes no more requests: GOAWAY, or the end behind it.
    pub go_away: bool,
    pub(super) what: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {:#x?})", self.what, self.code)
    }
}

impl std::error::Error for Ended {}

pub(super) fn ended(kind: io::ErrorKind, code: Option<u64>, connection: bool, what: impl Into<String>) -> io::Error {
    let go_away = connection && code == Some(code::NO_ERROR);
    io::Error::new(kind, Ended { code, connection, go_away, what: what.into() })
}

/// What is behind an error of HTTP/3.
pub fn why(e: &io::Error) -> Option<&Ended> {
    e.get_ref()?.downcast_ref::<Ended>()
}

pub(super) fn lost(e: &ConnectionError) -> io::Error {
    let code = match e {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    };
    let kind = if code.is_some() { io::ErrorKind::ConnectionReset } else { io::ErrorKind::UnexpectedEof };
    ended(kind, code, true, e.to_string())
}

pub(super) fn unread(e: ReadError) -> io::Error {
    match e {
        ReadError::Reset(code) => ended(io::ErrorKind::ConnectionReset, Some(code.into_inner()), false, "RESET_STREAM"),
        ReadError::ConnectionLost(e) => lost(&e),
        other => io::Error::other(other),
    }
}

pub(super) fn unwritten(e: WriteError) -> io::Error {
    match e {
        WriteError::Stopped(code) => ended(io::ErrorKind::BrokenPipe, Some(code.into_inner()), false, "STOP_SENDING"),
        WriteError::ConnectionLost(e) => lost(&e),
        other => io::Error::new(io::ErrorKind::BrokenPipe, other),
    }
}

pub(super) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Appends an integer of RFC 9000 16.
pub fn varint(out: &mut Vec<u8>, n: u64) {
    match n {
        0..0x40 => out.push(n as u8),
        0x40..0x4000 => out.extend_from_slice(&(n as u16 | 1 << 14).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(n as u32 | 2 << 30).to_be_bytes()),
        _ => out.extend_from_slice(&(n | 3 << 62).to_be_bytes()),
    }
}

/// Takes an integer off the front, if all of it is there.
pub(super) fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let len = 1 << (input.first()? >> 6);
    let bytes = input.split_off(..len)?;
    let rest = bytes[1..].iter().fold(u64::from(bytes[0] & 0x3f), |n, b| n << 8 | u64::from(*b));
    Some(rest)
}

/// A frame with all of its payload.
pub fn frame_bytes(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 9);
    varint(&mut out, kind);
    varint(&mut out, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

/// A request's head as fields, pseudo-header fields first.
fn request_fields(ask: &Ask) -> Fields {
    let pseudo = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let mut fields = vec![pseudo(":method", &ask.method)];
    fields.extend(ask.protocol.map(|p| pseudo(":protocol", p)));
    if ask.method != "CONNECT" || ask.protocol.is_some() {
        fields.extend([pseudo(":scheme", "https"), pseudo(":path", &ask.target)]);
    }
    fields.push(pseudo(":authority", &ask.host));
    fields.extend(ask.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    let length = match &ask.body {
        Body::Whole(bytes) => Some(bytes.len()),
        Body::Later(length) => *length,
        Body::None => None,
    };
    fields.extend(length.map(|n| pseudo("content-length", &n.to_string())));
    fields
}

/// The HEADERS frame of a request.
pub fn request(ask: &Ask) -> Vec<u8> {
    headers(pairs(&request_fields(ask)))
}

/// A HEADERS frame.
pub fn headers<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    frame_bytes(frame::HEADERS, &qpack::encode(fields))
}

pub(super) fn pairs(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.iter().map(|(n, v)| (n.as_bytes(), v.as_slice()))
}

/// The receiving half of a stream.
pub(super) struct Incoming {
    pub(super) recv: RecvStream,
    pub(super) buf: BytesMut,
    pub(super) fin: bool,
    /// Of the DATA frame that is being read.
    pub(super) data_left: u64,
    /// Of the frame that is being skipped.
    skip: u64,
    /// Of the declared length.
    pub(super) length_left: Option<u64>,
    pub(super) trailers: Vec<(String, String)>,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(recv: RecvStream) -> Incoming {
        Incoming {
            recv,
            buf: BytesMut::new(),
            fin: false,
            data_left: 0,
            skip: 0,
            length_left: None,
            trailers: Vec::new(),
            ended: false,
        }
    }

    /// Reads once; `false` at the end.
    pub(super) async fn fill(&mut self) -> io::Result<bool> {
        match self.recv.read_chunk(64 << 10, true).await.map_err(unread)? {
            Some(chunk) => self.buf.extend_from_slice(&chunk.bytes),
            None => self.fin = true,
        }
        Ok(!self.fin)
    }

    pub(super) async fn stream_type(&mut self) -> io::Result<Option<u64>> {
        loop {
            let mut rest = &self.buf[..];
            if let Some(n) = take_varint(&mut rest) {
                let taken = self.buf.len() - rest.len();
                let _ = self.buf.split_to(taken);
                return Ok(Some(n));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Type and length of the frame that begins the buffer, and how long they are.
    fn frame_head(&self) -> Option<(u64, u64, usize)> {
        let mut rest = &self.buf[..];
        let kind = take_varint(&mut rest)?;
        let len = take_varint(&mut rest)?;
        Some((kind, len, self.buf.len() - rest.len()))
    }

    /// Takes the frame that begins the buffer, if all of it is there.
    fn whole_frame(&mut self) -> Option<(u64, BytesMut)> {
        let (kind, len, head) = self.frame_head()?;
        let end = head.checked_add(usize::try_from(len).ok()?).filter(|end| *end <= self.buf.len())?;
        let mut frame = self.buf.split_to(end);
        let _ = frame.split_to(head);
        Some((kind, frame))
    }

    /// The next frame of a control stream.
    pub(super) async fn frame(&mut self) -> io::Result<Option<(u64, BytesMut)>> {
        loop {
            if let Some(frame) = self.whole_frame() {
                return Ok(Some(frame));
            }
            if self.fin || !self.fill().await? {
                return if self.buf.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// What comes next on a request stream. Nothing is lost when the wait is given up.
    pub(super) async fn next(&mut self) -> io::Result<Got> {
        loop {
            let skipped = self.skip.min(self.buf.len() as u64);
            let _ = self.buf.split_to(skipped as usize);
            self.skip -= skipped;
            if self.data_left > 0 && !self.buf.is_empty() {
                let now = self.data_left.min(self.buf.len() as u64);
                self.data_left -= now;
                return Ok(Got::Data(self.buf.split_to(now as usize).freeze()));
            }
            let between = self.data_left == 0 && self.skip == 0;
            match self.frame_head().filter(|_| between) {
                Some((frame::DATA, len, head)) => {
                    let _ = self.buf.split_to(head);
                    self.data_left = len;
                    continue;
                }
                Some((frame::HEADERS, ..)) => {
                    if let Some((_, section)) = self.whole_frame() {
                        return Ok(Got::Headers(qpack::decode(&section)?));
                    }
                }
                Some((2..=0xd, ..)) => return Err(invalid("a frame that no request stream has")),
                Some((_, len, head)) => {
                    let _ = self.buf.split_to(head);
                    self.skip = len;
                    continue;
                }
                None => {}
            }
            if self.fin || !self.fill().await? {
                let cut = !self.buf.is_empty() || !between;
                return if cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Got::End) };
            }
        }
    }

    /// The next piece of the body, or its end.
    pub(super) async fn body(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        match self.next().await? {
            Got::Data(piece) => {
                if let Some(left) = &mut self.length_left {
                    *left = left.checked_sub(piece.len() as u64).ok_or_else(|| invalid("more than was declared"))?;
                }
                return Ok(Some(piece));
            }
            Got::Headers(fields) => {
                if fields.iter().any(|(name, _)| name.starts_with(b":")) {
                    return Err(invalid("a pseudo-header field in trailers"));
                }
                self.trailers = plain(fields)?;
                if !matches!(self.next().await?, Got::End) {
                    return Err(invalid("something behind the trailers"));
                }
            }
            Got::End => {}
        }
        self.ended = true;
        match self.length_left {
            Some(1..) => Err(invalid("less than was declared")),
            _ => Ok(None),
        }
    }
}

pub(super) enum Got {
    Headers(Vec<(Vec<u8>, Vec<u8>)>),
    Data(Bytes),
    End,
}

/// Fields as messages of the harness have them.
pub(super) fn plain(fields: Vec<(Vec<u8>, Vec<u8>)>) -> io::Result<Vec<(String, String)>> {
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    let fields: Vec<_> = fields.into_iter().map(|(n, v)| (text(n), text(v))).collect();
    let bad = |n: &str| n.bytes().any(|b| b.is_ascii_uppercase()) || matches!(n, "connection" | "transfer-encoding");
    match fields.iter().find(|(name, _)| bad(name)) {
        Some((name, _)) => Err(invalid(format!("a field {name:?} in HTTP/3"))),
        None => Ok(fields),
    }
}
