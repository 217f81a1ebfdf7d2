//! The `h2` crate behind a blocking face: a thread that drives it, and streams that tests read and write.
use super::{
    PATIENCE,
    exchange::{Fields, header_map, plain_fields},
    http3,
};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use std::{
    future::{Future, poll_fn},
    io::{self, Read, Write},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle as Task};

/// A runtime in a thread of its own; all that it drives ends with it.
pub struct Engine {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts one.
    ///
    /// # Panics
    /// When the system has no more threads or descriptors.
    pub fn start() -> Engine {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let _ = runtime.block_on(stopped);
            // Tasks and their sockets end here.
            runtime.shutdown_background();
        });
        Engine { handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits for a future, for as long as tests wait.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        self.wait_for(PATIENCE, future)
    }

    /// Waits for a future, so long.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait_for<T>(&self, patience: Duration, future: impl Future<Output = T>) -> io::Result<T> {
        let waited = self.handle.block_on(async { tokio::time::timeout(patience, future).await });
        waited.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("nothing for {patience:?}")))
    }

    /// Runs a future beside the others.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        self.handle.spawn(future)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The last handle may go within a task of this very engine.
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// An error of HTTP/2 as an I/O error that still says why.
pub fn failed(e: h2::Error) -> io::Error {
    let kind = if e.is_io() { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::ConnectionReset };
    io::Error::new(kind, e)
}

/// The code of a RST_STREAM or GOAWAY behind an error; a code of HTTP/3 as the one of HTTP/2 that says the same (RFC 9114
/// A.4).
pub fn reason(e: &io::Error) -> Option<Reason> {
    use http3::code;
    if let Some(e) = http3::why(e) {
        return Some(match e.code? {
            code::NO_ERROR => Reason::NO_ERROR,
            code::GENERAL_PROTOCOL_ERROR | code::MESSAGE_ERROR => Reason::PROTOCOL_ERROR,
            code::EXCESSIVE_LOAD => Reason::ENHANCE_YOUR_CALM,
            code::REQUEST_REJECTED => Reason::REFUSED_STREAM,
            code::REQUEST_CANCELLED => Reason::CANCEL,
            code::CONNECT_ERROR => Reason::CONNECT_ERROR,
            code::VERSION_FALLBACK => Reason::HTTP_1_1_REQUIRED,
            _ => Reason::INTERNAL_ERROR,
        });
    }
    e.get_ref()?.downcast_ref::<h2::Error>()?.reason()
}

/// Whether an error came by GOAWAY.
pub fn is_go_away(e: &io::Error) -> bool {
    let by_http2 =
        || e.get_ref().and_then(|e| e.downcast_ref::<h2::Error>()).is_some_and(|e| e.is_go_away() && e.is_remote());
    http3::why(e).map_or_else(by_http2, |e| e.go_away)
}

/// Both directions of a stream behind its heads. Clones are handles on the same stream; one may read while another writes.
#[derive(Clone)]
pub struct Duplex {
    engine: Arc<Engine>,
    out: Arc<Mutex<Option<SendStream<Bytes>>>>,
    body: Arc<Mutex<Incoming>>,
    patience: Arc<Mutex<Duration>>,
}

#[derive(Default)]
struct Incoming {
    stream: Option<RecvStream>,
    /// Of a piece read in parts.
    rest: Bytes,
}

impl Duplex {
    /// Over what the crate gave.
    pub fn new(engine: &Arc<Engine>, out: Option<SendStream<Bytes>>, body: Option<RecvStream>) -> Duplex {
        Duplex {
            engine: Arc::clone(engine),
            out: Arc::new(Mutex::new(out)),
            body: Arc::new(Mutex::new(Incoming { stream: body, rest: Bytes::new() })),
            patience: Arc::new(Mutex::new(PATIENCE)),
        }
    }

    /// The other direction has begun.
    pub fn receives(&self, body: RecvStream) {
        self.body.lock().expect("streams do not panic").stream = Some(body);
    }

