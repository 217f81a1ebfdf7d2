//! `edge demo`: the first minute. An origin, an edge in front of it, a configuration to change, and requests as they
//! arrive.
use super::{Demo, exit, fail, serve, show};
use crate::{
    admin::client,
    control::reload::Source,
    serve::{Options, Ready},
};
use edge_loadtest::origin::Origin;
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, Read},
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::Duration,
};

/// How often new lines of the access log are looked for.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(super) fn run(args: &Demo) -> ExitCode {
    match Stage::build() {
        Ok(stage) => stage.run(args),
        Err(e) => fail(exit::RUNTIME, &format!("the demo cannot be set up: {e}")),
    }
}

/// What the demo needs around the edge.
struct Stage {
    /// Of this demo's own; removed at the end.
    dir: PathBuf,
    origin: Origin,
    config: PathBuf,
    access_log: PathBuf,
    admin: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Stage {
    fn build() -> io::Result<Stage> {
        let dir = own_dir()?;
        let origin = Origin::start(LOOPBACK)?;
        let port = TcpListener::bind(LOOPBACK)?.local_addr()?;
        let [config, access_log, admin] = ["edge.toml", "access.log", "admin.sock"].map(|name| dir.join(name));
        let stage = Stage { dir, origin, config, access_log, admin };
        fs::write(&stage.config, stage.text(port))?;
        File::create(&stage.access_log)?;
        Ok(stage)
    }

    /// The embedded default.
    fn text(&self, listen: SocketAddr) -> String {
        let origin = self.origin.addr();
        format!(
            r#"# What `edge demo` runs. Change something, save, and reload.
version = 1

[server]
admin = "unix:{admin}"
access_log = "{access_log}"
lb_grace = "0s"
drain_timeout = "2s"

[[listener]]
name = "web"
address = "{listen}"
# Otherwise hosts that have a certificate are sent to https://.
https_redirect = false

# The same over TLS: HTTP/2, HTTP/1.1, and HTTP/3 over UDP. Nobody vouches for the certificate, so curl wants -k.
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocols = ["h1", "h2", "h3"]
tls = "self-signed"

[pool.origin]
endpoints = ["http://{origin}"]

# The edge answers these itself. Try another text.
[[route]]
id = "hello"
match = {{ path = "/hello" }}
respond = {{ status = 200, content_type = "text/plain", body = "Hello from the edge.\n" }}

[[route]]
id = "moved"
match = {{ path = "/old" }}
redirect = {{ to = "/hello", status = 308 }}

# Everything else goes to the origin, which answers with what it received.
[[route]]
id = "origin"
pool = "origin"
"#,
            admin = self.admin.display(),
            access_log = self.access_log.display(),
        )
    }

    fn run(self, args: &Demo) -> ExitCode {
        let options = Options {
            source: Source::File(self.config.clone()),
            shards: args.shards.map(usize::from),
            admin: vec![client::Addr::Unix(self.admin.clone())],
        };
        let (stop, follower) = match follow(&self.access_log) {
            Ok(both) => both,
            Err(e) => return fail(exit::RUNTIME, &e.to_string()),
        };
        let code = serve(options, |ready| self.explain(ready));
        drop(stop);
        let _ = follower.join();
        code
    }

    fn explain(&self, ready: &Ready) {
        let find = |wanted: &str| ready.listening.iter().find(|(name, _)| name == wanted);
        let listening = find("web").map_or("?", |(_, addr)| addr);
        let https = find("https").map_or("?", |(_, addr)| addr);
        let (pid, config, admin) = (std::process::id(), self.config.display(), self.admin.display());
        // As it was started: nobody has installed it yet.
        let edge = std::env::args().next().unwrap_or("edge".to_owned());
        let shards = if ready.shards == 1 { "1 shard".to_owned() } else { format!("{} shards", ready.shards) };
        show(&format!(
            "\
edge {version} is running with {shards} on {driver}, in front of a small origin on {origin}.

Try, in another terminal:
  curl -i http://{listening}/anything      the origin's answer, through the edge
  curl -i http://{listening}/hello         an answer of the edge itself
  curl -i http://{listening}/bytes/1000000 a larger one
  curl -i 'http://{listening}/slow?ms=500' a slow one
  curl -ik https://{https}/hello       over TLS, by HTTP/2
  curl -ik --http3-only https://{https}/hello       by HTTP/3, where curl was built with it

Change it while it runs: edit
  {config}
and then
  kill -HUP {pid}        or: {edge} reload --admin unix:{admin}
A mistake in the file changes nothing; `reload` shows what is wrong.

See what it does:
  {edge} status --admin unix:{admin}
  curl -s --unix-socket {admin} http://edge/metrics

Ctrl-C ends it and removes its files. Requests appear here:

",
            version = env!("CARGO_PKG_VERSION"),
            driver = ready.driver,
            origin = self.origin.addr(),
        ));
    }
}

/// A directory that did not exist before, and that nobody else may look into.
fn own_dir() -> io::Result<PathBuf> {
    let base = std::env::temp_dir();
    let pid = std::process::id();
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    for attempt in 0..100 {
        let dir = base.join(format!("edge-demo-{pid}-{attempt}"));
        match builder.create(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Shows each line of the access log in a few words, until the sender is dropped and the log is read to its end.
fn follow(log: &Path) -> io::Result<(mpsc::Sender<()>, JoinHandle<()>)> {
    let mut file = File::open(log)?;
    let (stop, stopped) = mpsc::channel();
    let follower = std::thread::Builder::new().name("follow".into()).spawn(move || {
        let mut read = Vec::new();
        loop {
            let last = stopped.recv_timeout(FOLLOW_EVERY) == Err(RecvTimeoutError::Disconnected);
            let _ = file.read_to_end(&mut read);
            let whole = read.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
            for line in read.drain(..whole).collect::<Vec<u8>>().split(|b| *b == b'\n') {
                if let Some(words) = in_words(line) {
                    show(&(words + "\n"));
                }
            }
            if last {
                return;
            }
        }
    })?;
    Ok((stop, follower))
}

/// `12:30:01  GET /hello -> 200, 21 bytes in 0.4 ms (route hello)`.
fn in_words(line: &[u8]) -> Option<String> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    let time = text("ts").and_then(|ts| ts.get(11..19)).unwrap_or_default();
    let query = text("query").map(|q| format!("?{q}")).unwrap_or_default();
    let mut by = text("route").map_or("no route".to_owned(), |route| format!("route {route}"));
    if let Some(category) = text("category") {
        by += &format!(", {category}");
    }
    let printable = |s: &str| s.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    Some(printable(&format!(
        "{time}  {} {}{query} -> {}, {} bytes in {} ms ({by})",
        text("method")?,
        text("path")?,
        line.get("status")?,
        line.get("bytes_out")?,
        line.get("duration_ms")?,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, observe::stats::StatsRegistry, snapshot, upstream::Registry};

    #[test]
    fn the_embedded_configuration_is_valid_and_clean() {
        let stage = Stage::build().unwrap();
        let config = config::load(&stage.config).unwrap_or_else(|e| panic!("{e}"));
        let snap = snapshot::compile(&config, &Registry::new(), &StatsRegistry::default(), 1)
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(snap.warnings, [""; 0]);
        assert_eq!(snap.routes.len(), 3);
        let dir = stage.dir.clone();
        drop(stage);
        assert!(!dir.exists());
    }

    #[test]
    fn a_log_line_in_words() {
        let line = br#"{"ts":"2026-01-02T12:30:01.000000Z","method":"GET","path":"/a\u001b[2J","query":"b","route":"r","status":504,"category":"upstream_timeout","bytes_out":21,"duration_ms":0.400}"#;
        assert_eq!(
            in_words(line).unwrap(),
            "12:30:01  GET /a\u{fffd}[2J?b -> 504, 21 bytes in 0.4 ms (route r, upstream_timeout)"
        );
        assert_eq!(in_words(b"not json"), None);
    }
}
