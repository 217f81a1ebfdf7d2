//! `edge run`: starts the log thread, the shards, the admin API and the control loop, and ends them in order.
use crate::{
    admin::{self, client},
    config::{Config, limits},
    control::{
        self, Control, End, Parts, broadcast,
        reload::{Source, aside, log_target},
        signals::Signals,
    },
    observe::{
        access_log::{self, RING_BYTES},
        notice,
        stats::StatsRegistry,
    },
    shard,
    snapshot::{self, command::Command},
    upstream::{EndpointAddr, Registry},
};
use edge_io::{cores, mailbox, nofile, ring};
use std::{
    hash::{BuildHasher, RandomState},
    io,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::{LocalSet, spawn_local},
};

/// How long the last log lines may take to be written, if the log's target blocks.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// Where the configuration comes from.
    pub source: Source,
    /// Instead of the configuration's.
    pub shards: Option<usize>,
    /// Instead of the configuration's, when not empty.
    pub admin: Vec<client::Addr>,
}

/// What is known when every shard serves the first configuration.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Listeners' names, and where they really listen.
    pub listening: Vec<(String, String)>,
    /// Where the admin API listens.
    pub admin: Vec<String>,
    /// How many shards there are.
    pub shards: usize,
    /// What they run on.
    pub driver: String,
}

/// Why the edge could not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The configuration has mistakes: all of them, as `edge validate` shows them.
    Invalid(String),
    /// Something else.
    Runtime(String),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Runtime(e.to_string())
    }
}

