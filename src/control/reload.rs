//! From a source to a snapshot that every shard serves, or to the reasons why not. Nothing changes before all that can
//! fail has been tried.
use super::{
    Control, broadcast,
    notify::{State, notify},
};
use crate::{
    admin::view::{Outcome, Reload},
    config::{self, Config},
    observe::{
        access_log::{Handle, Target},
        notice,
        stats::ApplyResult,
    },
    route::Router,
    snapshot::{self, AccessLogTarget, ListenerRule, Snapshot},
};
use std::{
    path::PathBuf,
    sync::{Arc, Weak, mpsc},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Retired configurations that may still be in use, each pinned by some long request.
pub const RETIRED_MAX: usize = 8;
/// Reloads that may wait for the one being applied.
const WAITING_MAX: usize = 8;
/// How long opening the access log may take: it waits for what is being written to the old one.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, read anew for each reload.
    File(PathBuf),
    /// A text made from the command line.
    Text {
        /// The option it came from.
        name: &'static str,
        /// TOML.
        text: String,
    },
}

impl Source {
    /// Reads and checks it. Returns everything that is wrong with it, as `edge validate` shows it.
    pub fn load(&self) -> Result<Config, String> {
        match self {
            Source::File(path) => config::load(path),
            Source::Text { name, text } => config::parse(text, name.as_ref()),
        }
        .map_err(|report| report.to_string())
    }
}

/// Runs `work` on a thread of its own: what it allocates on the way goes back to the system with the thread, and the
/// control thread goes on meanwhile. `None` when it panicked.
pub fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    let spawned = std::thread::Builder::new().name("compile".into()).spawn(move || drop(done.send(work())));
    // Without a thread the sender is dropped, and the receiver says so.
    drop(spawned);
    result
}

/// What keeps a configuration from being applied.
struct Refusal(Outcome, String);

impl Control {
    /// Reads the configuration again and applies it. Reloads happen one after the other.
    pub async fn reload(&self) -> Reload {
        self.apply(None).await
    }

    /// Applies a configuration that was read already: the first one.
    pub async fn apply_first(&self, config: Config) -> Reload {
        self.apply(Some(config)).await
    }

    async fn apply(&self, config: Option<Config>) -> Reload {
        if self.waiting.get() >= WAITING_MAX {
            return self.refused(Refusal(Outcome::Busy, format!("{WAITING_MAX} reloads are waiting already")));
        }
        self.waiting.set(self.waiting.get() + 1);
        let turn = self.turn.lock().await;
        self.waiting.set(self.waiting.get() - 1);
        let start = Instant::now();
        if self.state.borrow().current.is_some() && !self.state.borrow().draining {
            notify(State::Reloading);
        }
        let reload = match self.try_apply(config).await {
            Ok(reload) => reload,
            Err(refusal) => self.refused(refusal),
        };
        self.follow_current();
        drop(turn);
        self.tell_certificates();
        self.watch_anew.notify_one();
        // Ready again, whether with the new configuration or still with the old one; the first time, if there is one.
        if reload.version > 0 && !self.state.borrow().draining {
            notify(State::Ready);
        }
        if let Some(result) = counted(reload.outcome) {
            self.stats.control.applied(result, start.elapsed());
        }
        self.tell(&reload, start.elapsed());
        reload
    }

