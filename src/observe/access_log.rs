//! The access log: a shard formats a line into its own ring and goes on; the log thread writes the rings' contents out.
//!
//! A shard never waits for the log. When its ring is full, the line is dropped and counted; so are lines that cannot be
//! written (a full disk, a closed pipe), and the next ones are tried again.
use super::stats::{ShardStats, StatsRegistry};
use crate::message::Category;
use edge_io::{
    head::Version,
    ring_log::{self, Consumer, Producer},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Bytes that a shard's ring holds unless told otherwise: some 2,500 lines.
pub const RING_BYTES: usize = 1 << 20;
/// The log thread writes when it has gathered this much …
const WRITE_BYTES: usize = 64 << 10;
/// … or has held a line for this long.
const HOLD_MAX: Duration = Duration::from_millis(200);
/// Of one field of a line, at most so many bytes are logged: a line is bounded, whatever a client sends.
const FIELD_BYTES_MAX: usize = 4096;

/// Where lines go.
pub enum Target {
    /// Nowhere: `Writer::line` returns at once.
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to, made with mode 0640; reopened by name on `reopen`.
    File(PathBuf),
    /// Anything else that takes bytes; `reopen` leaves it as it is.
    Writer(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Off => f.write_str("Off"),
            Target::Stdout => f.write_str("Stdout"),
            Target::File(path) => f.debug_tuple("File").field(path).finish(),
            Target::Writer(_) => f.write_str("Writer"),
        }
    }
}

/// One request, as the log shows it. What is `None` is left out of the line.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the request began, µs since 1970.
    pub wall_us: u64,
    /// The request's id.
    pub request_id: &'a [u8],
    /// The listener's name.
    pub listener: &'a str,
    /// The client's address, after trusted proxies; unix sockets have none.
    pub client: Option<SocketAddr>,
    /// The version the client spoke.
    pub version: Version,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: Option<&'a str>,
    /// The key exchange group.
    pub tls_group: Option<&'a str>,
    /// The host name that the client asked TLS for.
    pub sni: Option<&'a str>,
    /// Whom the client's certificate is for.
    pub mtls_subject: Option<&'a str>,
    /// As sent.
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The authority, as sent.
    pub host: &'a [u8],
    /// The path, as sent.
    pub path: &'a [u8],
    /// The query, without the question mark.
    pub query: Option<&'a [u8]>,
    /// The route's id.
    pub route: Option<&'a str>,
    /// The pool's id.
    pub pool: Option<&'a str>,
    /// The endpoint's name.
    pub endpoint: Option<&'a str>,
    /// What the client was answered.
    pub status: u16,
    /// Why it failed.
    pub category: Option<Category>,
    /// What exactly went wrong, in a few words of the edge.
    pub detail: Option<&'a str>,
    /// Bytes of the request, head and body.
    pub bytes_in: u64,
    /// Bytes of the answer, head and body.
    pub bytes_out: u64,
    /// From the request's first byte to the answer's last, µs.
    pub duration_us: u64,
    /// How long connecting took, when a connection was made for this request, µs.
    pub connect_us: Option<u64>,
    /// From the request's start at the endpoint to the first byte of its answer, µs.
    pub ttfb_us: Option<u64>,
    /// From the request's start at the endpoint to the last byte of its answer, µs.
    pub upstream_us: Option<u64>,
    /// Attempts beyond the first.
    pub retries: u32,
    /// What became of a second attempt beside a slow first one.
    pub hedged: Option<&'a str>,
    /// The version of the configuration that served it.
    pub config_version: u64,
    /// `User-Agent`, as sent.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`, as sent.
    pub referer: Option<&'a [u8]>,
}

