//! TLS of listeners and pools, compiled; and what a snapshot knows of certificates.
use super::{ListenAddr, Snapshot};
use crate::{
    config::{
        raw,
        report::{Log, Problem},
        tls::TlsSpans,
    },
    tls::{self, Certificate, ListenerTls, Store, UpstreamTls},
    upstream::{EndpointAddr, Protocol},
};
use rustls::ClientConfig;
use std::sync::Arc;

/// Where clients expect `https://` when it names no port (RFC 9110 4.2.2).
const HTTPS_PORT: u16 = 443;

/// TLS of `listener`; `None` without, or after a mistake.
pub(super) fn listener(listener: &raw::Listener, store: &Store, log: &Log) -> Option<Arc<ListenerTls>> {
    let (config, spans) = listener.tls.as_ref()?;
    let tls = noted(store.listener(config), spans, log)?;
    let ports = || {
        listener.address.iter().filter_map(|addr| match addr {
            EndpointAddr::Tcp(addr) => Some(addr.port()),
            EndpointAddr::Unix(_) | EndpointAddr::Abstract(_) => None,
        })
    };
    tls.set_quic_limits(listener.http3.granted());
    tls.set_port(ports().find(|port| *port == HTTPS_PORT).or(ports().next()).unwrap_or(0));
    Some(Arc::new(tls))
}

/// TLS of a pool's endpoints, made as they need it: one value for all that are spoken to alike.
pub(super) struct OfPool<'c> {
    pool: &'c raw::Pool,
    store: &'c Store,
    log: &'c Log,
    made: Vec<(Protocol, Option<Arc<ClientConfig>>)>,
}

impl<'c> OfPool<'c> {
    pub(super) fn new(pool: &'c raw::Pool, store: &'c Store, log: &'c Log) -> OfPool<'c> {
        OfPool { pool, store, log, made: Vec::new() }
    }

    /// TLS to `endpoint`; `None` without, or after a mistake.
    pub(super) fn endpoint(&mut self, endpoint: &raw::Endpoint) -> Option<Arc<UpstreamTls>> {
        if !endpoint.tls {
            return None;
        }
        let client = self.client(endpoint.protocol)?;
        let host = crate::message::host_of(endpoint.authority.as_bytes());
        let host = std::str::from_utf8(host).unwrap_or_default();
        let (config, spans) = &self.pool.tls;
        let made = UpstreamTls::new(client, config, host).map_err(|problem| vec![problem]);
        noted(made.map(|tls| (tls, Vec::new())), spans, self.log).map(Arc::new)
    }

    fn client(&mut self, protocol: Protocol) -> Option<Arc<ClientConfig>> {
        if let Some((_, made)) = self.made.iter().find(|(known, _)| *known == protocol) {
            return made.clone();
        }
        let alpn = match protocol {
            Protocol::Http1 => (true, false),
            Protocol::Http2 => (false, true),
            Protocol::Alpn => (true, true),
        };
        let (config, spans) = &self.pool.tls;
        let made = noted(self.store.client(&self.pool.name, config, alpn), spans, self.log);
        self.made.push((protocol, made.clone()));
        made
    }
}

/// What was made; mistakes and warnings go where their values stand.
fn noted<T>(made: tls::Made<T>, spans: &TlsSpans, log: &Log) -> Option<T> {
    let problem = |p: tls::Problem| Problem::new(spans.get(p.place), p.message).help(p.help);
    match made {
        Ok((made, warnings)) => {
            warnings.into_iter().for_each(|warning| log.warning(problem(warning)));
            Some(made)
        }
        Err(mistakes) => {
            mistakes.into_iter().for_each(|mistake| log.mistake(problem(mistake)));
            None
        }
    }
}

impl Snapshot {
    /// The certificates of all listeners, in the order of the configuration.
    pub fn certificates(&self) -> Vec<Arc<Certificate>> {
        self.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| tls.certificates()).collect()
    }

    /// The port at which `host` (without port) is served with TLS and a certificate of its own; `None` when it is not.
    pub fn https_port(&self, host: &str) -> Option<u16> {
        let on_tcp = |addresses: &[ListenAddr]| addresses.iter().any(|addr| matches!(addr, ListenAddr::Tcp(_)));
        let tcp = self.listeners.iter().filter(|l| l.speaks_over_tcp() && on_tcp(&l.address));
        let tls = tcp.filter_map(|l| l.tls.as_ref());
        tls.filter(|tls| tls.port() != 0).find(|tls| tls.has(host)).map(|tls| tls.port())
    }
}