    async fn try_apply(&self, config: Option<Config>) -> Result<Reload, Refusal> {
        self.check_pressure()?;
        let new = Arc::new(self.with_first_answers(self.compile(config).await?).await);
        let old = self.state.borrow().current.clone();
        let plan = self.state.borrow().sockets.plan(&new, self.shards.len());
        let plan = plan.map_err(|errors| Refusal(Outcome::BindFailed, errors.join("\n")))?;
        self.retarget_log(old.as_deref(), &new).await?;
        // From here on nothing can be refused.
        let answers = broadcast::adopt(&self.shards, &new, plan.per_shard, broadcast::ACK_TIMEOUT).await;
        let diff = old.as_deref().map_or("first configuration".to_owned(), |old| snapshot::diff(old, &new).to_string());
        let mut warnings = new.warnings.clone();
        let udp_stays = plan.sockets.any_udp() && self.state.borrow().sockets.any_udp();
        warnings.extend(old.as_deref().into_iter().flat_map(|old| needs_restart(old, &new, udp_stays)));
        warnings.extend(plan.warnings);
        let version = new.version;
        self.stats.control.set_config(version, &new.source);
        let mut state = self.state.borrow_mut();
        if !state.draining {
            state.sockets = plan.sockets;
        }
        state.retired.extend(old.as_ref().map(|old| (old.version, Arc::downgrade(&old.router))));
        state.current = Some(new);
        let mut reload = Reload::new(Outcome::Applied, version, diff);
        if !answers.silent.is_empty() {
            reload = Reload::new(Outcome::Timeout, version, shards_silent(&answers.silent));
        }
        warnings.extend(answers.errors);
        Ok(Reload { warnings, ..reload })
    }

    /// A request pins its snapshot for its whole life. If many long ones pin many old snapshots, memory would grow with
    /// every reload, so at some point there is no other one.
    fn check_pressure(&self) -> Result<(), Refusal> {
        let mut state = self.state.borrow_mut();
        if state.draining {
            return Err(Refusal(Outcome::Draining, "no configuration is applied any more".to_owned()));
        }
        // Snapshots that differ in the addresses of names alone share their router, and count as one.
        state.retired.retain(|(_, old): &(u64, Weak<Router>)| old.strong_count() > 0);
        if state.retired.len() < RETIRED_MAX {
            return Ok(());
        }
        let versions: Vec<u64> = state.retired.iter().map(|(version, _)| *version).collect();
        Err(Refusal(
            Outcome::ConfigPressure,
            format!("requests that began under versions {versions:?} are still running; try again when they are done"),
        ))
    }

    async fn compile(&self, config: Option<Config>) -> Result<Snapshot, Refusal> {
        let version = self.state.borrow().current.as_ref().map_or(0, |current| current.version) + 1;
        let (source, registry, stats) = (self.source.clone(), self.registry.clone(), self.stats.clone());
        let work = move || {
            let config = config.map_or_else(|| source.load(), Ok)?;
            snapshot::compile(&config, &registry, &stats, version).map_err(|report| report.to_string())
        };
        let invalid = |report| Refusal(Outcome::Invalid, report);
        aside(work)
            .await
            .map_err(|_| invalid("the compiler of the configuration failed; this is a bug".to_owned()))?
            .map_err(invalid)
    }

    /// Opens the access log of the new configuration, if it is another one.
    async fn retarget_log(&self, old: Option<&Snapshot>, new: &Snapshot) -> Result<(), Refusal> {
        if old.is_none_or(|old| old.server.access_log == new.server.access_log) {
            return Ok(()); // the first one's was opened at the start
        }
        let opened = wait(self.log.retarget(log_target(&new.server.access_log))).await;
        let failed = |why: String| Refusal(Outcome::BindFailed, format!("access_log: {why}"));
        match opened {
            Some(Ok(())) => Ok(()),
            Some(Err(e)) => Err(failed(e.to_string())),
            None => Err(failed("the log thread does not answer; its target may be blocked".to_owned())),
        }
    }

    fn refused(&self, Refusal(outcome, detail): Refusal) -> Reload {
        let version = self.state.borrow().current.as_ref().map_or(0, |current| current.version);
        Reload::new(outcome, version, detail)
    }

    fn tell(&self, reload: &Reload, took: Duration) {
        for warning in &reload.warnings {
            notice(format_args!("warning: {warning}"));
        }
        match reload.outcome {
            Outcome::Applied if reload.version == 1 => {}
            Outcome::Applied => {
                let ms = took.as_secs_f64() * 1e3;
                notice(format_args!("configuration {} applied in {ms:.1} ms: {}", reload.version, reload.detail));
            }
            Outcome::Timeout => notice(format_args!("configuration {}: {}", reload.version, reload.detail)),
            _ => notice(format_args!(
                "configuration {} stays: {}\n{}",
                reload.version,
                reload.title,
                reload.detail.trim_end()
            )),
        }
    }
}