/// Runs until it is told to end. `on_ready` is called once, when every shard serves.
///
/// # Errors
/// It could not start.
pub fn run(options: Options, on_ready: impl FnOnce(&Ready)) -> Result<End, Failure> {
    if let Err(e) = nofile::raise() {
        notice(format_args!("warning: the limit on open files cannot be raised: {e}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, start(options, on_ready))
}

async fn start(options: Options, on_ready: impl FnOnce(&Ready)) -> Result<End, Failure> {
    let signals = Signals::new()?; // before anything that a signal should not just kill
    let source = options.source.clone();
    let config =
        aside(move || source.load()).await.map_err(|_| Failure::Runtime("the reader failed; this is a bug".into()))?;
    let config = config.map_err(Failure::Invalid)?;
    let (driver, why_not) = ring::choose()?;
    if let Some(why_not) = why_not {
        notice(format_args!("warning: running on {driver}: {why_not}"));
    }
    let cores = place(options.shards.or(config.server.shards));
    check_descriptors(&config, cores.len());
    let admin = open_admin(&options.admin, &config)?;
    let stats = Arc::new(StatsRegistry::new(cores.len()));
    let target = log_target(&snapshot::compile::access_log_target(&config.server.access_log));
    let log = access_log::start(target, stats.clone()).map_err(|e| Failure::Runtime(format!("access_log: {e}")))?;
    let (shards, ended) = start_shards(&cores, driver, &stats, &log, config.server.quic.forward_queue)?;
    let control = Control::new(Parts {
        source: options.source,
        registry: Arc::new(Registry::new()),
        stats,
        log: log.clone(),
        shards: shards.0.clone(),
        cores: cores.clone(),
        admin: admin.iter().map(admin::Listener::address).collect(),
    });
    first(&control, config).await?;
    let ready = Ready {
        listening: control.listening(),
        admin: admin.iter().map(admin::Listener::address).collect(),
        shards: cores.len(),
        driver: driver.to_string(),
    };
    let serving = spawn_local(admin::serve(admin, Rc::new(control::Handle(control.clone()))));
    on_ready(&ready);
    let end = control.run(signals, ended).await;
    serving.abort();
    let _ = serving.await; // the names of its sockets go with it
    if !log.stop(LOG_PATIENCE) {
        notice(format_args!("warning: the last access-log lines could not be written in time"));
    }
    Ok(end)
}

/// One core per shard. When the shards are as many as the cores they may run on, each has its own; when not, the
/// scheduler knows better than a fixed choice that other processes may have made as well.
fn place(wanted: Option<usize>) -> Vec<Option<usize>> {
    let allowed = cores::allowed();
    let count = wanted.unwrap_or(allowed.len()).max(1);
    match cores::affinity() {
        Ok(affinity) if affinity.len() == count => affinity.into_iter().map(Some).collect(),
        _ => vec![None; count],
    }
}

/// A connection needs a descriptor, and a request in flight another one. The default is more than small machines
/// have, and nobody's wish: there, the limit on open files simply comes first.
fn check_descriptors(config: &Config, shards: usize) {
    let Ok((most, _)) = nofile::limits() else { return };
    if config.server.max_connections == limits::CONNECTIONS_DEFAULT {
        return;
    }
    let wanted = config.server.max_connections.saturating_mul(shards) as u64;
    if wanted > most {
        notice(format_args!(
            "warning: server.max_connections allows {wanted} connections on {shards} shards, \
             but the limit on open files is {most}; accepting will pause there"
        ));
    }
}

fn open_admin(given: &[client::Addr], config: &Config) -> Result<Vec<admin::Listener>, Failure> {
    let from_config = config.server.admin.iter().filter_map(admin_addr);
    let all: Vec<client::Addr> = if given.is_empty() { from_config.collect() } else { given.to_vec() };
    let open = |addr: &client::Addr| {
        let listener = match addr {
            client::Addr::Tcp(addr) => admin::Listener::tcp(*addr),
            client::Addr::Unix(path) => admin::Listener::unix(path),
        };
        listener
            .map_err(|e| Failure::Runtime(format!("admin {addr}: {e} (--admin or server.admin takes another address)")))
    };
    all.iter().map(open).collect()
}

/// As the admin rooms spell it; the configuration allows nothing else there.
pub fn admin_addr(addr: &EndpointAddr) -> Option<client::Addr> {
    match addr {
        EndpointAddr::Tcp(addr) => Some(client::Addr::Tcp(*addr)),
        EndpointAddr::Unix(path) => Some(client::Addr::Unix(path.clone())),
        EndpointAddr::Abstract(_) => None,
    }
}

/// Mailboxes of the shards. Dropping it tells them to end: whatever way `start` is left, no thread stays behind.
struct Shards(Vec<mailbox::Sender<Command>>);

impl Drop for Shards {
    fn drop(&mut self) {
        for mailbox in &self.0 {
            let _ = mailbox.send(Command::Stop);
        }
    }
}

fn start_shards(
    cores: &[Option<usize>],
    driver: ring::Driver,
    stats: &Arc<StatsRegistry>,
    log: &access_log::Handle,
    forward_queue: usize,
) -> Result<(Shards, UnboundedReceiver<usize>), Failure> {
    let (ended, ends) = mpsc::unbounded_channel();
    let mut shards = Shards(Vec::with_capacity(cores.len()));
    let seeds = RandomState::new();
    let quic = quic_starts(cores.len(), forward_queue)?;
    for ((core, shard_stats), quic) in cores.iter().zip(&stats.shards).zip(quic) {
        let index = shard_stats.shard;
        let (sender, mailbox) = mailbox::channel(broadcast::MAILBOX_CAPACITY)?;
        let handle = shard::start(shard::Start {
            index,
            core: *core,
            driver,
            mailbox,
            stats: shard_stats.clone(),
            registry: stats.clone(),
            log: log.writer(shard_stats.clone(), RING_BYTES),
            seed: seeds.hash_one(index),
            quic,
        })
        .map_err(|e| Failure::Runtime(format!("shard {index}: {e}")))?;
        shards.0.push(sender);
        watch(index, handle, ended.clone())?;
    }
    Ok((shards, ends))
}

/// What each shard is given for HTTP/3: the same keys, and its own way to the others.
fn quic_starts(shards: usize, forward_queue: usize) -> Result<Vec<shard::quic::Start>, Failure> {
    let keys = edge_quic::keys::Shared::new().map_err(|e| Failure::Runtime(e.to_string()))?;
    let tokens = Arc::new(edge_quic::tokens::Log::default());
    let ports = edge_quic::forward::mesh(shards, forward_queue)?;
    let start = |port| shard::quic::Start { keys: keys.clone(), tokens: tokens.clone(), port, shards };
    Ok(ports.into_iter().map(start).collect())
}

/// Tells control when a shard's thread has ended, however it did.
fn watch(index: usize, shard: thread::JoinHandle<()>, ended: UnboundedSender<usize>) -> io::Result<()> {
    thread::Builder::new().name(format!("watch-{index}")).stack_size(64 << 10).spawn(move || {
        let _ = shard.join();
        let _ = ended.send(index);
    })?;
    Ok(())
}

async fn first(control: &Control, config: Config) -> Result<(), Failure> {
    use crate::admin::view::Outcome;
    let reload = control.apply_first(config).await;
    match reload.outcome {
        Outcome::Applied => Ok(()),
        Outcome::Invalid => Err(Failure::Invalid(reload.detail)),
        _ => Err(Failure::Runtime(reload.detail)),
    }
}
