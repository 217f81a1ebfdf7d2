//! Request streams: both halves behind a blocking face, and one exchange over them.
use super::{
    Link,
    frames::{Got, Incoming, code, frame, frame_bytes, headers, invalid, pairs, plain, unwritten},
};
use crate::harness::{Message, PATIENCE, exchange::Fields};
use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream, VarInt};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

/// The sending half of a stream.
struct Outgoing {
    send: SendStream,
    /// Of a frame whose head has been sent, when the wait for room was given up.
    rest: Bytes,
    done: bool,
}

/// Both halves; what is not at its end when nobody holds it any more is cancelled.
struct Halves {
    link: Arc<Link>,
    out: Mutex<Outgoing>,
    body: Mutex<Incoming>,
    patience: Mutex<Duration>,
}

impl Drop for Halves {
    fn drop(&mut self) {
        self.cancel(code::REQUEST_CANCELLED);
    }
}

impl Halves {
    fn cancel(&self, code: u64) {
        let code = VarInt::from_u64(code).unwrap_or_default();
        // Whoever holds a half is at it right now, and will find it gone.
        if let Ok(mut out) = self.out.lock()
            && !out.done
        {
            out.done = true;
            let _ = out.send.reset(code);
        }
        if let Ok(mut body) = self.body.lock()
            && !body.fin
        {
            let _ = body.recv.stop(code);
        }
    }
}

/// Both directions of a stream. Clones are handles on the same stream; one may read while another writes.
#[derive(Clone)]
pub struct Duplex(Arc<Halves>);

impl Duplex {
    pub(super) fn new(link: &Arc<Link>, send: SendStream, recv: RecvStream) -> Duplex {
        Duplex(Arc::new(Halves {
            link: Arc::clone(link),
            out: Mutex::new(Outgoing { send, rest: Bytes::new(), done: false }),
            body: Mutex::new(Incoming::new(recv)),
            patience: Mutex::new(PATIENCE),
        }))
    }

    /// A stream whose request is complete, and whose answer may be declined already.
    pub(super) fn asked(link: &Arc<Link>, send: SendStream, recv: RecvStream, stopped: bool) -> Duplex {
        let duplex = Duplex::new(link, send, recv);
        duplex.0.out.lock().expect("streams do not panic").done = true;
        duplex.0.body.lock().expect("streams do not panic").fin = stopped;
        duplex
    }

    /// Gives up after so long.
    pub fn patience(&self, d: Duration) {
        *self.0.patience.lock().expect("streams do not panic") = d;
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let patience = *self.0.patience.lock().expect("streams do not panic");
        self.0.link.engine.wait_for(patience, future)
    }

    /// The stream's number.
    pub fn id(&self) -> u64 {
        VarInt::from(self.0.out.lock().expect("streams do not panic").send.id()).into_inner()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// `TimedOut`, or why the stream is no more.
    pub fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(Bytes::copy_from_slice(bytes))
    }

