//! The edge as a process: written config, start, readiness, signals, status, logs, and an end that leaves nothing behind.
use super::{Addr, Client, Driver, Metrics, Origin, PATIENCE, Pair, Protocol, Wire, eventually, not_run, tls};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_edge");

/// A configuration in the making, in a directory of its own.
pub struct Setup {
    driver: Driver,
    down: Protocol,
    dir: TempDir,
    server: BTreeMap<&'static str, String>,
    text: String,
    environment: Vec<(&'static str, String)>,
}

impl Setup {
    /// One shard, admin socket and access log in the directory, quick drain; the rest is up to [`Setup::text`].
    pub fn new(driver: Driver) -> Setup {
        let dir = tempfile::Builder::new().prefix("edge-e2e").tempdir().expect("a temporary directory");
        let quoted = |name: &str| format!("{:?}", dir.path().join(name));
        let server = BTreeMap::from([
            ("shards", "1".to_owned()),
            ("admin", format!("\"unix:{}\"", dir.path().join("admin.sock").display())),
            ("access_log", quoted("access.log")),
            ("lb_grace", "\"0s\"".to_owned()),
            ("drain_timeout", "\"10s\"".to_owned()),
            // Tests share the machine with others of their kind: turns are long though nobody is overloaded.
            ("protect", "{ lag = \"off\" }".to_owned()),
        ]);
        Setup { driver, down: Protocol::H1, dir, server, text: String::new(), environment: Vec::new() }
    }

    /// The driver and the downstream protocol of a pair; what is behind the listener is up to [`Setup::text`].
    pub fn over(at: Pair) -> Setup {
        Setup { down: at.down, ..Setup::new(at.driver) }
    }

    /// Everything that arrives at the listener `web` by the pair's downstream protocol goes to `origin`.
    pub fn pair(at: Pair, origin: &Origin) -> Setup {
        Setup::pair_with(at, origin, &Extra::default())
    }

    /// As [`Setup::pair`], with more keys.
    pub fn pair_with(at: Pair, origin: &Origin, extra: &Extra<'_>) -> Setup {
        Setup::over(at).text(&proxy_text_over(at.down, origin, extra))
    }

    /// Everything that arrives at the listener `web` goes to `origin`.
    pub fn proxy(driver: Driver, origin: &Origin) -> Setup {
        Setup::new(driver).text(&proxy_text(origin, &Extra::default()))
    }

    /// As [`Setup::proxy`], with more keys.
    pub fn proxy_with(driver: Driver, origin: &Origin, extra: &Extra) -> Setup {
        Setup::new(driver).text(&proxy_text(origin, extra))
    }

    /// A key of `[server]`, as TOML.
    pub fn server(mut self, key: &'static str, toml: &str) -> Setup {
        self.server.insert(key, toml.to_owned());
        self
    }

    /// So many shards.
    pub fn shards(self, count: usize) -> Setup {
        self.server("shards", &count.to_string())
    }

    /// More TOML behind `[server]`.
    pub fn text(mut self, toml: &str) -> Setup {
        self.text.push_str(toml);
        self.text.push('\n');
        self
    }

    /// An environment variable of the process.
    pub fn environment(mut self, key: &'static str, value: &str) -> Setup {
        self.environment.push((key, value.to_owned()));
        self
    }

    /// The directory for sockets and files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the file and returns its path.
    pub fn write(&self) -> PathBuf {
        let path = self.dir.path().join("edge.toml");
        // Where the text names one of the run's certificates, they are there.
        if self.text.contains("@DIR@/") {
            tls::write_defaults(self.dir.path());
        }
        let text = self.whole(&self.text);
        std::fs::write(&path, text).expect("the temporary directory takes files");
        path
    }

    fn whole(&self, text: &str) -> String {
        let mut out = "version = 1\n\n[server]\n".to_owned();
        for (key, value) in &self.server {
            let _ = writeln!(out, "{key} = {value}");
        }
        // "@DIR@" is the test's directory.
        out + "\n" + &text.replace("@DIR@", &self.dir.path().display().to_string())
    }

