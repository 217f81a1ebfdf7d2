//! The control thread: signals, configuration, broadcast, and the end. It never sees a shard, only mailboxes.
mod adaptive;
pub mod broadcast;
mod certificates;
mod changes;
mod dns;
mod health;
mod memory;
pub mod notify;
mod pool_views;
mod pools;
mod probe;
pub mod reload;
mod routes;
pub mod signals;
mod sockets;
pub mod steward;

use crate::{
    admin::{
        Backend, LocalFuture,
        view::{self, Reload, Status},
    },
    observe::{access_log, metrics, notice, stats::StatsRegistry},
    route::Router,
    snapshot::{Snapshot, command::Command},
    upstream::Registry,
};
use edge_io::mailbox::Sender;
use reload::Source;
use signals::{Signals, Wish};
use sockets::Sockets;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{Mutex, Notify, mpsc::UnboundedReceiver},
    task::spawn_local,
    time::sleep_until,
};

/// A shard whose loop has not turned for this long is not healthy.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long the shards may take to end after they were told to, before the process ends without them.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What the control thread is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where the configuration comes from.
    pub source: Source,
    /// State of pools and endpoints.
    pub registry: Arc<Registry>,
    /// All counters.
    pub stats: Arc<StatsRegistry>,
    /// The log thread.
    pub log: access_log::Handle,
    /// By shard.
    pub shards: Vec<Sender<Command>>,
    /// By shard: the core it is pinned to.
    pub cores: Vec<Option<usize>>,
    /// Where the admin API listens.
    pub admin: Vec<String>,
}

/// The control thread's state.
#[derive(Debug)]
pub struct Control {
    source: Source,
    registry: Arc<Registry>,
    stats: Arc<StatsRegistry>,
    log: access_log::Handle,
    shards: Vec<Sender<Command>>,
    cores: Vec<Option<usize>>,
    admin: Vec<String>,
    /// One reload at a time.
    turn: Mutex<()>,
    /// Reloads that wait for their turn.
    waiting: Cell<usize>,
    /// Another configuration may have other files.
    watch_anew: Notify,
    /// Names of endpoints.
    dns: Rc<dns::Dns>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Snapshot>>,
    /// Versions of earlier configurations, and what their snapshots share: some request may still use one of them.
    retired: Vec<(u64, Weak<Router>)>,
    sockets: Sockets,
    draining: bool,
}

/// How the process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every request was finished.
    Drained,
    /// `drain_timeout` was over before every request was finished.
    Forced,
    /// It was told to end at once.
    Stopped,
    /// A shard ended by itself.
    ShardLost(usize),
}

impl Control {
    /// A control thread with no configuration yet.
    pub fn new(parts: Parts) -> Rc<Control> {
        let Parts { source, registry, stats, log, shards, cores, admin } = parts;
        let (turn, waiting, state) = (Mutex::new(()), Cell::new(0), RefCell::default());
        let watch_anew = Notify::new();
        let dns = dns::Dns::new(registry.clone(), stats.clone());
        Rc::new(Control { source, registry, stats, log, shards, cores, admin, turn, waiting, watch_anew, dns, state })
    }

    /// Every open data address: the listener's name, and where it really listens.
    pub fn listening(&self) -> Vec<(String, String)> {
        self.state.borrow().sockets.list().map(|(name, addr)| (name.to_owned(), addr)).collect()
    }

    /// What is served now.
    fn current(&self) -> Option<Arc<Snapshot>> {
        self.state.borrow().current.clone()
    }