    /// This direction has begun.
    pub fn sends(&self, out: SendStream<Bytes>) {
        *self.out.lock().expect("streams do not panic") = Some(out);
    }

    /// Gives up after so long.
    pub fn patience(&self, d: Duration) {
        *self.patience.lock().expect("streams do not panic") = d;
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let patience = *self.patience.lock().expect("streams do not panic");
        self.engine.wait_for(patience, future)
    }

    /// Sends all of it as the windows allow.
    ///
    /// # Errors
    /// `TimedOut`, or why the stream is no more.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = self.out.lock().expect("streams do not panic");
        let out = out.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut left = Bytes::copy_from_slice(bytes);
        while !left.is_empty() {
            let n = self.wait(room(out, left.len()))??;
            let now = left.split_to(n.min(left.len()));
            out.send_data(now, false).map_err(failed)?;
        }
        Ok(())
    }

    /// Ends this direction.
    ///
    /// # Errors
    /// Why the stream is no more.
    pub fn end(&self) -> io::Result<()> {
        let mut out = self.out.lock().expect("streams do not panic");
        out.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.send_data(Bytes::new(), true).map_err(failed)
    }

    /// Ends this direction with trailers.
    ///
    /// # Errors
    /// Why the stream is no more.
    pub fn end_with(&self, trailers: &Fields) -> io::Result<()> {
        let mut out = self.out.lock().expect("streams do not panic");
        out.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.send_trailers(header_map(trailers)).map_err(failed)
    }

    /// Sends RST_STREAM.
    pub fn reset(&self, code: Reason) {
        if let Some(out) = self.out.lock().expect("streams do not panic").as_mut() {
            out.send_reset(code);
        }
    }

    /// Waits until the peer resets the stream or the connection ends; the code if it was a reset.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait_reset(&self) -> io::Result<Option<Reason>> {
        let mut out = self.out.lock().expect("streams do not panic");
        let out = out.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(self.wait(poll_fn(|cx| out.poll_reset(cx)))?.ok())
    }

    /// The next piece of the other direction, or its end. What is not asked for holds the peer back.
    ///
    /// # Errors
    /// `TimedOut`, or why the stream is no more.
    pub fn next(&self) -> io::Result<Option<Bytes>> {
        let mut body = self.body.lock().expect("streams do not panic");
        if !body.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut body.rest)));
        }
        let stream = body.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        while let Some(piece) = self.wait(stream.data())? {
            let piece = piece.map_err(failed)?;
            let _ = stream.flow_control().release_capacity(piece.len());
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The trailers behind the end.
    ///
    /// # Errors
    /// As [`Duplex::next`].
    pub fn trailers(&self) -> io::Result<Vec<(String, String)>> {
        let mut body = self.body.lock().expect("streams do not panic");
        let stream = body.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let trailers = self.wait(stream.trailers())?.map_err(failed)?;
        Ok(trailers.map(|t| plain_fields(&t)).unwrap_or_default())
    }
}

/// Waits for window and buffer.
async fn room(out: &mut SendStream<Bytes>, want: usize) -> io::Result<usize> {
    out.reserve_capacity(want);
    loop {
        if out.capacity() > 0 {
            return Ok(out.capacity());
        }
        // Whichever comes first: more room, or the end of the stream.
        let more = poll_fn(|cx| {
            if let std::task::Poll::Ready(reset) = out.poll_reset(cx) {
                return std::task::Poll::Ready(Some(Err(reset)));
            }
            out.poll_capacity(cx).map(|c| c.map(Ok))
        });
        match more.await {
            Some(Ok(Ok(_))) => {}
            Some(Ok(Err(e)) | Err(Err(e))) => return Err(failed(e)),
            Some(Err(Ok(reason))) => return Err(failed(reason.into())),
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Read for Duplex {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.next()? else { return Ok(0) };
        let n = piece.len().min(buf.len());
        buf[..n].copy_from_slice(&piece[..n]);
        self.body.lock().expect("streams do not panic").rest = piece.slice(n..);
        Ok(n)
    }
}

impl Write for Duplex {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.send(buf)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
