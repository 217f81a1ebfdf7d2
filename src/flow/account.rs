//! What a request leaves behind: counters and one line of the access log.
use super::{Pinned, Scratch, Shard};
use crate::{
    message::{Category, Exchange, Fault, Side},
    observe::{
        access_log::Record,
        stats::{EarlyData, EndpointStats, HedgeOutcome, Limit, RetryOutcome, RouteShard, RouteStats},
    },
    snapshot::{ListenerRule, RouteRule},
    upstream::Trace,
};
use edge_io::head::FieldId;
use std::{net::SocketAddr, rc::Rc, sync::Arc};

/// Gathered while a request is served. Dropped unfinished, the request's task panicked or its shard ended: it is not in
/// flight any more either way.
pub struct Account<'s> {
    shard: &'s Shard,
    began_us: u64,
    route: Option<u32>,
    /// Held until the end, but for upgraded connections.
    pinned: Option<Rc<Pinned>>,
    names: Option<Names>,
    finished: bool,
    /// Why it failed.
    pub fault: Option<Fault>,
    /// For 405: the methods that would do.
    pub allow: Option<String>,
    /// What forwarding it was like.
    pub trace: Trace,
}

/// What of a snapshot the log wants to know, for requests that outlive it.
struct Names {
    route: Arc<str>,
    stats: Arc<RouteStats>,
    pool: Option<Arc<str>>,
    endpoint: Option<Arc<str>>,
    endpoint_stats: Option<Arc<EndpointStats>>,
    access_log: bool,
    version: u64,
}

/// The same, borrowed from wherever it is.
struct Labels<'a> {
    route: Option<&'a str>,
    pool: Option<&'a str>,
    endpoint: Option<&'a str>,
    endpoint_stats: Option<&'a EndpointStats>,
    access_log: bool,
    version: u64,
}

impl<'s> Account<'s> {
    /// The request begins.
    pub fn begin(shard: &'s Shard, pinned: Rc<Pinned>) -> Account<'s> {
        shard.stats.requests_in_flight.inc();
        Account {
            shard,
            began_us: shard.local.timers.clock().now_us(),
            route: None,
            pinned: Some(pinned),
            names: None,
            finished: false,
            fault: None,
            allow: None,
            trace: Trace::default(),
        }
    }

    /// It goes to this route.
    pub fn route(&mut self, index: u32, route: &RouteRule) {
        self.route = Some(index);
        route.stats.shard(self.shard.index).in_flight.inc();
    }

    /// Lets go of the snapshot: the request may last long.
    pub fn keep_names_only(&mut self) {
        let Some(pinned) = self.pinned.take() else { return };
        let Some(route) = self.route.and_then(|i| pinned.snapshot.routes.get(i as usize)) else { return };
        let pool = route.pool(&pinned.snapshot);
        let endpoint = pool.zip(self.trace.endpoint).and_then(|(p, i)| p.endpoints.get(i));
        self.names = Some(Names {
            route: route.id.clone(),
            stats: route.stats.clone(),
            pool: pool.map(|p| p.id.clone()),
            endpoint: endpoint.map(|e| e.name.clone()),
            endpoint_stats: endpoint.map(|e| e.stats.clone()),
            access_log: route.policy.access_log,
            version: pinned.snapshot.version,
        });
    }

    fn route_rule(&self) -> Option<&RouteRule> {
        self.pinned.as_ref()?.snapshot.routes.get(self.route? as usize)
    }

    fn labels(&self) -> Labels<'_> {
        if let Some(n) = &self.names {
            return Labels {
                route: Some(&n.route),
                pool: n.pool.as_deref(),
                endpoint: n.endpoint.as_deref(),
                endpoint_stats: n.endpoint_stats.as_deref(),
                access_log: n.access_log,
                version: n.version,
            };
        }
        let snapshot = self.pinned.as_ref().map(|p| &*p.snapshot);
        let route = self.route_rule();
        let pool = snapshot.zip(route).and_then(|(s, r)| r.pool(s));
        let endpoint = pool.zip(self.trace.endpoint).and_then(|(p, i)| p.endpoints.get(i));
        Labels {
            route: route.map(|r| &*r.id),
            pool: pool.map(|p| &*p.id),
            endpoint: endpoint.map(|e| &*e.name),
            endpoint_stats: endpoint.map(|e| &*e.stats),
            access_log: route.is_none_or(|r| r.policy.access_log),
            version: snapshot.map_or(0, |s| s.version),
        }
    }

    /// It is over.
    pub fn finish<E: Exchange>(mut self, listener: &ListenerRule, exchange: &E, scratch: &Scratch) {
        let duration_us = self.shard.local.timers.clock().exact_us().saturating_sub(self.began_us);
        let status = match (exchange.status(), self.fault) {
            (0, Some(fault)) => fault.status,
            (101, _) => 101,
            (_, Some(Fault { category: Category::ClientAbort, status, .. })) => status,
            (status, _) => status,
        };
        let labels = self.labels();
        self.count(&labels, exchange, status, duration_us);
        if labels.access_log && self.shard.log.borrow().is_enabled() {
            self.log(listener, &labels, exchange, scratch, status, duration_us);
        }
        self.finished = true;
    }