    /// Starts the edge and waits until it is ready.
    ///
    /// # Panics
    /// When it ends or stays silent instead.
    pub fn start(self) -> Edge {
        let config = self.write();
        let mut command = Command::new(BINARY);
        command.args(["run", "--config"]).arg(&config);
        for (key, value) in &self.environment {
            command.env(key, value);
        }
        let process = Process::start(command, self.driver);
        process.wait_stderr("ready", |line| line.contains("ready"));
        let edge = Edge { process, setup: self, config, web: OnceLock::new() };
        edge.check_driver();
        edge
    }
}

/// More keys for [`Setup::proxy_with`], as TOML lines.
#[derive(Default)]
pub struct Extra<'a> {
    /// In `[[listener]]`.
    pub listener: &'a str,
    /// In `[pool.app]`.
    pub pool: &'a str,
    /// In `[policy.api]`, which the route then uses.
    pub policy: &'a str,
    /// In the `[[route]]`.
    pub route: &'a str,
}

/// The key of a listener that lets it speak a protocol.
pub fn protocols_text(down: Protocol) -> &'static str {
    match down {
        Protocol::H1 => "",
        Protocol::H1Tls | Protocol::H2 | Protocol::H2c => "protocols = [\"h1\", \"h2\"]\n",
        Protocol::H3 => "protocols = [\"h1\", \"h2\", \"h3\"]\n",
    }
}

/// A listener on a free port that speaks a protocol, with more keys.
pub fn listener_text(name: &str, down: Protocol, keys: &str) -> String {
    let protocols = protocols_text(down);
    let tls = match down.tls() {
        true => "tls = { certificates = [{ cert = \"@DIR@/edge.pem\", key = \"@DIR@/edge.key\" }] }\n",
        false => "",
    };
    format!("[[listener]]\nname = \"{name}\"\naddress = [\"127.0.0.1:0\"]\n{protocols}{tls}{keys}\n\n")
}

/// A pool of these origins, with more keys.
pub fn pool_text(name: &str, origins: &[&Origin], keys: &str) -> String {
    let endpoints: Vec<String> = origins.iter().map(|o| o.endpoint()).collect();
    let own = origins.first().map(|o| o.pool_keys()).unwrap_or_default();
    // On a busy machine a handshake may take longer than any default allows for.
    let patience = if keys.contains("timeouts") { "" } else { "timeouts = { connect = \"20s\", tls = \"20s\" }\n" };
    format!("[pool.{name}]\nendpoints = [{}]\n{own}{patience}{keys}\n\n", endpoints.join(", "))
}

/// As [`proxy_text`], with a listener that speaks a protocol.
pub fn proxy_text_over(down: Protocol, origin: &Origin, extra: &Extra<'_>) -> String {
    let Extra { listener, pool, policy, route } = extra;
    let (section, key) = match policy.is_empty() {
        true => (String::new(), ""),
        false => (format!("[policy.api]\n{policy}\n\n"), "policy = \"api\""),
    };
    listener_text("web", down, listener)
        + &pool_text("app", &[origin], pool)
        + &section
        + &format!("[[route]]\nid = \"all\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"app\"\n{key}\n{route}\n")
}

/// One listener `web`, one pool `app`, one route `all`.
pub fn proxy_text(origin: &Origin, extra: &Extra<'_>) -> String {
    proxy_text_over(Protocol::H1, origin, extra)
}

/// Lines of an output, as they come.
#[derive(Clone, Default)]
struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The lines so far, and whether there will be no more.
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let shared = lines.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                shared.0.lines.lock().expect("collecting does not panic").0.push(text);
                shared.0.changed.notify_all();
                line.clear();
            }
            shared.0.lines.lock().expect("collecting does not panic").1 = true;
            shared.0.changed.notify_all();
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.0.lines.lock().expect("collecting does not panic").0.clone()
    }

    /// The first line from line `from` on that fits; `None` after the end or too long a wait.
    fn wait(&self, from: usize, fits: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut now = self.0.lines.lock().expect("collecting does not panic");
        loop {
            if let Some(line) = now.0.iter().skip(from).find(|l| fits(l)) {
                return Some(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if now.1 || left.is_zero() {
                return None;
            }
            now = self.0.changed.wait_timeout(now, left).expect("collecting does not panic").0;
        }
    }
}

/// A child process whose outputs are collected and which dies with this value.
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts it on a driver.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command, driver: Driver) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "1");
        for key in ["EDGE_CONFIG", "EDGE_ADMIN", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"] {
            command.env_remove(key);
        }
        let mut child = match driver {
            Driver::IoUring => command.spawn(),
            Driver::Epoll => spawn_without_io_uring(&mut command),
        }
        .expect("the binary starts");
        let stdout = Lines::of(child.stdout.take().expect("piped"));
        let stderr = Lines::of(child.stderr.take().expect("piped"));
        Process { pid: child.id(), child: Mutex::new(child), stdout, stderr }
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid as i32).expect("a process id is not 0");
        kill_process(pid, signal).expect("the process is there");
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// The first stderr line that fits.
    ///
    /// # Panics
    /// When none comes.
    pub fn wait_stderr(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.wait_stderr_from(0, what, fits)
    }

    /// The first stderr line from line `from` on that fits.
    ///
    /// # Panics
    /// When none comes.
    pub fn wait_stderr_from(&self, from: usize, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.stderr
            .wait(from, fits)
            .unwrap_or_else(|| panic!("no line on stderr: {what}; but:\n{}", self.stderr().join("\n")))
    }

    /// The first stdout line that fits.
    ///
    /// # Panics
    /// When none comes.
    pub fn wait_stdout(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.stdout
            .wait(0, fits)
            .unwrap_or_else(|| panic!("no line on stdout: {what}; but:\n{}", self.stdout().join("\n")))
    }

    /// All that it wrote to stdout and to stderr, once it has closed both.
    pub fn outputs(&self) -> (String, String) {
        for lines in [&self.stdout, &self.stderr] {
            lines.wait(0, |_| false);
        }
        (self.stdout().join("\n"), self.stderr().join("\n"))
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().expect("waiting does not panic").try_wait().expect("a child can be waited for")
    }

    /// Waits for its end and returns the exit code (128 + n for signal n).
    pub fn wait_exit(&self) -> i32 {
        eventually("the process to end", || {
            self.ended().map(|s| s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0)))
        })
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process is there");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("a VmRSS line");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ended = child.try_wait().ok().flatten();
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            let lines = self.stderr.all();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- process {} ({ended:?}) wrote to stderr:\n{}\n---", self.pid, tail.join("\n"));
        }
    }
}