    /// Obeys signals until the end. `ended` hears of every shard whose thread has ended. Must run within a `LocalSet`.
    pub async fn run(self: Rc<Self>, mut signals: Signals, mut ended: UnboundedReceiver<usize>) -> End {
        let mut watching = std::pin::pin!(certificates::watch(self.clone()));
        // A task of its own: endpoints come and go while the process drains, too.
        let _steward = Ends(spawn_local(steward::run(self.clone())));
        let mut naming = std::pin::pin!(dns::watch(self.clone()));
        loop {
            tokio::select! {
                () = &mut watching => {} // never
                () = &mut naming => {} // never
                wish = signals.next() => match wish {
                    Wish::Drain => return self.drain(signals, ended).await,
                    Wish::Stop => return self.stop(&mut ended, self.shards.len()).await,
                    other => self.obey(other),
                },
                shard = ended.recv() => {
                    let shard = shard.unwrap_or_default();
                    notice(format_args!("shard {shard} has ended by itself; this is a bug"));
                    self.stop(&mut ended, self.shards.len() - 1).await;
                    return End::ShardLost(shard);
                }
            }
        }
    }

    fn obey(self: &Rc<Self>, wish: Wish) {
        match wish {
            Wish::Reload => {
                let control = self.clone();
                // The outcome is in the log.
                drop(spawn_local(async move { drop(control.reload().await) }));
            }
            Wish::ReopenLogs => drop(spawn_local(reload::reopen_logs(self.log.clone()))),
            Wish::Upgrade => notice(format_args!("SIGUSR2: handing over to another binary is not there yet")),
            Wish::Drain | Wish::Stop => {} // obeyed by `run` and `drain`
        }
    }

    /// `/ready` says no at once; new connections are taken for `lb_grace`, until load balancers have noticed; then
    /// requests in flight have `drain_timeout`.
    async fn drain(&self, mut signals: Signals, mut ended: UnboundedReceiver<usize>) -> End {
        let (grace, patience) = {
            let mut state = self.state.borrow_mut();
            state.draining = true;
            state.current.as_ref().map_or_else(Default::default, |c| (c.server.lb_grace, c.server.drain_timeout))
        };
        notify::notify(notify::State::Stopping);
        let accept_until = Instant::now() + grace;
        let force = accept_until + patience;
        for mailbox in &self.shards {
            // A shard that does not read its mailbox is ended by force.
            let _ = mailbox.send(Command::Drain { accept_until, force });
        }
        notice(format_args!(
            "draining: new connections for {:.1} s, requests in flight for {:.1} s more; a second signal ends it",
            grace.as_secs_f64(),
            patience.as_secs_f64()
        ));
        let mut alive = self.shards.len();
        let mut listening = true;
        while alive > 0 {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Drain | Wish::Stop => return self.stop(&mut ended, alive).await,
                    Wish::ReopenLogs => reload::reopen_logs(self.log.clone()).await,
                    Wish::Reload | Wish::Upgrade => {}
                },
                Some(_) = ended.recv() => alive -= 1,
                () = sleep_until(accept_until.into()), if listening => {
                    listening = false;
                    self.state.borrow_mut().sockets = Sockets::default(); // the names of unix sockets go
                }
                () = sleep_until((force + STOP_PATIENCE).into()) => return End::Forced,
            }
        }
        if Instant::now() < force { End::Drained } else { End::Forced }
    }

    async fn stop(&self, ended: &mut UnboundedReceiver<usize>, mut alive: usize) -> End {
        notify::notify(notify::State::Stopping);
        self.state.borrow_mut().draining = true;
        for mailbox in &self.shards {
            let _ = mailbox.send(Command::Stop);
        }
        let all = async {
            while alive > 0 && ended.recv().await.is_some() {
                alive -= 1;
            }
        };
        let _ = tokio::time::timeout(STOP_PATIENCE, all).await;
        End::Stopped
    }
}