    fn write(&self, bytes: Bytes) -> io::Result<()> {
        let mut out = self.0.out.lock().expect("streams do not panic");
        let Outgoing { send, rest, .. } = &mut *out;
        for mut left in [std::mem::take(rest), bytes] {
            while !left.is_empty() {
                match self.wait(send.write(&left)) {
                    Ok(written) => drop(left.split_to(written.map_err(unwritten)?)),
                    Err(e) => {
                        *rest = left;
                        return Err(e);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends all of it in a DATA frame as the windows allow.
    ///
    /// # Errors
    /// `TimedOut`, or why the stream is no more.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() { Ok(()) } else { self.write(frame_bytes(frame::DATA, bytes).into()) }
    }

    /// Ends this direction.
    ///
    /// # Errors
    /// Why the stream is no more.
    pub fn end(&self) -> io::Result<()> {
        self.write(Bytes::new())?;
        let mut out = self.0.out.lock().expect("streams do not panic");
        out.done = true;
        out.send.finish().map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Ends this direction with trailers.
    ///
    /// # Errors
    /// Why the stream is no more.
    pub fn end_with(&self, trailers: &Fields) -> io::Result<()> {
        let lower: Fields = trailers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone())).collect();
        self.raw(&headers(pairs(&lower)))?;
        self.end()
    }

    /// Sends RESET_STREAM and STOP_SENDING.
    pub fn reset(&self, code: u64) {
        self.0.cancel(code);
    }

    /// Wants nothing more of the other direction: STOP_SENDING.
    pub fn stop(&self, code: u64) {
        let mut body = self.0.body.lock().expect("streams do not panic");
        let _ = body.recv.stop(VarInt::from_u64(code).unwrap_or_default());
        body.fin = true;
    }

    /// Waits for STOP_SENDING of the peer, and its code; `None` when the peer has taken all of it.
    ///
    /// # Errors
    /// `TimedOut`, or the connection's end.
    pub fn wait_stopped(&self) -> io::Result<Option<u64>> {
        let stopped = self.0.out.lock().expect("streams do not panic").send.stopped();
        let code = self.wait(stopped)?.map_err(io::Error::other)?;
        Ok(code.map(VarInt::into_inner))
    }

    /// The next head.
    ///
    /// # Errors
    /// `TimedOut`, why the stream is no more, or `InvalidData`.
    pub fn head(&self, to_head: bool) -> io::Result<Message> {
        let mut body = self.0.body.lock().expect("streams do not panic");
        let fields = match self.wait(body.next())?? {
            Got::Headers(fields) => plain(fields)?,
            Got::Data(_) => return Err(invalid("DATA before HEADERS")),
            Got::End => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let mut fields = fields.into_iter();
        let Some((_, status)) = fields.next().filter(|(name, _)| name == ":status") else {
            return Err(invalid("no :status"));
        };
        let head = Message { start: format!("HTTP/3 {status}"), fields: fields.collect(), ..Message::default() };
        if head.fields.iter().any(|(name, _)| name.starts_with(':')) {
            return Err(invalid(format!("a second pseudo-header field: {head:?}")));
        }
        if head.status() >= 200 && head.status() != 304 && !to_head {
            body.length_left = head.get("content-length").and_then(|n| n.parse().ok());
        }
        Ok(head)
    }

    /// The next piece of the other direction, or its end. What is not asked for holds the peer back.
    ///
    /// # Errors
    /// `TimedOut`, or why the stream is no more.
    pub fn next(&self) -> io::Result<Option<Bytes>> {
        let mut body = self.0.body.lock().expect("streams do not panic");
        self.wait(body.body())?
    }

    /// The trailers behind the end.
    pub fn trailers(&self) -> Vec<(String, String)> {
        self.0.body.lock().expect("streams do not panic").trailers.clone()
    }
}

impl io::Read for Duplex {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.next()? else { return Ok(0) };
        let n = piece.len().min(buf.len());
        buf[..n].copy_from_slice(&piece[..n]);
        if n < piece.len() {
            let mut body = self.0.body.lock().expect("streams do not panic");
            let mut all = BytesMut::from(&piece[n..]);
            body.data_left += all.len() as u64;
            body.length_left = body.length_left.map(|left| left + all.len() as u64);
            all.unsplit(body.buf.split());
            body.buf = all;
        }
        Ok(n)
    }
}

impl io::Write for Duplex {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.send(buf)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One exchange under way.
pub struct Http3Call {
    /// Its stream.
    pub duplex: Duplex,
    /// Of the answer, once it has come.
    pub head: Option<Message>,
    pub(super) to_head: bool,
}

impl Http3Call {
    /// Reads the next head: a 1xx, or that of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn next_head(&mut self) -> io::Result<Message> {
        let head = self.duplex.head(self.to_head)?;
        if head.status() >= 200 {
            self.head = Some(head.clone());
        }
        Ok(head)
    }
}