/// A running edge.
pub struct Edge {
    process: Process,
    setup: Setup,
    config: PathBuf,
    web: OnceLock<Addr>,
}

impl std::ops::Deref for Edge {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Edge {
    /// Where the listener `web` is.
    pub fn addr(&self) -> Addr {
        self.listener("web").remove(0)
    }

    /// Where a listener is.
    ///
    /// # Panics
    /// When there is no such listener.
    pub fn listener(&self, name: &str) -> Vec<Addr> {
        self.find_listener(name).unwrap_or_else(|| panic!("no listener {name:?} in {}", self.status()))
    }

    /// Where a listener is, if there is one: its UDP sockets are where its other ones are, or all it has.
    pub fn find_listener(&self, name: &str) -> Option<Vec<Addr>> {
        let all = self.sockets(name)?;
        let (udp, other): (Vec<_>, Vec<_>) = all.iter().partition(|a| a.starts_with("udp:"));
        let udp = udp.into_iter().map(|a| &a["udp:".len()..]);
        let addresses: Vec<Addr> = match other.is_empty() {
            true => udp.map(Addr::parse).collect(),
            false => other.into_iter().map(|a| Addr::parse(a)).collect(),
        };
        Some(addresses).filter(|all| !all.is_empty())
    }

    /// Every socket of a listener as the status has it, those of UDP behind `udp:`; `None` when there is no such listener.
    pub fn sockets(&self, name: &str) -> Option<Vec<String>> {
        let status = self.status();
        let listeners = status["listeners"].as_array().cloned().unwrap_or_default();
        let found = listeners.into_iter().find(|l| l["name"] == name)?;
        Some(found["address"].as_array()?.iter().filter_map(|a| a.as_str()).map(str::to_owned).collect())
    }

    /// A new client connection to `web`.
    pub fn connect(&self) -> Wire {
        Wire::connect(&self.addr())
    }

    /// A new client of `web` by the downstream protocol of the setup.
    pub fn client(&self) -> Client {
        // Looked up once: a reload leaves a listener that stays where it is.
        Client::connect(self.setup.down, self.web.get_or_init(|| self.told_addr().unwrap_or_else(|| self.addr())))
    }

    /// Where the listener `web` is, by what the edge said when it was ready; cheaper than to ask.
    fn told_addr(&self) -> Option<Addr> {
        let lines = self.stderr();
        let (_, listening) = lines.iter().find(|l| l.contains(" ready: "))?.split_once("listening on ")?;
        let (all, _) = listening.split_once(';')?;
        let at = all.split(", ").find_map(|one| one.strip_suffix(" (web)"))?;
        at.parse().ok().map(Addr::Tcp)
    }

    /// What `edge status --json` says.
    ///
    /// # Panics
    /// When it fails or prints anything but JSON.
    pub fn status(&self) -> Value {
        let out = cli(&["status", "--json", "--admin", &self.admin()]);
        assert_eq!(out.code, 0, "edge status: {out:?}");
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("edge status --json: {e}: {out:?}"))
    }