    fn route_stats(&self) -> Option<&RouteShard> {
        let stats = match &self.names {
            Some(names) => &names.stats,
            None => &self.route_rule()?.stats,
        };
        Some(stats.shard(self.shard.index))
    }

    fn counters(&self) -> &RouteShard {
        self.route_stats().unwrap_or(&self.shard.stats.unrouted)
    }

    fn count<E: Exchange>(&self, labels: &Labels<'_>, exchange: &E, status: u16, duration_us: u64) {
        let (bytes_in, bytes_out) = (exchange.bytes_in(), exchange.bytes_out());
        let stats = &self.shard.stats;
        stats.bytes_in.add(bytes_in);
        stats.bytes_out.add(bytes_out);
        let head = exchange.head();
        let counters = self.counters();
        counters.request(head.method(), status, head.version(), duration_us, bytes_in, bytes_out);
        if let Some(fault) = self.fault {
            counters.error(fault.category);
            match fault.category {
                Category::HeadTooLarge => stats.limit_hit(Limit::HeadSize),
                Category::BodyTooLarge => stats.limit_hit(Limit::BodySize),
                Category::TooEarly => stats.quic.early_data(EarlyData::TooEarly),
                _ => {}
            }
        }
        if let Some(outcome) = self.retried() {
            counters.retried(outcome);
        }
        if let Some(outcome) = self.trace.hedged {
            counters.hedged(outcome);
        }
        if let Some(endpoint) = labels.endpoint_stats {
            self.count_endpoint(endpoint, duration_us);
        }
    }

    fn retried(&self) -> Option<RetryOutcome> {
        let failed = self.fault.is_some() || self.trace.status >= 500;
        match (self.trace.no_budget, self.trace.retries) {
            (true, _) => Some(RetryOutcome::Budget),
            (false, 0) => None,
            (false, _) if failed => Some(RetryOutcome::Exhausted),
            (false, _) => Some(RetryOutcome::Success),
        }
    }

    /// Failed attempts were counted when they failed.
    fn count_endpoint(&self, endpoint: &EndpointStats, duration_us: u64) {
        let counters = endpoint.shard(self.shard.index);
        if let Some(us) = self.trace.connect_us {
            counters.connected(us);
        }
        let answered = self.trace.status != 0 && self.fault.is_none_or(|f| f.side != Side::Upstream);
        if answered {
            let upstream_us = self.upstream_us(duration_us).unwrap_or(duration_us);
            let ttfb_us = self.trace.ttfb_us.unwrap_or(upstream_us);
            // Other endpoints' attempts, and waits between them, say nothing of this one.
            let before_us = self.trace.asked_us.saturating_sub(self.trace.began_us);
            let [ttfb_us, upstream_us] = [ttfb_us, upstream_us].map(|us| us.saturating_sub(before_us));
            counters.response(self.trace.status, ttfb_us, upstream_us);
        }
    }

    fn upstream_us(&self, duration_us: u64) -> Option<u64> {
        let ended_us = self.began_us + duration_us;
        (self.trace.began_us != 0).then(|| ended_us.saturating_sub(self.trace.began_us))
    }

    fn log<E: Exchange>(
        &self,
        listener: &ListenerRule,
        labels: &Labels<'_>,
        exchange: &E,
        scratch: &Scratch,
        status: u16,
        duration_us: u64,
    ) {
        let (head, peer, tls) = (exchange.head(), exchange.peer(), exchange.tls());
        let subject = tls.and_then(|tls| tls.client_certificate.as_deref()).and_then(crate::tls::subject);
        let clock = self.shard.local.timers.clock();
        let port = if scratch.client == peer.ip { peer.port } else { 0 };
        self.shard.log.borrow_mut().line(&Record {
            wall_us: clock.wall_us().saturating_sub(clock.now_us().saturating_sub(self.began_us)),
            request_id: &scratch.id,
            listener: &listener.name,
            client: (!scratch.client.is_unspecified()).then(|| SocketAddr::new(scratch.client, port)),
            version: head.version(),
            tls_version: tls.map(|tls| tls.version),
            tls_group: tls.map(|tls| tls.group).filter(|group| !group.is_empty()),
            sni: tls.and_then(|tls| tls.server_name.as_deref()),
            mtls_subject: subject.as_deref(),
            method: head.method_bytes(),
            scheme: if peer.tls { "https" } else { "http" },
            host: head.authority(),
            path: head.path(),
            query: head.query(),
            route: labels.route,
            pool: labels.pool,
            endpoint: labels.endpoint,
            status,
            category: self.fault.map(|f| f.category),
            detail: self.fault.map(|f| f.detail),
            bytes_in: exchange.bytes_in(),
            bytes_out: exchange.bytes_out(),
            duration_us,
            connect_us: self.trace.connect_us,
            ttfb_us: self.trace.ttfb_us,
            upstream_us: self.upstream_us(duration_us),
            retries: self.trace.retries,
            hedged: self.trace.hedged.map(HedgeOutcome::as_str),
            config_version: labels.version,
            user_agent: head.get(FieldId::UserAgent),
            referer: head.get(FieldId::Referer),
        });
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.shard.stats.requests_in_flight.dec();
        if let Some(route) = self.route_stats() {
            route.in_flight.dec();
        }
        if !self.finished && std::thread::panicking() {
            self.counters().error(Category::Panic);
        }
    }
}
