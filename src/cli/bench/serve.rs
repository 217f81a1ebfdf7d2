//! `edge bench serve`: the scripted origin, for tests, documentation, and whoever wants to know a generator's figures
//! beforehand.
use crate::cli::{exit, fail, show};
use clap::Args;
use edge_io::nofile;
use edge_loadtest::origin::{
    Address, Options, Running, Stats, Tls,
    script::{
        self, CONCURRENCY_MAX, Delay, Fault, Faults, HEADERS_MAX, Mistake, PauseEvery, QUEUE, QUEUE_MAX, Rate, Script,
        Size, StallAt, Stalls, StatusMix,
    },
};
use std::{
    fmt::Write as _,
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

/// A thread for each at most.
const CORES_MAX: usize = 256;

pub(super) const EXAMPLES: &str = "Examples:\n  \
    edge bench serve\n  \
    edge bench serve :8080 --size 1k-64k --delay 5ms±2ms --status 503=1%\n  \
    edge bench serve 8443 --h3 --delay p50=5ms,p99=50ms      HTTP/1.1, HTTP/2 and HTTP/3, self-signed\n  \
    edge bench serve 8080 --capacity 5000/s                  a limit for `edge bench search` to find\n  \
    edge bench serve 8080 --stall-at 3s,1s                   a stall for an open loop to show\n  \
    edge bench serve unix:/tmp/origin.sock --close 1% --reset 1% --truncate 1%\n\n\
    A request may ask for something else: ?size=64k&delay=20ms&status=503&chunk=4k&chunk-delay=1ms&fault=reset\n\
    /events?interval=100ms&count=10 sends events, and every upgrade is a WebSocket that echoes.\n\n\
    Do not let strangers reach it: it does what a query asks for.";

/// What `edge bench serve` is asked.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen: 127.0.0.1:8080, [::1]:8080, :8080 (all of IPv4), 8080 (loopback), unix:/path. Port 0 takes a free one
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    addresses: Vec<Address>,

    /// Bytes of an answer: 300, 64k, or any of 1k-64k
    #[arg(long, value_name = "SIZE", default_value = "1k", help_heading = "Answers")]
    size: Size,
    /// From request to answer: 5ms, 5ms±2ms (or 5ms+-2ms), 1ms-9ms, exp:5ms (mean), lognormal:5ms,0.5 (median, shape),
    /// p50=5ms,p99=50ms
    #[arg(long, value_name = "DELAY", default_value = "0", help_heading = "Answers")]
    delay: Delay,
    /// Statuses and their shares, the rest is 200: 503, 503=1%, 5xx=1%,404=0.5%
    #[arg(long, value_name = "STATUS=SHARE", help_heading = "Answers")]
    status: Vec<StatusMix>,
    /// Send bodies in pieces of this size, without their length (chunked, over HTTP/1.1)
    #[arg(long, value_name = "SIZE", value_parser = script::piece, help_heading = "Answers")]
    chunk: Option<NonZeroUsize>,
    /// Wait between two pieces
    #[arg(long, value_name = "TIME", value_parser = script::duration, requires = "chunk", default_value = "0", help_heading = "Answers")]
    chunk_delay: Duration,
    /// Fields beside the usual ones
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=i64::from(HEADERS_MAX)), help_heading = "Answers")]
    headers: u16,
    /// Send an event each so long, on every path, and say in it when
    #[arg(long, value_name = "TIME", value_parser = script::interval, help_heading = "Answers")]
    sse: Option<Duration>,
    /// Tell each request what it looked like, as `edge demo` does, instead
    #[arg(long, help_heading = "Answers")]
    echo: bool,
    /// Of all that is left to chance: the same seed, the same answers
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Answers")]
    seed: u64,

    /// Begin at most so many requests a second; the others wait
    #[arg(long, value_name = "RATE", help_heading = "Limits")]
    capacity: Option<Rate>,
    /// Serve at most so many requests at a time, each for its delay; the others wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=CONCURRENCY_MAX as u64), help_heading = "Limits")]
    concurrency: Option<u64>,
    /// How many may wait for the two before; one more is answered 503
    #[arg(long, value_name = "N", default_value_t = QUEUE as u64, value_parser = clap::value_parser!(u64).range(..=QUEUE_MAX as u64), help_heading = "Limits")]
    queue: u64,
    /// Answer nothing from so long after the start, for so long: 3s,1s
    #[arg(long, value_name = "FROM,LONG", conflicts_with = "pause_every", help_heading = "Limits")]
    stall_at: Vec<StallAt>,
    /// Answer nothing at the end of each such time, for so long: 10s=1s
    #[arg(long, value_name = "EVERY=LONG", help_heading = "Limits")]
    pause_every: Option<PauseEvery>,

    /// Share of requests whose connection is closed instead of an answer
    #[arg(long, value_name = "SHARE", value_parser = script::share, default_value = "0%", help_heading = "Faults")]
    close: f64,
    /// … that are reset: over HTTP/1.1 the connection, else the stream
    #[arg(long, value_name = "SHARE", value_parser = script::share, default_value = "0%", help_heading = "Faults")]
    reset: f64,
    /// … whose answer ends in its middle
    #[arg(long, value_name = "SHARE", value_parser = script::share, default_value = "0%", help_heading = "Faults")]
    truncate: f64,
    /// … whose answer is no HTTP
    #[arg(long, value_name = "SHARE", value_parser = script::share, default_value = "0%", help_heading = "Faults")]
    garbage: f64,
    /// … that are never answered
    #[arg(long, value_name = "SHARE", value_parser = script::share, default_value = "0%", help_heading = "Faults")]
    stall: f64,

    /// Speak HTTP/1.1, and not HTTP/2 unless asked to
    #[arg(long, help_heading = "Sockets")]
    h1: bool,
    /// Speak HTTP/2, and not HTTP/1.1 unless asked to; without TLS by prior knowledge
    #[arg(long, help_heading = "Sockets")]
    h2: bool,
    /// Speak HTTP/3 too, on the UDP ports of the same numbers; with TLS everywhere
    #[arg(long, help_heading = "Sockets")]
    h3: bool,
    /// TLS, with a certificate that nobody vouches for unless --cert gives another
    #[arg(long, help_heading = "Sockets")]
    tls: bool,
    /// The certificate and its chain, PEM
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "Sockets")]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Sockets")]
    key: Option<PathBuf>,
    /// Threads that share each address; HTTP/3 has as many again [default: one, or one for each of --cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=CORES_MAX as i64), help_heading = "Sockets")]
    threads: Option<u16>,
    /// Pin the threads to these cores, in turn: 0,2-3
    #[arg(long, value_name = "LIST", value_parser = cores, help_heading = "Sockets")]
    cores: Option<Cores>,
}