/// A shard's end of the log.
pub struct Writer {
    shard: u64,
    enabled: Arc<AtomicBool>,
    ring: Producer,
    stats: Arc<ShardStats>,
    log_thread: Thread,
    /// How far the log thread had come when it was last woken.
    woken_at: Option<usize>,
    line: Vec<u8>,
    second: Second,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl Writer {
    /// Whether lines go anywhere: a shard need not gather what nobody reads.
    #[inline]
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// Logs one request. Never blocks; when there is no room, the line is dropped and counted.
    pub fn line(&mut self, record: &Record<'_>) {
        if !self.is_enabled() {
            return;
        }
        self.line.clear();
        format(&mut self.line, record, self.shard, &mut self.second);
        if !self.ring.push(&self.line) {
            self.stats.log_dropped.inc();
        }
        self.wake_when_half_full();
    }

    fn wake_when_half_full(&mut self) {
        let half = self.ring.capacity() / 2;
        if self.ring.waiting() < half {
            return;
        }
        let at = self.ring.look();
        // Once for each step that the log thread takes: it may have emptied the ring, and the ring be half full again
        // before this end has looked.
        if self.ring.waiting() >= half && self.woken_at != Some(at) {
            self.woken_at = Some(at);
            self.log_thread.unpark();
        }
    }
}

/// The text of the last second a line was written in: it changes once a second.
struct Second {
    at: u64,
    text: String,
}

impl Second {
    fn new() -> Second {
        Second { at: u64::MAX, text: String::new() }
    }

    fn text(&mut self, at: u64) -> &str {
        if self.at != at {
            self.at = at;
            let when = i64::try_from(at).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
            self.text = when.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        &self.text
    }
}

/// Appends one line, ending in a line feed.
fn format(out: &mut Vec<u8>, r: &Record<'_>, shard: u64, second: &mut Second) {
    out.extend_from_slice(b"{\"ts\":\"");
    out.extend_from_slice(second.text(r.wall_us / 1_000_000).as_bytes());
    out.push(b'.');
    padded(out, r.wall_us / 1000 % 1000);
    padded(out, r.wall_us % 1000);
    out.extend_from_slice(b"Z\"");
    text(out, b",\"request_id\":\"", r.request_id);
    text(out, b",\"listener\":\"", r.listener.as_bytes());
    if let Some(client) = r.client {
        out.extend_from_slice(b",\"client_ip\":\"");
        ip(out, client);
        number(out, b"\",\"client_port\":", client.port().into());
    }
    out.extend_from_slice(match r.version {
        Version::Http10 => b",\"protocol\":\"1.0\"".as_slice(),
        Version::Http11 => b",\"protocol\":\"1.1\"",
        Version::Http2 => b",\"protocol\":\"2\"",
        Version::Http3 => b",\"protocol\":\"3\"",
    });
    text_if(out, b",\"tls_version\":\"", r.tls_version.map(|v| v.strip_prefix("TLSv").unwrap_or(v).as_bytes()));
    text_if(out, b",\"tls_group\":\"", r.tls_group.map(str::as_bytes));
    text_if(out, b",\"sni\":\"", r.sni.map(str::as_bytes));
    text_if(out, b",\"mtls_subject\":\"", r.mtls_subject.map(str::as_bytes));
    text(out, b",\"method\":\"", r.method);
    text(out, b",\"scheme\":\"", r.scheme.as_bytes());
    text(out, b",\"host\":\"", r.host);
    text(out, b",\"path\":\"", r.path);
    text_if(out, b",\"query\":\"", r.query);
    text_if(out, b",\"route\":\"", r.route.map(str::as_bytes));
    text_if(out, b",\"pool\":\"", r.pool.map(str::as_bytes));
    text_if(out, b",\"endpoint\":\"", r.endpoint.map(str::as_bytes));
    number(out, b",\"status\":", r.status.into());
    text_if(out, b",\"category\":\"", r.category.map(|c| c.as_str().as_bytes()));
    text_if(out, b",\"detail\":\"", r.detail.map(str::as_bytes));
    number(out, b",\"bytes_in\":", r.bytes_in);
    number(out, b",\"bytes_out\":", r.bytes_out);
    millis(out, b",\"duration_ms\":", Some(r.duration_us));
    millis(out, b",\"connect_ms\":", r.connect_us);
    millis(out, b",\"ttfb_ms\":", r.ttfb_us);
    millis(out, b",\"upstream_ms\":", r.upstream_us);
    number(out, b",\"retries\":", r.retries.into());
    text_if(out, b",\"hedged\":\"", r.hedged.map(str::as_bytes));
    number(out, b",\"shard\":", shard);
    number(out, b",\"config_version\":", r.config_version);
    text_if(out, b",\"user_agent\":\"", r.user_agent);
    text_if(out, b",\"referer\":\"", r.referer);
    out.extend_from_slice(b"}\n");
}

#[inline]
fn number(out: &mut Vec<u8>, key: &[u8], n: u64) {
    out.extend_from_slice(key);
    decimal(out, n);
}

#[inline]
fn millis(out: &mut Vec<u8>, key: &[u8], us: Option<u64>) {
    if let Some(us) = us {
        number(out, key, us / 1000);
        out.push(b'.');
        padded(out, us % 1000);
    }
}

#[inline]
fn text_if(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    if let Some(value) = value {
        text(out, key, value);
    }
}

/// `key` ends with the opening quote.
#[inline]
fn text(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let value = value.get(..FIELD_BYTES_MAX).unwrap_or(value);
    out.extend_from_slice(key);
    // One pass without branches, which the compiler turns into vector code; hardly any value needs more.
    if value.iter().fold(false, |any, &b| any | is_special(b)) {
        escaped(out, value)
    } else {
        out.extend_from_slice(value)
    }
    out.push(b'"');
}

#[inline]
fn is_special(b: u8) -> bool {
    (b < 0x20) | (b == b'"') | (b == b'\\') | (b >= 0x7f)
}

/// JSON must be UTF-8, but a client may send any bytes: what is not UTF-8 is shown as the code point of its value.
#[cold]
fn escaped(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        for &b in chunk.valid().as_bytes() {
            match b {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
                0x20..=0x7e | 0x80.. => out.push(b),
                control => code_point(out, control),
            }
        }
        chunk.invalid().iter().for_each(|&b| code_point(out, b));
    }
}

fn code_point(out: &mut Vec<u8>, b: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
}

/// The address without its port. IPv4 is what most clients have, and std's formatting costs as much as half a line.
fn ip(out: &mut Vec<u8>, client: SocketAddr) {
    match client {
        SocketAddr::V4(v4) => {
            for (i, octet) in v4.ip().octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                decimal(out, octet.into());
            }
        }
        // Writing into a `Vec` cannot fail.
        SocketAddr::V6(v6) => drop(write!(out, "{}", v6.ip())),
    }
}

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// `n` in decimal, two digits at a time, written from the end.
#[inline]
fn decimal(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    while n >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[(n % 100) as usize]);
        n /= 100;
    }
    // One digit is left, or the last pair began with a zero, or `n` was zero from the start.
    if n > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + n as u8;
    }
    out.extend_from_slice(&digits[start..]);
}

