//! An origin from start to end: what it is told, its sockets, its threads.
mod options;
mod sockets;
mod thread;

pub use options::{Address, Options};

use super::{
    connection::Speaks,
    counts::{Counts, Stats},
    desk::Shared,
    http3,
    script::Pace,
    tls::Identity,
};
use edge_io::listen::SocketName;
use sockets::Sockets;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};
use thread::{Part, Thread};
use tokio_rustls::TlsAcceptor;

/// The scripted origin.
#[derive(Debug)]
pub struct Serve;

/// A running origin; it ends when this is dropped, and every connection with it.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<Address>,
    certificate: Option<Vec<u8>>,
    counts: Vec<Arc<Counts>>,
    threads: Vec<Thread>,
    shards: Vec<http3::Shard>,
    _names: Vec<SocketName>,
}

impl Running {
    /// Where it listens, in the order of the options, with the ports that 0 became.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The first of them that is no unix socket.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|address| match address {
            Address::Ip(addr) => Some(*addr),
            Address::Unix(_) => None,
        })
    }

    /// The certificate that is shown, DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// What it has seen so far.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.counts)
    }
}

impl Serve {
    /// Starts an origin. When this returns, connections are taken.
    ///
    /// # Errors
    /// Options that cannot be, with the reason; an address that cannot be listened on, with its name; a certificate that
    /// cannot be used; a thread that cannot be started.
    pub fn start(options: Options) -> io::Result<Running> {
        options::check(&options).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let Options { listen, tls, h1, h2, h3, threads, cores, script } = options;
        let speaks = Speaks { h1, h2 };
        let ips: Vec<IpAddr> = listen.iter().filter_map(ip).collect();
        let identity = tls.map(|tls| Identity::open(&tls, &ips)).transpose()?;
        let acceptor = match &identity {
            Some(identity) => Some(TlsAcceptor::from(identity.for_streams(speaks)?)),
            None => None,
        };
        let pace = Arc::new(Pace::new(&script));
        let shared = Shared { script: Arc::new(script), pace, start: Instant::now() };
        let mut sockets = Sockets { per_thread: (0..threads).map(|_| Vec::new()).collect(), ..Sockets::default() };
        for address in &listen {
            let streams = h1 || h2;
            sockets.open(address, streams, h3).map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))?;
        }
        let mut running = Running {
            addresses: sockets.addresses,
            certificate: identity.as_ref().map(Identity::certificate),
            counts: Vec::new(),
            threads: Vec::new(),
            shards: Vec::new(),
            _names: sockets.names,
        };
        if let Some(identity) = identity.filter(|_| h3) {
            let quic = identity.for_quic()?;
            let start = http3::Start { shared: shared.clone(), groups: sockets.groups, quic, shards: threads };
            (running.shards, running.counts) = http3::start(start, &cores)?;
        }
        for (index, listeners) in sockets.per_thread.into_iter().enumerate().filter(|(_, l)| !l.is_empty()) {
            let counts = Arc::new(Counts::default());
            running.counts.push(counts.clone());
            let core = cores.iter().cycle().nth(index).copied();
            let part =
                Part { shared: shared.clone(), index, counts, listeners, acceptor: acceptor.clone(), speaks, core };
            running.threads.push(part.start()?);
        }
        Ok(running)
    }
}

fn ip(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Ip(addr) => Some(addr.ip()),
        Address::Unix(_) => None,
    }
}
