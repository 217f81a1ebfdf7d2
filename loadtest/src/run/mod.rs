//! One run: shards are started, warmed up, measured, and stopped; what they report becomes the result.
mod gather;
mod log;
mod share;
#[cfg(test)]
mod tests;
mod thread;

use crate::{
    check::{Facts, verdict},
    client::{Span, connect, tls},
    plan::{Arrivals, Exchange, Load, Plan, Protocol},
    record::{Asked, Outcome, Progress, SCHEMA, ShardUse},
    report::env,
};
use edge_io::{clock::monotonic_us, cores, nofile, ring, runtime};
use gather::Gather;
pub use log::{EachSecond, LoggedSecond};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};
use thread::{End, GRACE_MAX, Job, Report};

/// From here on the load begins: threads have to be there by then. And so much more for each of them.
const LEAD_US: u64 = 20_000;
/// See [`LEAD_US`].
const LEAD_OF_SHARD_US: u64 = 2_000;
/// Reports that wait for the coordinator, for each shard. With more it is not asked in time, and seconds are joined.
const REPORTS: usize = 4;
/// How often the watcher is told.
const WATCH: Duration = Duration::from_millis(250);
/// Shards have to say their last word so long after the last answer may come.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Lateness above which a request slipped, µs.
const SLIP_US: u64 = 1_000;

/// Why there was no run.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error(text)
    }
}

/// Runs the plan on threads of its own and waits for its end. `watch` is told how far it has come, a few times a second,
/// on the calling thread. Once `stop` is set it ends within some milliseconds, with what it has.
///
/// # Errors
/// Nothing was measured: what is missing, in a sentence.
pub fn run(plan: Plan, watch: &mut dyn FnMut(&Progress), stop: &Arc<AtomicBool>) -> Result<Outcome, Error> {
    run_logged(plan, watch, stop, None)
}