/// The last three digits, with zeros in front.
#[inline]
fn padded(out: &mut Vec<u8>, n: u64) {
    let [tens, ones] = PAIRS[(n % 100) as usize];
    out.extend_from_slice(&[b'0' + (n / 100 % 10) as u8, tens, ones]);
}

enum Command {
    Add(Consumer),
    Reopen(mpsc::Sender<io::Result<()>>),
    Retarget(Target, mpsc::Sender<io::Result<()>>),
    Flush(mpsc::Sender<()>),
    Stop(mpsc::Sender<()>),
}

/// Steers the log thread; held by control.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    thread: Thread,
    enabled: Arc<AtomicBool>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

/// Starts the log thread. Fails when the target cannot be opened or the thread not started.
pub fn start(target: Target, stats: Arc<StatsRegistry>) -> io::Result<Handle> {
    let sink = Sink::open(target)?;
    let enabled = Arc::new(AtomicBool::new(sink.out.is_some()));
    let (commands, inbox) = mpsc::channel();
    let state =
        LogThread { inbox, rings: Vec::new(), batch: Vec::new(), since: None, sink, stats, enabled: enabled.clone() };
    let thread = thread::Builder::new().name("log".into()).spawn(move || state.run())?.thread().clone();
    Ok(Handle { commands, thread, enabled })
}

impl Handle {
    /// A new ring for a shard, of at least `capacity` bytes.
    pub fn writer(&self, stats: Arc<ShardStats>, capacity: usize) -> Writer {
        let (ring, consumer) = ring_log::ring(capacity);
        self.tell(Command::Add(consumer));
        Writer {
            shard: stats.shard as u64,
            enabled: self.enabled.clone(),
            ring,
            stats,
            log_thread: self.thread.clone(),
            woken_at: None,
            line: Vec::with_capacity(1024),
            second: Second::new(),
        }
    }