/// Cores in the order in which threads are pinned to them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cores(Vec<usize>);

/// `0,2-3`.
fn cores(text: &str) -> Result<Cores, String> {
    let wrong = || format!("`{text}` is no list of cores: numbers and ranges are expected, as in 0,2-3");
    let mut all = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (usize, usize) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
        if from > to || to - from >= CORES_MAX || all.len() >= CORES_MAX {
            return Err(wrong());
        }
        all.extend(from..=to);
    }
    Ok(Cores(all))
}

/// Serves until SIGINT or SIGTERM.
pub(super) fn run(args: Serve) -> ExitCode {
    let options = match options(args) {
        Ok(options) => options,
        Err(mistake) => return fail(exit::USAGE, &mistake.0),
    };
    // With fewer descriptors there are fewer connections, and that is seen soon enough.
    let _ = nofile::raise();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(exit::RUNTIME, &e.to_string()),
    };
    runtime.block_on(async {
        // Before anybody is told that it serves: whoever ends it then gets its figures.
        let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        let (mut term, mut int) = match signals {
            Ok(both) => both,
            Err(e) => return fail(exit::RUNTIME, &format!("signals: {e}")),
        };
        let shown = options.clone();
        let running = match edge_loadtest::origin::Serve::start(options) {
            Ok(running) => running,
            Err(e) => return fail(exit::RUNTIME, &e.to_string()),
        };
        show(&introduction(&shown, &running));
        let begun = Instant::now();
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        show(&figures(&running.stats(), begun.elapsed()));
        ExitCode::SUCCESS
    })
}