/// As [`run`]; `log` is told the response times of each second, in order, once nothing more comes to it. Together they are
/// the response times of the result.
///
/// # Errors
/// As [`run`].
pub fn run_logged(
    plan: Plan,
    watch: &mut dyn FnMut(&Progress),
    stop: &Arc<AtomicBool>,
    log: Option<&mut EachSecond<'_>>,
) -> Result<Outcome, Error> {
    let _ = nofile::raise(); // running out of them is counted, by kind
    let command: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let environment = env::environment(env!("CARGO_PKG_VERSION"), &command);
    let plan = Arc::new(plan);
    let used: Vec<usize> = plan.cores.iter().copied().take(plan.connections).collect();
    if used.is_empty() {
        return Err(Error("there is no core and no connection to run with".to_owned()));
    }
    let lead = LEAD_US + LEAD_OF_SHARD_US * used.len() as u64;
    let begin_us = monotonic_us() + lead;
    let start_us = begin_us + micros(plan.warmup);
    let span = Span { begin_us, start_us, end_us: start_us.saturating_add(micros(plan.duration)) };
    let mut threads = Threads::start(&plan, span, &used, stop)?;
    let started = SystemTime::now() + Duration::from_micros(start_us.saturating_sub(monotonic_us()));
    let log = log::Log::new(log.map(|log| log as &mut EachSecond<'_>), started);
    let mut gather = Gather::new(&plan, span, std::mem::take(&mut threads.empties), log);
    threads.gather(&mut gather, watch, span.end_us + micros(plan.timeout.min(GRACE_MAX)) + micros(LAST_WORD))?;
    let (seconds, server_cpu_us) = gather.finish();
    let interrupted = stop.load(Ordering::Relaxed) && ended_early(&gather, span);
    let Gather { totals, mut ends, .. } = gather;
    ends.sort_by_key(|end| end.shard);
    let (counts, times, series) = totals.finish();
    let generator: Vec<ShardUse> =
        ends.iter().map(|end| shard_use(end, used.get(end.shard).copied().unwrap_or_default())).collect();
    let panics = ends.iter().map(|end| end.panics).sum();
    let share = cores::quota().map_or(1.0, |quota| (quota as f64 / used.len() as f64).min(1.0));
    let verdict = verdict(&Facts { shards: &generator, seconds, share, counts: &counts, panics });
    Ok(Outcome {
        schema: SCHEMA,
        environment,
        asked: asked(&plan, used, &ends),
        verdict,
        seconds,
        counts,
        times,
        series,
        generator,
        server_cpu_us,
        interrupted,
    })
}

fn ended_early(gather: &Gather<'_>, span: Span) -> bool {
    gather.ends.iter().any(|end| end.ended_us < span.end_us)
}

/// The shards' threads. Dropping it stops them.
struct Threads {
    handles: Vec<JoinHandle<()>>,
    reports: std::sync::mpsc::Receiver<Report>,
    empties: Vec<std::sync::mpsc::SyncSender<Box<crate::record::Interval>>>,
    /// The run's own: set once the user's is, or when the run fails. The user's flag is not ours to set: the next run would
    /// find it.
    stop: Arc<AtomicBool>,
    user: Arc<AtomicBool>,
}

impl Threads {
    fn start(plan: &Arc<Plan>, span: Span, used: &[usize], stop: &Arc<AtomicBool>) -> Result<Threads, Error> {
        let shares = share::share(plan, used.len(), span.begin_us)?;
        let secure = plan.origins.iter().any(|origin| origin.secure);
        // Without TLS no authorities are read: there may be none.
        let wanted = if secure { plan.tls.clone() } else { crate::plan::Tls { insecure: true, ..plan.tls.clone() } };
        let config = tls::config(&wanted, connect::alpn(plan))?;
        let (driver, _) = ring::choose().map_err(|e| Error(format!("the generator's threads cannot be made: {e}")))?;
        let (tell, reports) = sync_channel(REPORTS * used.len());
        let own = Arc::new(AtomicBool::new(false));
        let mut threads =
            Threads { handles: Vec::new(), reports, empties: Vec::new(), stop: own.clone(), user: stop.clone() };
        for (shard, (core, share)) in used.iter().zip(shares).enumerate() {
            let (back, empties) = sync_channel(REPORTS);
            threads.empties.push(back);
            let mut config = config.clone();
            config.resumption = tls::sessions(&plan.tls);
            let job = Job {
                plan: plan.clone(),
                span,
                share,
                tls: Arc::new(config),
                stop: own.clone(),
                reports: tell.clone(),
                empties,
            };
            let started = runtime::spawn_shard(shard, Some(*core), driver, move |local| thread::run(local, job));
            threads.handles.push(started.map_err(|e| Error(format!("a thread of the generator cannot be made: {e}")))?);
        }
        Ok(threads)
    }

    /// Merges reports until every shard has said its last word.
    fn gather(&self, gather: &mut Gather<'_>, watch: &mut dyn FnMut(&Progress), latest_us: u64) -> Result<(), Error> {
        let mut watched = 0;
        while gather.ends.len() < self.handles.len() {
            let now = monotonic_us();
            if self.user.load(Ordering::Relaxed) {
                self.stop.store(true, Ordering::Relaxed);
            }
            if now >= gather.start_us() {
                gather.begin();
            }
            if now >= watched + micros(WATCH) {
                watched = now;
                watch(&gather.progress(now));
            }
            // Before the channel is asked: who ended has sent what it had to say.
            let ended = self.handles.iter().filter(|handle| handle.is_finished()).count();
            match self.reports.recv_timeout(WATCH / 5) {
                Ok(report) => gather.take(report),
                Err(RecvTimeoutError::Timeout) if ended <= gather.ends.len() && now < latest_us => {}
                Err(RecvTimeoutError::Timeout) if ended <= gather.ends.len() => {
                    return Err(Error("a thread of the generator does not end".to_owned()));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(Error("a thread of the generator ended before its time".to_owned()));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let running = self.handles.iter().any(|handle| !handle.is_finished());
        if running {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.handles.drain(..).for_each(|handle| {
            let _ = handle.join();
        });
    }
}

fn shard_use(end: &End, core: usize) -> ShardUse {
    let of = |h: &hdrhistogram::Histogram<u64>| (h.value_at_quantile(0.5), h.value_at_quantile(0.99), h.max());
    let (lag, slip) = (&end.health.lag, &end.health.slip);
    let late = slip.len() - slip.count_between(0, SLIP_US);
    ShardUse {
        core,
        cpu_us: end.used.cpu_us,
        waited_us: end.used.waited_us,
        lag: of(lag),
        slip: (!slip.is_empty()).then(|| of(slip)),
        slipped: if slip.is_empty() { 0.0 } else { late as f64 / slip.len() as f64 },
    }
}

fn asked(plan: &Plan, cores: Vec<usize>, ends: &[End]) -> Asked {
    let origin = plan.origins.first();
    let request = origin.and_then(|origin| origin.requests.first());
    let scheme = origin.map_or("http", |origin| if origin.secure { "https" } else { "http" });
    let authority = origin.map_or("", |origin| &origin.authority);
    let (rate, arrivals) = match plan.load {
        Load::Closed => (None, None),
        Load::Open { rate, arrivals } => (Some(rate), Some(arrivals)),
    };
    let arrivals = arrivals.map(|arrivals| match arrivals {
        Arrivals::Constant => "constant".to_owned(),
        Arrivals::Poisson => "poisson".to_owned(),
    });
    Asked {
        url: env::hide_url(&format!("{scheme}://{authority}{}", request.map_or("", |request| &request.target))),
        urls: plan.origins.iter().map(|origin| origin.requests.len()).sum(),
        protocol: protocols(plan, ends),
        exchange: match plan.exchange {
            Exchange::Requests => "requests".to_owned(),
            Exchange::WebSocket { .. } => "websocket".to_owned(),
            Exchange::Events => "events".to_owned(),
        },
        rate,
        arrivals,
        connections: plan.connections,
        streams: plan.streams,
        warmup: plan.warmup.as_secs_f64(),
        cores,
        seed: plan.seed,
    }
}

/// What was spoken; what was asked for, where no connection came about.
fn protocols(plan: &Plan, ends: &[End]) -> Vec<String> {
    let (h1, h2) = ends.iter().fold((false, false), |(h1, h2), end| (h1 || end.spoken.0, h2 || end.spoken.1));
    let names: &[&str] = match (plan.protocol, h1, h2) {
        (Protocol::H3, ..) => &["h3"],
        (_, true, true) => &["h1", "h2"],
        (_, _, true) | (Protocol::H2, ..) => &["h2"],
        _ => &["h1"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4)
}