    /// Writes what has been logged so far to the old file, then opens the file of the same name anew. The receiver
    /// gets the outcome; when opening fails, the old file stays in use.
    pub fn reopen(&self) -> mpsc::Receiver<io::Result<()>> {
        self.ask(Command::Reopen)
    }

    /// Writes what has been logged so far to the old target, then uses another. When it cannot be opened, the old one
    /// stays in use.
    pub fn retarget(&self, target: Target) -> mpsc::Receiver<io::Result<()>> {
        self.ask(|done| Command::Retarget(target, done))
    }

    /// Writes what has been logged so far. The receiver hears when it is done.
    pub fn flush(&self) -> mpsc::Receiver<()> {
        self.ask(Command::Flush)
    }

    /// Writes what has been logged so far and ends the log thread. Waits at most `patience`, in case the target
    /// blocks: whether everything was written.
    pub fn stop(&self, patience: Duration) -> bool {
        self.ask(Command::Stop).recv_timeout(patience).is_ok()
    }

    fn ask<T>(&self, command: impl FnOnce(mpsc::Sender<T>) -> Command) -> mpsc::Receiver<T> {
        let (done, receiver) = mpsc::channel();
        self.tell(command(done));
        receiver
    }

    /// A log thread that is gone has nothing left to do; whoever waits for it sees its channel closed.
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
        self.thread.unpark();
    }
}

struct LogThread {
    inbox: mpsc::Receiver<Command>,
    rings: Vec<Consumer>,
    batch: Vec<u8>,
    /// When the oldest line of the batch was taken.
    since: Option<Instant>,
    sink: Sink,
    stats: Arc<StatsRegistry>,
    enabled: Arc<AtomicBool>,
}

impl LogThread {
    fn run(mut self) {
        loop {
            let first = match self.inbox.try_recv() {
                Ok(Command::Stop(done)) => {
                    self.write_everything();
                    let _ = done.send(());
                    return;
                }
                Ok(command) => Some(command),
                Err(mpsc::TryRecvError::Empty) => None,
                // The last handle is gone: nobody can stop us any more, so this is the end.
                Err(mpsc::TryRecvError::Disconnected) => return self.write_everything(),
            };
            if let Some(command) = first {
                self.obey(command);
                continue;
            }
            self.drain();
            let held = self.since.map_or(Duration::ZERO, |since| since.elapsed());
            if held >= HOLD_MAX {
                self.write();
            }
            thread::park_timeout(HOLD_MAX.saturating_sub(held).max(Duration::from_millis(1)));
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(ring) => self.rings.push(ring),
            Command::Reopen(done) => {
                self.write_everything();
                let _ = done.send(self.sink.reopen());
            }
            Command::Retarget(target, done) => {
                self.write_everything();
                let result = Sink::open(target).map(|sink| self.sink = sink);
                self.enabled.store(self.sink.out.is_some(), Relaxed);
                let _ = done.send(result);
            }
            Command::Flush(done) => {
                self.write_everything();
                let _ = done.send(());
            }
            Command::Stop(_) => {} // obeyed by `run`
        }
    }

    fn write_everything(&mut self) {
        self.drain();
        self.write();
    }

    /// Takes what the rings hold, and writes whenever there is enough.
    fn drain(&mut self) {
        for i in 0..self.rings.len() {
            if self.rings[i].take(&mut self.batch) > 0 && self.since.is_none() {
                self.since = Some(Instant::now());
            }
            if self.batch.len() >= WRITE_BYTES {
                self.write();
            }
        }
        self.rings.retain(|ring| !(ring.is_last() && ring.waiting() == 0));
    }

    fn write(&mut self) {
        self.since = None;
        let lost = self.sink.write(&self.batch);
        self.batch.clear();
        if lost > 0 {
            self.stats.control.log_write_errors.inc();
            self.stats.control.log_write_dropped.add(lost);
        }
    }
}

/// The target, opened.
struct Sink {
    out: Option<Box<dyn Write + Send>>,
    /// To open it again.
    path: Option<PathBuf>,
    /// The last write ended within a line.
    torn: bool,
    /// Failures are told once, until a write succeeds again.
    failing: bool,
}