    /// The version of the configuration in force.
    pub fn version(&self) -> u64 {
        self.status()["version"].as_u64().expect("a version number")
    }

    /// The admin address as the command line takes it.
    pub fn admin(&self) -> String {
        format!("unix:{}", self.setup.dir().join("admin.sock").display())
    }

    /// GETs from the admin listener.
    pub fn admin_get(&self, path: &str) -> super::Message {
        let mut wire = Wire::connect(&Addr::Unix(self.setup.dir().join("admin.sock")));
        wire.ask(format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"))
    }

    /// Every metric now.
    pub fn metrics(&self) -> Metrics {
        let answer = self.admin_get("/metrics");
        assert_eq!(answer.status(), 200, "{answer:?}");
        Metrics::parse(&answer.text())
    }

    /// The test's directory.
    pub fn dir(&self) -> &Path {
        self.setup.dir()
    }

    /// The config file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Replaces everything behind `[server]` in the config file, at once.
    pub fn rewrite(&self, text: &str) {
        let new = self.config.with_extension("new");
        std::fs::write(&new, self.setup.whole(text)).expect("the temporary directory takes files");
        std::fs::rename(&new, &self.config).expect("a rename within a directory");
    }

    /// `edge reload`.
    pub fn reload(&self) -> Output {
        cli(&["reload", "--admin", &self.admin()])
    }

    /// Lines of the access log so far, parsed.
    ///
    /// # Panics
    /// When a complete line is not a JSON object.
    pub fn log(&self) -> Vec<Value> {
        log_lines(&self.setup.dir().join("access.log"))
    }

    /// Waits for a log line that fits and returns it.
    pub fn wait_log(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("log line: {what}"), || self.log().into_iter().find(|l| fits(l)))
    }

    /// Waits for the log line of a request to this path.
    pub fn wait_log_path(&self, path: &str) -> Value {
        self.wait_log(path, |l| l["path"] == path)
    }

    /// Where the test believed to be on io_uring and is not, the run says so.
    fn check_driver(&self) {
        let forced = self.setup.environment.iter().any(|(key, _)| *key == "EDGE_DRIVER");
        let on_epoll = self.stderr().iter().any(|l| l.contains("epoll"));
        if self.setup.driver == Driver::IoUring && on_epoll && !forced {
            not_run("tests on io_uring: denied here, they ran on epoll");
        }
    }
}

/// Complete lines of an access log.
pub fn log_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |l: &str| serde_json::from_str(l).unwrap_or_else(|e| panic!("log line {l:?}: {e}"));
    complete.lines().map(parse).collect()
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// All of it.
    pub stdout: String,
    /// All of it.
    pub stderr: String,
}

/// Runs `edge` with these arguments to its end.
pub fn cli(args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args).env_remove("EDGE_CONFIG").env_remove("EDGE_ADMIN");
    run(command)
}

/// Runs a command to its end, bounded.
pub fn run(mut command: Command) -> Output {
    let what = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (out, err) = (read(Box::new(out)), read(Box::new(err)));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if begun.elapsed() > PATIENCE * 2 {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{what} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Output {
        code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: out.join().expect("reading does not panic"),
        stderr: err.join().expect("reading does not panic"),
    }
}

/// Spawns under a seccomp filter that lets everything through but `io_uring_setup`. A filter belongs to a thread and is
/// inherited by what it starts, so a thread of its own puts it on and ends.
fn spawn_without_io_uring(command: &mut Command) -> std::io::Result<Child> {
    std::thread::scope(|s| {
        let spawning = s.spawn(|| {
            seccompiler::apply_filter(filter()).expect("a thread may deny itself a system call");
            command.spawn()
        });
        spawning.join().expect("spawning does not panic")
    })
}

fn filter() -> &'static seccompiler::BpfProgram {
    use seccompiler::{SeccompAction, SeccompFilter};
    /// The same number on every architecture.
    const IO_URING_SETUP: i64 = 425;
    /// `EPERM`, as Docker's default profile answers.
    const EPERM: u32 = 1;
    static FILTER: OnceLock<seccompiler::BpfProgram> = OnceLock::new();
    FILTER.get_or_init(|| {
        let arch = std::env::consts::ARCH.try_into().expect("an architecture with seccomp");
        let rules = BTreeMap::from([(IO_URING_SETUP, Vec::new())]);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM), arch);
        filter.and_then(TryInto::try_into).expect("a filter of one rule")
    })
}