/// A task that ends with its owner.
struct Ends(tokio::task::JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the admin API sees: a handle, so that its futures may outlive a borrow.
#[derive(Clone, Debug)]
pub struct Handle(pub Rc<Control>);

impl Backend for Handle {
    fn metrics(&self) -> String {
        if let Some(snapshot) = self.0.current() {
            routes::publish_budgets(&snapshot);
        }
        metrics::render(&self.0.stats)
    }

    fn health(&self) -> Result<(), String> {
        let now = Instant::now();
        let silent: Vec<String> = self
            .0
            .stats
            .shards
            .iter()
            .filter(|s| s.silence(now) >= SILENCE_MAX)
            .map(|s| format!("shard {} has not turned for {:.1} s", s.shard, s.silence(now).as_secs_f64()))
            .collect();
        if silent.is_empty() { Ok(()) } else { Err(silent.join("\n")) }
    }

    fn ready(&self) -> Result<(), String> {
        let state = self.0.state.borrow();
        match (&state.current, state.draining) {
            (_, true) => Err("draining".to_owned()),
            (None, _) => Err("no configuration yet".to_owned()),
            (Some(_), false) => Ok(()),
        }
    }

    fn status(&self) -> Status {
        let state = self.0.state.borrow();
        let (certificates, certificates_total) =
            state.current.as_deref().map(|current| self.0.certificate_views(current)).unwrap_or_default();
        let (pools, pools_total) = state.current.as_deref().map(pool_views::views).unwrap_or_default();
        Status {
            edge_version: env!("CARGO_PKG_VERSION").to_owned(),
            version: state.current.as_ref().map_or(0, |current| current.version),
            pid: std::process::id(),
            uptime_seconds: self.0.stats.uptime().as_secs_f64(),
            ready: self.ready().is_ok(),
            draining: state.draining,
            config: state.current.as_deref().map(config_view).unwrap_or_default(),
            listeners: listener_views(&state.sockets),
            certificates,
            certificates_total,
            pools,
            pools_total,
            circuits: state.current.as_deref().map(routes::circuit_views).unwrap_or_default(),
            names: self.0.dns.views(),
            admin: self.0.admin.clone(),
            shards: self.0.shard_views(),
        }
    }

    fn reload(&self) -> LocalFuture<Reload> {
        let control = self.0.clone();
        // On a task of its own: a client that goes away does not stop a reload half-way.
        let task = spawn_local(async move { control.reload().await });
        Box::pin(async move {
            task.await.unwrap_or_else(|e| Reload::new(view::Outcome::Timeout, 0, format!("the reload failed: {e}")))
        })
    }
}

impl Control {
    fn shard_views(&self) -> Vec<view::Shard> {
        let now = Instant::now();
        let cores = self.cores.iter().copied().chain(std::iter::repeat(None));
        let view = |(s, core): (&Arc<crate::observe::stats::ShardStats>, Option<usize>)| view::Shard {
            shard: s.shard,
            core,
            driver: s.driver().map(|d| d.as_str().to_owned()),
            silence_ms: u64::try_from(s.silence(now).as_millis()).unwrap_or(u64::MAX),
            config_version: u64::try_from(s.config_version.get()).unwrap_or_default(),
            accepts: s.accepts.get(),
            connections: s.connections.get(),
            connections_idle: s.connections_idle.get(),
            requests_in_flight: s.requests_in_flight.get(),
            upgrades_active: s.upgrades_active.get(),
            panics: s.panics.get(),
            log_dropped: s.log_dropped.get(),
        };
        self.stats.shards.iter().zip(cores).map(view).collect()
    }
}

/// By listener, in the order of the configuration.
fn listener_views(sockets: &Sockets) -> Vec<view::Listener> {
    let mut views: Vec<view::Listener> = Vec::new();
    for (name, address) in sockets.list() {
        match views.iter_mut().find(|view| view.name == name) {
            Some(view) => view.address.push(address),
            None => views.push(view::Listener { name: name.to_owned(), address: vec![address] }),
        }
    }
    views
}

fn config_view(snapshot: &Snapshot) -> view::Config {
    let since_1970 = snapshot.compiled_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    view::Config {
        version: snapshot.version,
        sha256: hex(&snapshot.sha256),
        source: snapshot.source.clone(),
        compiled_at: since_1970.as_secs(),
        routes: snapshot.routes.len(),
        pools: snapshot.pools.len(),
        warnings: snapshot.warnings.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