impl Sink {
    fn open(target: Target) -> io::Result<Sink> {
        let (out, path): (Option<Box<dyn Write + Send>>, _) = match target {
            Target::Off => (None, None),
            // Not through `io::stdout()`, whose buffer would keep what could not be written.
            Target::Stdout => (Some(Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))), None),
            Target::File(path) => (Some(Box::new(append(&path)?)), Some(path)),
            Target::Writer(writer) => (Some(writer), None),
        };
        Ok(Sink { out, path, torn: false, failing: false })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.out = Some(Box::new(append(path)?));
            self.torn = false;
        }
        Ok(())
    }

    /// Writes whole lines; answers how many were lost.
    fn write(&mut self, lines: &[u8]) -> u64 {
        let Some(out) = &mut self.out else { return 0 };
        if lines.is_empty() {
            return 0;
        }
        let mut rest = lines;
        if self.torn {
            match write_all(out, &mut b"\n".as_slice()) {
                Ok(()) => self.torn = false,
                Err(e) => return self.failed(&e, lines),
            }
        }
        match write_all(out, &mut rest) {
            Ok(()) => {
                self.failing = false;
                0
            }
            Err(e) => {
                let written = &lines[..lines.len() - rest.len()];
                self.torn = written.last().is_some_and(|b| *b != b'\n');
                self.failed(&e, rest)
            }
        }
    }

    fn failed(&mut self, error: &io::Error, rest: &[u8]) -> u64 {
        if !std::mem::replace(&mut self.failing, true) {
            // The access log itself cannot tell.
            let _ =
                writeln!(io::stderr(), "edge: access log: {error}; lines are dropped until it can be written again");
        }
        rest.iter().filter(|b| **b == b'\n').count() as u64
    }
}