fn options(args: Serve) -> Result<Options, Mistake> {
    let tls = match (args.cert.clone(), args.key.clone()) {
        (Some(certificate), Some(key)) => Some(Tls::Files { certificate, key }),
        _ => (args.tls || args.h3).then_some(Tls::SelfSigned),
    };
    let either = args.h1 || args.h2;
    let cores = args.cores.clone().map_or_else(Vec::new, |cores| cores.0);
    Ok(Options {
        tls,
        h1: args.h1 || !either,
        h2: args.h2 || !either,
        h3: args.h3,
        threads: args.threads.map_or(cores.len().max(1), usize::from),
        cores,
        listen: args.addresses.clone(),
        script: script(args)?,
    })
}

fn script(args: Serve) -> Result<Script, Mistake> {
    let mut stalls = Stalls::default();
    for StallAt(from, long) in args.stall_at {
        stalls = stalls.at(from, long)?;
    }
    if let Some(PauseEvery(period, long)) = args.pause_every {
        stalls = stalls.every(period, long)?;
    }
    Ok(Script {
        size: args.size,
        delay: args.delay,
        status: args.status.into_iter().try_fold(StatusMix::default(), StatusMix::and)?,
        chunk: args.chunk,
        chunk_delay: args.chunk_delay,
        faults: Faults::new([args.close, args.reset, args.truncate, args.garbage, args.stall])?,
        headers: args.headers,
        capacity: args.capacity,
        concurrency: args.concurrency.and_then(|n| NonZeroUsize::new(usize::try_from(n).ok()?)),
        queue: usize::try_from(args.queue).unwrap_or(QUEUE_MAX),
        stalls,
        events: args.sse,
        seed: args.seed,
        echo: args.echo,
    })
}

/// What it serves, and what to try.
fn introduction(options: &Options, running: &Running) -> String {
    let mut spoken = Vec::new();
    for (speaks, name) in [(options.h1, "HTTP/1.1"), (options.h2, "HTTP/2"), (options.h3, "HTTP/3")] {
        if speaks {
            spoken.push(name);
        }
    }
    let secure = options.tls.is_some();
    let scheme = if secure { "https" } else { "http" };
    let flags = if matches!(options.tls, Some(Tls::SelfSigned)) { "-k " } else { "" };
    let mut text = format!("edge bench serve, {}:\n", spoken.join(", "));
    let mut first = None;
    for address in running.addresses() {
        let (curl, url) = match address {
            Address::Ip(addr) => {
                let mut addr = *addr;
                if addr.ip().is_unspecified() {
                    addr.set_ip(if addr.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() });
                }
                (format!("curl {flags}"), format!("{scheme}://{addr}"))
            }
            Address::Unix(path) => {
                (format!("curl {flags}--unix-socket {} ", path.display()), format!("{scheme}://origin"))
            }
        };
        let _ = writeln!(text, "  {address}");
        first.get_or_insert((curl, url));
    }
    if let Some((curl, url)) = first {
        let prior = if options.h1 || secure { "" } else { "--http2-prior-knowledge " };
        let curl = format!("{curl}{prior}");
        let _ = write!(
            text,
            "\nTry, in another terminal:\n  {curl}-i {url}/\n  {curl}-i '{url}/?size=300&delay=500ms&status=503'\n  \
             {curl}-N '{url}/events?interval=200ms&count=10'\n"
        );
        if options.h3 {
            let _ = writeln!(text, "  {curl}-i --http3-only {url}/      where curl was built with it");
        }
    }
    text + "\nCtrl-C ends it.\n"
}