/// Says which shards have not answered.
pub(super) fn shards_silent(silent: &[usize]) -> String {
    format!("shards that have not acknowledged yet: {silent:?}")
}

/// Waits for the log thread without holding up the control thread. `None` when it does not answer.
pub(super) async fn wait<T: Send + 'static>(answer: mpsc::Receiver<T>) -> Option<T> {
    aside(move || answer.recv_timeout(LOG_TIMEOUT).ok()).await.ok().flatten()
}

/// What the metrics call it; what was not tried is not counted.
fn counted(outcome: Outcome) -> Option<ApplyResult> {
    match outcome {
        Outcome::Applied => Some(ApplyResult::Applied),
        Outcome::Invalid => Some(ApplyResult::Invalid),
        Outcome::BindFailed => Some(ApplyResult::BindFailed),
        Outcome::ConfigPressure => Some(ApplyResult::Pressure),
        Outcome::Timeout => Some(ApplyResult::Timeout),
        Outcome::Busy | Outcome::Draining => None,
    }
}

/// Settings that only a restart changes, for all or for what is open already.
fn needs_restart(old: &Snapshot, new: &Snapshot, udp_stays: bool) -> Vec<String> {
    let endpoints = new.listeners.iter().flat_map(|listener| of_endpoints(old, listener));
    let endpoints: Vec<String> = endpoints.collect();
    let (old, new) = (&old.server, &new.server);
    let (was, is) = (&old.quic, &new.quic);
    let all = [
        ("shards", old.shards != new.shards),
        ("admin", old.admin != new.admin),
        ("quic.forward_queue", was.forward_queue != is.forward_queue),
    ];
    let open = [
        ("steering", was.steering != is.steering),
        ("receive_buffer", was.receive_buffer != is.receive_buffer),
        ("send_buffer", was.send_buffer != is.send_buffer),
    ];
    let all = all.into_iter().filter(|(_, changed)| *changed);
    let all = all.map(|(key, _)| format!("server.{key} changes with a restart only"));
    let open = open.into_iter().filter(|(_, changed)| *changed && udp_stays);
    let open = open
        .map(|(key, _)| format!("server.quic.{key} changes for new UDP sockets; for open ones with a restart only"));
    all.chain(open).chain(endpoints).collect()
}

/// The same for settings of HTTP/3 that hold for an address as long as it is open, whatever connections come.
fn of_endpoints(old: &Snapshot, new: &ListenerRule) -> Vec<String> {
    let same = |old: &&Arc<ListenerRule>| old.h3 && new.h3 && old.address.iter().any(|addr| new.address.contains(addr));
    let Some(old) = old.listeners.iter().find(same) else { return Vec::new() };
    let (was, is) = (&old.http3, &new.http3);
    let changed = [
        ("cid_lifetime", was.cid_lifetime != is.cid_lifetime),
        ("max_udp_payload", was.max_udp_payload != is.max_udp_payload),
    ];
    let changed = changed.into_iter().filter(|(_, changed)| *changed);
    let name = &*new.name;
    changed
        .map(|(key, _)| {
            format!("listener {name:?}: http3.{key} changes for new addresses; for open ones with a restart only")
        })
        .collect()
}

/// What the log room calls it.
pub fn log_target(target: &AccessLogTarget) -> Target {
    match target {
        AccessLogTarget::Off => Target::Off,
        AccessLogTarget::Stdout => Target::Stdout,
        AccessLogTarget::File(path) => Target::File(path.clone()),
    }
}

/// Opens the access log files again: what a log rotator asks for after moving them.
pub(super) async fn reopen_logs(log: Handle) {
    match wait(log.reopen()).await {
        Some(Ok(())) => {}
        Some(Err(e)) => notice(format_args!("access log: {e}; the old file stays in use")),
        None => notice(format_args!("access log: the log thread does not answer; its target may be blocked")),
    }
}
