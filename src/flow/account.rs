//! What a request leaves behind: counters and one line of the access log.
use super::{Scratch, Shard};
use crate::{
    message::{Category, Exchange, Fault},
    observe::{
        access_log::Record,
        stats::{Limit, RetryOutcome},
    },
    snapshot::{ListenerRule, RouteRule, Snapshot},
    upstream::Trace,
};
use edge_io::head::FieldId;
use std::net::SocketAddr;

/// Gathered while a request is served.
pub struct Account {
    began_us: u64,
    route: Option<u32>,
    /// Why it failed.
    pub fault: Option<Fault>,
    /// For 405: the methods that would do.
    pub allow: Option<String>,
    /// What forwarding it was like.
    pub trace: Trace,
}

impl Account {
    /// The request begins.
    pub fn begin(shard: &Shard) -> Account {
        shard.stats.requests_in_flight.inc();
        let began_us = shard.local.timers.clock().now_us();
        Account { began_us, route: None, fault: None, allow: None, trace: Trace::default() }
    }

    /// It goes to this route.
    pub fn route(&mut self, index: u32, route: &RouteRule, shard: &Shard) {
        self.route = Some(index);
        route.stats.shard(shard.index).in_flight.inc();
    }

    /// It is over.
    pub fn finish<E: Exchange>(
        self,
        shard: &Shard,
        listener: &ListenerRule,
        snapshot: &Snapshot,
        exchange: &E,
        scratch: &Scratch,
    ) {
        let duration_us = shard.local.timers.clock().exact_us().saturating_sub(self.began_us);
        let route = self.route.and_then(|i| snapshot.routes.get(i as usize));
        let status = match (exchange.status(), self.fault) {
            (0, Some(fault)) => fault.status,
            (_, Some(Fault { category: Category::ClientAbort, status, .. })) => status,
            (status, _) => status,
        };
        self.count(shard, route, snapshot, exchange, status, duration_us);
        if route.is_none_or(|r| r.policy.access_log) && shard.log.borrow().is_enabled() {
            self.log(shard, listener, snapshot, route, exchange, scratch, status, duration_us);
        }
    }

    fn count<E: Exchange>(
        &self,
        shard: &Shard,
        route: Option<&RouteRule>,
        snapshot: &Snapshot,
        exchange: &E,
        status: u16,
        duration_us: u64,
    ) {
        let (bytes_in, bytes_out) = (exchange.bytes_in(), exchange.bytes_out());
        let stats = &shard.stats;
        stats.requests_in_flight.dec();
        stats.bytes_in.add(bytes_in);
        stats.bytes_out.add(bytes_out);
        let counters = match route {
            Some(r) => r.stats.shard(shard.index),
            None => &stats.unrouted,
        };
        if route.is_some() {
            counters.in_flight.dec();
        }
        let head = exchange.head();
        counters.request(head.method(), status, head.version(), duration_us, bytes_in, bytes_out);
        if let Some(fault) = self.fault {
            counters.error(fault.category);
            match fault.category {
                Category::HeadTooLarge => stats.limit_hit(Limit::HeadSize),
                Category::BodyTooLarge => stats.limit_hit(Limit::BodySize),
                _ => {}
            }
        }
        if self.trace.retries > 0 {
            let outcome = if self.fault.is_some() { RetryOutcome::Exhausted } else { RetryOutcome::Success };
            counters.retried(outcome);
        }
        self.count_endpoint(shard, route, snapshot, duration_us);
    }

    fn count_endpoint(&self, shard: &Shard, route: Option<&RouteRule>, snapshot: &Snapshot, duration_us: u64) {
        let Some(endpoint) = route.and_then(|r| r.pool(snapshot)).zip(self.trace.endpoint) else { return };
        let Some(rule) = endpoint.0.endpoints.get(endpoint.1) else { return };
        let counters = rule.stats.shard(shard.index);
        if let Some(us) = self.trace.connect_us {
            counters.connected(us);
        }
        match self.fault {
            Some(fault) if fault.side == crate::message::Side::Upstream => counters.error(fault.category),
            _ if self.trace.status != 0 => {
                counters.response(self.trace.status, self.trace.ttfb_us.unwrap_or(duration_us), duration_us);
            }
            _ => {}
        }
    }

    #[allow(clippy::too_many_arguments)] // one line's fields
    fn log<E: Exchange>(
        &self,
        shard: &Shard,
        listener: &ListenerRule,
        snapshot: &Snapshot,
        route: Option<&RouteRule>,
        exchange: &E,
        scratch: &Scratch,
        status: u16,
        duration_us: u64,
    ) {
        let (head, peer) = (exchange.head(), exchange.peer());
        let clock = shard.local.timers.clock();
        let pool = route.and_then(|r| r.pool(snapshot));
        let endpoint = pool.zip(self.trace.endpoint).and_then(|(p, i)| p.endpoints.get(i));
        let port = if scratch.client == peer.ip { peer.port } else { 0 };
        shard.log.borrow_mut().line(&Record {
            wall_us: clock.wall_us().saturating_sub(clock.now_us().saturating_sub(self.began_us)),
            request_id: &scratch.id,
            listener: &listener.name,
            client: (!scratch.client.is_unspecified()).then(|| SocketAddr::new(scratch.client, port)),
            version: head.version(),
            method: head.method_bytes(),
            scheme: if peer.tls { "https" } else { "http" },
            host: head.authority(),
            path: head.path(),
            query: head.query(),
            route: route.map(|r| &*r.id),
            pool: pool.map(|p| &*p.id),
            endpoint: endpoint.map(|e| &*e.name),
            status,
            category: self.fault.map(|f| f.category),
            bytes_in: exchange.bytes_in(),
            bytes_out: exchange.bytes_out(),
            duration_us,
            connect_us: self.trace.connect_us,
            ttfb_us: self.trace.ttfb_us,
            upstream_us: (self.trace.began_us != 0)
                .then(|| (self.began_us + duration_us).saturating_sub(self.trace.began_us)),
            retries: self.trace.retries,
            config_version: snapshot.version,
            user_agent: head.get(FieldId::UserAgent),
            referer: head.get(FieldId::Referer),
        });
    }
}