/// What it has seen.
fn figures(stats: &Stats, time: Duration) -> String {
    let mut text =
        format!("\n{} requests on {} connections in {:.1} s", stats.requests, stats.connections, time.as_secs_f64());
    let faults = Fault::ALL.map(|fault| (fault.as_str(), stats.fault(fault)));
    let others = [
        ("connections not served", stats.not_served),
        ("refused (503)", stats.refused),
        ("WebSocket messages", stats.messages),
        ("events", stats.events),
    ];
    for (what, count) in others.into_iter().chain(faults).filter(|(_, count)| *count > 0) {
        let _ = write!(text, ", {what}: {count}");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }

    fn parse(words: &[&str]) -> Result<Options, String> {
        let line = Line::try_parse_from([&["serve"], words].concat()).map_err(|e| e.to_string())?;
        options(line.serve).map_err(|mistake| mistake.0)
    }

    #[test]
    fn everything_at_once() {
        let words = "8080 unix:/tmp/x --size 1k-2k --delay 5ms±2ms --status 503=1% --status 404=2% --chunk 4k --chunk-delay \
                     1ms --headers 3 --seed 9 --capacity 5k/s --concurrency 7 --queue 70 --stall-at 3s,1s --stall-at \
                     9s,1s --close 1% --stall 2% --h2 --h3 --cores 0,2-3";
        let options = parse(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
        let second = Duration::from_secs(1);
        let wanted = Script {
            size: "1k-2k".parse().unwrap(),
            delay: "3ms-7ms".parse().unwrap(),
            status: "503=1%,404=2%".parse().unwrap(),
            chunk: NonZeroUsize::new(4096),
            chunk_delay: Duration::from_millis(1),
            faults: Faults::new([0.01, 0.0, 0.0, 0.0, 0.02]).unwrap(),
            headers: 3,
            capacity: Rate::new(5000.0),
            concurrency: NonZeroUsize::new(7),
            queue: 70,
            stalls: Stalls::default().at(3 * second, second).unwrap().at(9 * second, second).unwrap(),
            seed: 9,
            ..Script::default()
        };
        assert_eq!(options.script, wanted);
        assert_eq!((options.h1, options.h2, options.h3, options.threads), (false, true, true, 3));
        assert_eq!((options.tls, options.cores), (Some(Tls::SelfSigned), vec![0, 2, 3]));
        assert_eq!(options.listen, ["8080", "unix:/tmp/x"].map(|a| a.parse().unwrap()));
    }

    #[test]
    fn nothing_at_all_is_a_plain_origin() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.script, Script::default());
        assert_eq!((options.h1, options.h2, options.h3, options.tls, options.threads), (true, true, false, None, 1));
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (words, part) in [
            (&["--delay", "soon"][..], "5ms±2ms"),
            (&["--status", "503=2"], "as in 0.5%"),
            (&["--status", "503=60%", "--status", "500=60%"], "more than 100%"),
            (&["--close", "60%", "--reset", "60%"], "more than 100%"),
            (&["--size", "2g"], "largest answer"),
            (&["--cores", "3-1"], "as in 0,2-3"),
            (&["--pause-every", "1s=1s"], "no time to work"),
            (&["--pause-every", "9s=1s", "--stall-at", "1s,1s"], "cannot be used with"),
            (&["--cert", "x"], "--key"),
            (&["nowhere"], "127.0.0.1:8080"),
        ] {
            let mistake = parse(words).unwrap_err();
            assert!(mistake.contains(part), "{words:?}: {mistake}");
        }
    }

    #[test]
    fn the_figures_leave_out_what_did_not_happen() {
        let stats = Stats { requests: 12, connections: 3, faults: [0, 4, 0, 0, 0], ..Stats::default() };
        assert_eq!(figures(&stats, Duration::from_millis(1500)), "\n12 requests on 3 connections in 1.5 s, reset: 4\n");
    }
}