fn append(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Like `Write::write_all`, but `rest` says afterwards what is left.
fn write_all(out: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => *rest = &rest[n.min(rest.len())..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // Someone has made our standard output non-blocking. Only this thread waits.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(5)),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, os::unix::net::UnixStream, sync::Mutex};

    fn record() -> Record<'static> {
        Record {
            wall_us: 1_700_000_000_000_042,
            request_id: b"0123456789abcdef",
            listener: "web",
            client: Some("192.0.2.7:50123".parse().unwrap()),
            version: Version::Http11,
            tls_version: None,
            tls_group: None,
            sni: None,
            mtls_subject: None,
            method: b"GET",
            scheme: "http",
            host: b"example.com",
            path: b"/a/b",
            query: None,
            route: Some("api"),
            pool: Some("app"),
            endpoint: Some("http://127.0.0.1:8000"),
            status: 200,
            category: None,
            detail: None,
            bytes_in: 80,
            bytes_out: 1200,
            duration_us: 1042,
            connect_us: None,
            ttfb_us: Some(900),
            upstream_us: Some(1000),
            retries: 0,
            hedged: None,
            config_version: 3,
            user_agent: Some(b"curl/8.5.0"),
            referer: None,
        }
    }

    fn line(r: &Record<'_>) -> String {
        let mut out = Vec::new();
        format(&mut out, r, 1, &mut Second::new());
        String::from_utf8(out).unwrap()
    }

    fn json(r: &Record<'_>) -> serde_json::Value {
        serde_json::from_str(&line(r)).unwrap()
    }

    #[test]
    fn a_line_as_it_is() {
        assert_eq!(
            line(&record()),
            concat!(
                r#"{"ts":"2023-11-14T22:13:20.000042Z","request_id":"0123456789abcdef","listener":"web","#,
                r#""client_ip":"192.0.2.7","client_port":50123,"protocol":"1.1","method":"GET","scheme":"http","#,
                r#""host":"example.com","path":"/a/b","route":"api","pool":"app","endpoint":"http://127.0.0.1:8000","#,
                r#""status":200,"bytes_in":80,"bytes_out":1200,"duration_ms":1.042,"ttfb_ms":0.900,"#,
                r#""upstream_ms":1.000,"retries":0,"shard":1,"config_version":3,"user_agent":"curl/8.5.0"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn every_field_arrives() {
        let r = Record {
            client: Some("[2001:db8::1]:9".parse().unwrap()),
            query: Some(b"q=1"),
            category: Some(Category::UpstreamTimeout),
            detail: Some("no answer in time"),
            connect_us: Some(u64::MAX),
            referer: Some(b"http://there/"),
            version: Version::Http2,
            tls_version: Some("TLSv1.3"),
            tls_group: Some("X25519MLKEM768"),
            sni: Some("a.example"),
            mtls_subject: Some("CN=\"x\""),
            ..record()
        };
        let v = json(&r);
        assert_eq!(v["client_ip"], "2001:db8::1");
        assert_eq!(v["query"], "q=1");
        assert_eq!(v["category"], "upstream_timeout");
        assert_eq!(v["referer"], "http://there/");
        assert_eq!(v["protocol"], "2");
        assert_eq!(v["detail"], "no answer in time");
        assert_eq!(v["tls_version"], "1.3");
        assert_eq!(v["tls_group"], "X25519MLKEM768");
        assert_eq!(v["sni"], "a.example");
        assert_eq!(v["mtls_subject"], "CN=\"x\"");
        assert_eq!(v.as_object().unwrap().len(), 32);
    }

    #[test]
    fn hostile_bytes_stay_inside_their_string() {
        let all: Vec<u8> = (0..=255).collect();
        let r = Record {
            path: &all,
            user_agent: Some(b"\",\"status\":200,\"x\":\"\n{"),
            host: "\u{fc}\u{2028}".as_bytes(),
            ..record()
        };
        let text = line(&r);
        assert_eq!(text.matches('\n').count(), 1);
        let v = json(&r);
        assert_eq!(v["user_agent"], "\",\"status\":200,\"x\":\"\n{");
        assert_eq!(v["host"], "\u{fc}\u{2028}");
        let path: Vec<u32> = v["path"].as_str().unwrap().chars().map(u32::from).collect();
        assert_eq!(path, (0..=255).collect::<Vec<u32>>());
    }

    #[test]
    fn a_long_field_is_cut() {
        let long = vec![b'\\'; 1 << 20];
        let text = line(&Record { path: &long, ..record() });
        assert!(text.len() < 3 * FIELD_BYTES_MAX);
        json(&Record { path: &long, ..record() });
    }

    #[test]
    fn decimal_is_what_std_says() {
        let near = (0..20).flat_map(|p| {
            let t = 10u64.pow(p);
            [t - 1, t, t + 1, t.wrapping_mul(9)]
        });
        for n in near.chain([u64::MAX, u64::MAX - 1]).chain(0..2000) {
            let mut out = Vec::new();
            decimal(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
    }

    fn registry() -> Arc<StatsRegistry> {
        Arc::new(StatsRegistry::new(2))
    }

    #[test]
    fn lines_of_all_shards_are_written_whole_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let stats = registry();
        let log = start(Target::File(path.clone()), stats.clone()).unwrap();
        let threads: Vec<_> = (0..2)
            .map(|shard| {
                let mut w = log.writer(stats.shards[shard].clone(), RING_BYTES);
                thread::spawn(move || {
                    for n in 0..1000 {
                        w.line(&Record { config_version: n, ..record() });
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert!(log.stop(Duration::from_secs(10)));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for shard in 0..2 {
            let mine = lines.iter().filter(|l| l["shard"] == shard).map(|l| l["config_version"].as_u64().unwrap());
            assert!(mine.eq(0..1000), "shard {shard}");
        }
        assert_eq!(stats.shards[0].log_dropped.get() + stats.control.log_write_dropped.get(), 0);
    }

    #[test]
    fn reopen_loses_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let stats = registry();
        let log = start(Target::File(path.clone()), stats.clone()).unwrap();
        let mut w = log.writer(stats.shards[0].clone(), RING_BYTES);
        for n in 0..300 {
            w.line(&Record { config_version: n, ..record() });
            if n % 100 == 99 {
                std::fs::rename(&path, dir.path().join(format!("old.{n}"))).unwrap();
                log.reopen().recv().unwrap().unwrap();
            }
        }
        log.flush().recv().unwrap();
        for n in [99, 199, 299] {
            let text = std::fs::read_to_string(dir.path().join(format!("old.{n}"))).unwrap();
            let got = text
                .lines()
                .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["config_version"].as_u64().unwrap());
            assert!(got.eq(n - 99..=n));
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_failed_reopen_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/access.log");
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        let stats = registry();
        let log = start(Target::File(path.clone()), stats.clone()).unwrap();
        let moved = dir.path().join("moved");
        std::fs::rename(dir.path().join("logs"), &moved).unwrap();
        assert!(log.reopen().recv().unwrap().is_err());
        log.writer(stats.shards[0].clone(), 4096).line(&record());
        log.flush().recv().unwrap();
        assert_eq!(
            std::fs::read_to_string(moved.join("access.log")).unwrap(),
            line(&record()).replace("\"shard\":1", "\"shard\":0")
        );
    }

    #[test]
    fn off_writes_nothing_and_retarget_turns_it_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let stats = registry();
        let log = start(Target::Off, stats.clone()).unwrap();
        let mut w = log.writer(stats.shards[0].clone(), 4096);
        w.line(&record());
        assert!(!w.is_enabled());
        log.retarget(Target::File(path.clone())).recv().unwrap().unwrap();
        assert!(w.is_enabled());
        w.line(&record());
        log.flush().recv().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        assert!(log.retarget(Target::File(dir.path().join("no/such/dir"))).recv().unwrap().is_err());
        assert!(w.is_enabled(), "the old target stays");
    }

    #[test]
    fn a_pipe_that_nobody_reads_stops_no_shard() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let stats = registry();
        let log = start(Target::Writer(Box::new(ours)), stats.clone()).unwrap();
        let mut w = log.writer(stats.shards[0].clone(), 64 << 10);
        let sent = 20_000;
        for n in 0..sent {
            w.line(&Record { config_version: n, ..record() });
        }
        // The shard got here, though far more was logged than socket and ring hold.
        let dropped = stats.shards[0].log_dropped.get();
        assert!(dropped > 0);
        let reader = thread::spawn(move || {
            let mut text = String::new();
            theirs.read_to_string(&mut text).unwrap();
            text
        });
        assert!(log.stop(Duration::from_secs(10)));
        let text = reader.join().unwrap();
        text.lines().for_each(|l| drop(serde_json::from_str::<serde_json::Value>(l).unwrap()));
        assert_eq!(text.lines().count() as u64 + dropped, sent);
    }

    #[test]
    fn a_ring_that_fills_again_and_again_is_emptied_each_time() {
        let stats = registry();
        let log = start(Target::Writer(Box::new(io::sink())), stats.clone()).unwrap();
        let mut w = log.writer(stats.shards[0].clone(), 4096);
        let begin = Instant::now();
        // Some 200 times what the ring holds. Were it emptied on the clock only, it would take 40 s.
        for _ in 0..2000 {
            loop {
                let dropped = stats.shards[0].log_dropped.get();
                w.line(&record());
                if stats.shards[0].log_dropped.get() == dropped {
                    break;
                }
                thread::yield_now();
            }
        }
        assert!(begin.elapsed() < HOLD_MAX * 100, "{:?}", begin.elapsed());
    }

    /// Takes `room` bytes, then fails until there is room again: a full disk.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let n = bytes.len().min(disk.1);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.0.extend_from_slice(&bytes[..n]);
            disk.1 -= n;
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_lines_but_tears_at_most_one() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 1000))));
        let stats = registry();
        let log = start(Target::Writer(Box::new(disk.clone())), stats.clone()).unwrap();
        let mut w = log.writer(stats.shards[0].clone(), RING_BYTES);
        let mut write = |from: u64, to| {
            for n in from..to {
                w.line(&Record { config_version: n, ..record() });
            }
            log.flush().recv().unwrap();
        };
        write(0, 10); // two fit, the third is torn
        write(10, 20); // still full
        disk.0.lock().unwrap().1 = usize::MAX;
        write(20, 30);
        let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        let whole: Vec<u64> = text
            .lines()
            .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()?["config_version"].as_u64())
            .collect();
        assert_eq!(whole, [0, 1].into_iter().chain(20..30).collect::<Vec<_>>());
        assert_eq!(text.lines().count(), 13, "one torn line, and it has a line of its own");
        assert_eq!(stats.control.log_write_dropped.get(), 18);
        assert!(stats.control.log_write_errors.get() >= 2);
    }
}
