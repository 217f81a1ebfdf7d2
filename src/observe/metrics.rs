//! The counters as text, for Prometheus: exposition format 0.0.4.
mod dns;
mod pools;
mod queues;
mod quic;
mod resilience;

use super::{
    names::{self, Kind, Metric},
    stats::{
        APPLY_RESULTS, BOUNDS_US, CLASSES, EndpointStats, EndpointTotal, HistogramTotal, LIMITS, PROTOCOLS,
        RETRY_OUTCOMES, RouteStats, RouteTotal, ShardStats, StatsRegistry, TRANSPORTS,
    },
};
use crate::message::Category;
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many routes, and how many endpoints, have series of their own: those with the most hits. The rest are summed up
/// under [`OTHER`], so that the size of a scrape is bounded whatever is configured.
pub const SERIES_MAX: usize = 200;
/// The label of what is summed up.
pub const OTHER: &str = "_other";
/// The label of requests that found no route.
pub const NO_ROUTE: &str = "_none";

/// Renders everything.
pub fn render(stats: &StatsRegistry) -> String {
    let mut text = Text { out: String::with_capacity(64 << 10) };
    build(&mut text, stats);
    routes(&mut text, stats);
    upstream(&mut text, stats);
    pools::write(&mut text, stats);
    listeners(&mut text, stats);
    shards(&mut text, stats);
    control(&mut text, stats);
    dns::write(&mut text, stats);
    tls(&mut text, stats);
    quic::write(&mut text, stats);
    process(&mut text);
    text.out
}

/// A metric, and where its value stands: wide enough for any counter and any gauge.
type Number<T> = (&'static Metric, fn(&T) -> i128);
/// A histogram, and where it stands.
type Durations<T> = (&'static Metric, fn(&T) -> &HistogramTotal);

/// Text that is being written, metric by metric.
struct Text {
    out: String,
}

/// Writing into a `String` cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => { { let _ = write!($out, $($arg)*); } };
}

impl Text {
    /// The lines that introduce a metric. All its samples must follow.
    fn begin(&mut self, m: &Metric) {
        put!(self.out, "# HELP {} {}\n# TYPE {} {}\n", m.name, m.help, m.name, m.kind.as_str());
    }

    /// One sample.
    fn sample(&mut self, m: &Metric, labels: &[&str], value: impl std::fmt::Display) {
        self.out.push_str(m.name);
        self.labels(m, labels, None);
        put!(self.out, " {value}\n");
    }

    /// A metric with one sample and no labels.
    fn single(&mut self, m: &Metric, value: impl std::fmt::Display) {
        self.begin(m);
        self.sample(m, &[], value);
    }

    /// The samples of one histogram.
    fn histogram(&mut self, m: &Metric, labels: &[&str], h: &HistogramTotal) {
        debug_assert_eq!(m.kind, Kind::Histogram);
        let mut cumulative = 0;
        for (i, n) in h.buckets.iter().enumerate() {
            cumulative += n;
            put!(self.out, "{}_bucket", m.name);
            let bound = BOUNDS_US.get(i).map_or("+Inf".to_owned(), |&us| seconds(us).to_string());
            self.labels(m, labels, Some(&bound));
            put!(self.out, " {cumulative}\n");
        }
        put!(self.out, "{}_sum", m.name);
        self.labels(m, labels, None);
        put!(self.out, " {}\n{}_count", seconds(h.sum_us), m.name);
        self.labels(m, labels, None);
        put!(self.out, " {cumulative}\n");
    }

    fn labels(&mut self, m: &Metric, values: &[&str], bound: Option<&str>) {
        debug_assert_eq!(m.labels.len(), values.len(), "{}", m.name);
        let pairs = m.labels.iter().copied().zip(values.iter().copied()).chain(bound.map(|b| ("le", b)));
        let mut before = '{';
        for (name, value) in pairs {
            put!(self.out, "{before}{name}=\"");
            escape(&mut self.out, value);
            self.out.push('"');
            before = ',';
        }
        if before == ',' {
            self.out.push('}');
        }
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn build(text: &mut Text, stats: &StatsRegistry) {
    text.begin(&names::BUILD_INFO);
    text.sample(&names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    text.single(&names::UPTIME, stats.uptime().as_secs_f64());
}

/// The first `SERIES_MAX` by hits, in their own order, and the rest.
fn split_top<T>(all: Vec<Arc<T>>, hits: impl Fn(&T) -> u64) -> (Vec<Arc<T>>, Vec<Arc<T>>) {
    if all.len() <= SERIES_MAX {
        return (all, Vec::new());
    }
    let mut by_hits: Vec<(Reverse<u64>, usize)> = all.iter().enumerate().map(|(i, x)| (Reverse(hits(x)), i)).collect();
    by_hits.select_nth_unstable(SERIES_MAX);
    let mut is_top = vec![false; all.len()];
    by_hits.iter().take(SERIES_MAX).for_each(|&(_, i)| is_top[i] = true);
    let (mut top, mut rest) = (Vec::with_capacity(SERIES_MAX), Vec::new());
    for (x, is_top) in all.into_iter().zip(is_top) {
        if is_top { top.push(x) } else { rest.push(x) }
    }
    (top, rest)
}

fn route_totals(stats: &StatsRegistry) -> Vec<(String, RouteTotal)> {
    let (top, rest) = split_top(stats.routes(), RouteStats::hits);
    let mut totals: Vec<(String, RouteTotal)> = Vec::with_capacity(top.len() + 2);
    for route in top {
        let mut total = RouteTotal::default();
        total.add_route(&route);
        totals.push((route.id.to_string(), total));
    }
    if !rest.is_empty() {
        let mut total = RouteTotal::default();
        rest.iter().for_each(|route| total.add_route(route));
        totals.push((OTHER.to_owned(), total));
    }
    let mut unrouted = RouteTotal::default();
    stats.shards.iter().for_each(|shard| unrouted.add(&shard.unrouted));
    totals.push((NO_ROUTE.to_owned(), unrouted));
    totals
}

fn routes(text: &mut Text, stats: &StatsRegistry) {
    let totals = route_totals(stats);
    text.begin(&names::HTTP_REQUESTS);
    for (id, total) in &totals {
        for (method, class, protocol, n) in total.requests() {
            text.sample(&names::HTTP_REQUESTS, &[id, method, class, protocol], n);
        }
    }
    text.begin(&names::HTTP_DURATION);
    for (id, total) in &totals {
        for (protocol, durations) in PROTOCOLS.iter().zip(&total.durations).filter(|(_, d)| d.count() > 0) {
            text.histogram(&names::HTTP_DURATION, &[id, protocol], durations);
        }
    }
    let sums: [Number<RouteTotal>; 3] = [
        (&names::HTTP_BYTES_IN, |t| t.bytes_in.into()),
        (&names::HTTP_BYTES_OUT, |t| t.bytes_out.into()),
        (&names::HTTP_IN_FLIGHT, |t| t.in_flight.into()),
    ];
    for (metric, value) in sums {
        text.begin(metric);
        totals.iter().for_each(|(id, total)| text.sample(metric, &[id], value(total)));
    }
    text.begin(&names::ERRORS);
    for (id, total) in &totals {
        for (category, n) in Category::ALL.iter().zip(total.errors).filter(|(_, n)| *n > 0) {
            text.sample(&names::ERRORS, &[id, category.as_str()], n);
        }
    }
    text.begin(&names::RETRIES);
    for (id, total) in &totals {
        for (outcome, n) in RETRY_OUTCOMES.iter().zip(total.retries).filter(|(_, n)| *n > 0) {
            text.sample(&names::RETRIES, &[id, outcome], n);
        }
    }
    resilience::write(text, stats, &totals);
}

fn upstream(text: &mut Text, stats: &StatsRegistry) {
    let all = stats.endpoints();
    let mut pools: BTreeMap<Arc<str>, EndpointTotal> = BTreeMap::new();
    all.iter().for_each(|e| pools.entry(e.pool.clone()).or_default().add_endpoint(e));
    let (top, rest) = split_top(all, EndpointStats::hits);
    let mut totals: BTreeMap<(Arc<str>, Arc<str>), EndpointTotal> = BTreeMap::new();
    for e in &top {
        totals.entry((e.pool.clone(), e.endpoint.clone())).or_default().add_endpoint(e);
    }
    if !rest.is_empty() {
        let other: Arc<str> = OTHER.into();
        let total = totals.entry((other.clone(), other)).or_default();
        rest.iter().for_each(|e| total.add_endpoint(e));
    }
    text.begin(&names::UPSTREAM_REQUESTS);
    for ((pool, endpoint), total) in &totals {
        for (class, n) in CLASSES.iter().zip(total.classes).filter(|(_, n)| *n > 0) {
            text.sample(&names::UPSTREAM_REQUESTS, &[pool, endpoint, class], n);
        }
    }
    let histograms: [Durations<EndpointTotal>; 3] = [
        (&names::UPSTREAM_DURATION, |t| &t.total),
        (&names::UPSTREAM_FIRST_BYTE, |t| &t.first_byte),
        (&names::UPSTREAM_CONNECT, |t| &t.connect),
    ];
    for (metric, of) in histograms {
        text.begin(metric);
        for ((pool, endpoint), total) in totals.iter().filter(|(_, t)| of(t).count() > 0) {
            text.histogram(metric, &[pool, endpoint], of(total));
        }
    }
    pool_metrics(text, &fold_pools(pools));
}

/// Pools are bounded as well: the first `SERIES_MAX` by hits keep their names.
fn fold_pools(pools: BTreeMap<Arc<str>, EndpointTotal>) -> Vec<(Arc<str>, EndpointTotal)> {
    let pools: Vec<_> = pools.into_iter().map(Arc::new).collect();
    let (top, rest) = split_top(pools, |(_, total)| total.classes.iter().sum());
    let mut named: Vec<_> = top.iter().map(|p| (p.0.clone(), p.1.clone())).collect();
    if !rest.is_empty() {
        let mut other = EndpointTotal::default();
        rest.iter().for_each(|p| other.add_total(&p.1));
        named.push((OTHER.into(), other));
    }
    named
}

fn pool_metrics(text: &mut Text, pools: &[(Arc<str>, EndpointTotal)]) {
    text.begin(&names::UPSTREAM_ERRORS);
    for (pool, total) in pools {
        for (category, n) in Category::ALL.iter().zip(total.errors).filter(|(_, n)| *n > 0) {
            text.sample(&names::UPSTREAM_ERRORS, &[pool, category.as_str()], n);
        }
    }
    text.begin(&names::POOL_CONNECTIONS);
    for (pool, total) in pools {
        text.sample(&names::POOL_CONNECTIONS, &[pool, "idle"], total.idle);
        text.sample(&names::POOL_CONNECTIONS, &[pool, "active"], total.active);
    }
}

fn listeners(text: &mut Text, stats: &StatsRegistry) {
    let listeners = stats.listeners();
    text.begin(&names::ACCEPTS);
    listeners.iter().for_each(|l| text.sample(&names::ACCEPTS, &[&l.name], l.accepts()));
    text.begin(&names::CONNECTIONS);
    for l in &listeners {
        for (protocol, n) in PROTOCOLS.iter().zip(l.connections()) {
            text.sample(&names::CONNECTIONS, &[&l.name, protocol], n);
        }
    }
}

fn shards(text: &mut Text, stats: &StatsRegistry) {
    let ids: Vec<String> = stats.shards.iter().map(|s| s.shard.to_string()).collect();
    let shards: Vec<(&str, &ShardStats)> = ids.iter().map(|s| &**s).zip(stats.shards.iter().map(|s| &**s)).collect();
    shard_states(text, &shards);
    let plain: [Number<ShardStats>; 9] = [
        (&names::SHARD_IN_FLIGHT, |s| s.requests_in_flight.get().into()),
        (&names::SHARD_ACCEPTS, |s| s.accepts.get().into()),
        (&names::SHARD_BYTES_IN, |s| s.bytes_in.get().into()),
        (&names::SHARD_BYTES_OUT, |s| s.bytes_out.get().into()),
        (&names::UPGRADES, |s| s.upgrades_active.get().into()),
        (&names::PANICS, |s| s.panics.get().into()),
        (&names::CQ_OVERFLOW, |s| s.cq_overflow.get().into()),
        (&names::LOG_DROPPED, |s| s.log_dropped.get().into()),
        (&names::CONFIG_VERSION, |s| s.config_version.get().into()),
    ];
    for (metric, value) in plain {
        text.begin(metric);
        shards.iter().for_each(|(id, s)| text.sample(metric, &[id], value(s)));
    }
    text.begin(&names::LIMIT_HITS);
    for (id, s) in &shards {
        for (limit, n) in LIMITS.iter().zip(s.limit_hits()) {
            text.sample(&names::LIMIT_HITS, &[id, limit], n);
        }
    }
    queues::write(text, &shards);
    text.begin(&names::HTTP2_ABUSE);
    for (id, s) in &shards {
        s.http2_abuses().for_each(|(kind, n)| text.sample(&names::HTTP2_ABUSE, &[id, kind], n));
    }
    text.begin(&names::LOOP_LAG);
    for (id, s) in &shards {
        let mut lag = HistogramTotal::default();
        lag.add(&s.loop_lag);
        text.histogram(&names::LOOP_LAG, &[id], &lag);
    }
    let now = Instant::now();
    text.begin(&names::SHARD_SILENCE);
    shards.iter().for_each(|(id, s)| text.sample(&names::SHARD_SILENCE, &[id], s.silence(now).as_secs_f64()));
    text.begin(&names::SHARD_DRIVER);
    for (id, driver) in shards.iter().filter_map(|(id, s)| Some((id, s.driver()?))) {
        text.sample(&names::SHARD_DRIVER, &[id, driver.as_str()], 1);
    }
}

fn shard_states(text: &mut Text, shards: &[(&str, &ShardStats)]) {
    text.begin(&names::SHARD_CONNECTIONS);
    for (id, s) in shards {
        let idle = s.connections_idle.get();
        text.sample(&names::SHARD_CONNECTIONS, &[id, "idle"], idle);
        text.sample(&names::SHARD_CONNECTIONS, &[id, "active"], s.connections.get() - idle);
    }
    text.begin(&names::SHARD_POOL);
    for (id, s) in shards {
        text.sample(&names::SHARD_POOL, &[id, "idle"], s.pool_idle.get());
        text.sample(&names::SHARD_POOL, &[id, "active"], s.pool_active.get());
    }
}

fn control(text: &mut Text, stats: &StatsRegistry) {
    let control = &stats.control;
    text.single(&names::LOG_WRITE_DROPPED, control.log_write_dropped.get());
    text.single(&names::LOG_WRITE_ERRORS, control.log_write_errors.get());
    text.single(&names::MEMORY_USED, f64::from(control.memory_permille()) / 1000.0);
    let (version, source) = control.config();
    text.begin(&names::CONFIG_INFO);
    text.sample(&names::CONFIG_INFO, &[&version.to_string(), &source], 1);
    text.begin(&names::CONFIG_APPLY);
    for (result, n) in APPLY_RESULTS.iter().zip(control.applies()) {
        text.sample(&names::CONFIG_APPLY, &[result], n);
    }
    text.begin(&names::CONFIG_APPLY_DURATION);
    text.histogram(&names::CONFIG_APPLY_DURATION, &[], &control.apply_durations());
}

fn tls(text: &mut Text, stats: &StatsRegistry) {
    text.begin(&names::TLS_HANDSHAKES);
    let mut handshakes: BTreeMap<[&str; 5], u64> = BTreeMap::new();
    for shard in &stats.shards {
        for (transport, counts) in TRANSPORTS.into_iter().zip([&shard.handshakes, &shard.quic.handshakes]) {
            for ([result, version, group, resumed], n) in counts.counts() {
                *handshakes.entry([transport, result, version, group, resumed]).or_default() += n;
            }
        }
    }
    handshakes.iter().for_each(|(kind, n)| text.sample(&names::TLS_HANDSHAKES, kind, n));
    text.begin(&names::TLS_HANDSHAKES_NOW);
    for shard in &stats.shards {
        text.sample(&names::TLS_HANDSHAKES_NOW, &[&shard.shard.to_string()], shard.handshakes_in_progress.get());
    }
    text.begin(&names::CERT_NOT_AFTER);
    // Of two with one name, the one that expires first is the one to look after.
    let mut certificates: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    for (name, not_after) in stats.control.certificates() {
        certificates.entry(name).and_modify(|first| *first = not_after.min(*first)).or_insert(not_after);
    }
    let mut certificates: Vec<_> = certificates.into_iter().collect();
    certificates.sort_by_key(|(_, not_after)| *not_after);
    for (name, not_after) in certificates.iter().take(SERIES_MAX) {
        text.sample(&names::CERT_NOT_AFTER, &[name], not_after);
    }
    text.single(&names::CERT_RELOAD_FAILURES, stats.control.cert_reload_failures.get());
}

/// What `/proc` says of this process. What it does not say is left out.
fn process(text: &mut Text) {
    if let Some(usage) = Usage::read() {
        text.single(&names::PROCESS_CPU, usage.cpu_seconds);
        text.single(&names::PROCESS_RSS, usage.rss_bytes);
        text.single(&names::PROCESS_VSZ, usage.vsz_bytes);
        text.single(&names::PROCESS_START, usage.start_seconds);
    }
    if let Some(open) = open_fds() {
        text.single(&names::PROCESS_FDS, open);
    }
    if let Ok((soft, _)) = edge_io::nofile::limits() {
        text.single(&names::PROCESS_MAX_FDS, soft);
    }
}

/// Open descriptors, but for the one that lists them.
pub fn open_fds() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

/// From `/proc/self/stat`.
struct Usage {
    cpu_seconds: f64,
    rss_bytes: u64,
    vsz_bytes: u64,
    start_seconds: f64,
}

/// Linux shows `/proc` times in this unit to all programs, whatever the kernel's own.
const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    fn read() -> Option<Usage> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        // The name in parentheses may hold anything; what follows the last one is numbers, from field 3 on.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        Some(Usage {
            cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS_PER_SECOND,
            vsz_bytes: field(23)?,
            rss_bytes: kib(&status, "VmRSS:")? * 1024,
            start_seconds: now - uptime + field(22)? as f64 / TICKS_PER_SECOND,
        })
    }
}

/// A line of `/proc/self/status` such as `VmRSS:  1234 kB`.
fn kib(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|l| l.strip_prefix(key))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{
        super::stats::{Handshake, HandshakeResult, HedgeOutcome},
        *,
    };
    use edge_io::head::{Method, Version};
    use std::collections::HashSet;

    /// A strict reading of the format: every sample under its own metric, no series twice.
    pub(super) fn check(text: &str) -> Vec<(String, f64)> {
        let mut samples = Vec::new();
        let (mut current, mut kind) = (String::new(), String::new());
        let mut introduced = HashSet::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                current = help.split(' ').next().unwrap().to_owned();
                assert!(introduced.insert(current.clone()), "{current} twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, k) = rest.split_once(' ').unwrap();
                assert_eq!(name, current);
                kind = k.to_owned();
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                match &*kind {
                    "histogram" => assert!(
                        ["_bucket", "_sum", "_count"].iter().any(|s| name == format!("{current}{s}")),
                        "{name} under {current}"
                    ),
                    _ => assert_eq!(name, current),
                }
                samples.push((series.to_owned(), value.parse().unwrap()));
            }
        }
        let distinct: HashSet<_> = samples.iter().map(|(s, _)| s).collect();
        assert_eq!(distinct.len(), samples.len(), "a series twice");
        samples
    }

    pub(super) fn value(samples: &[(String, f64)], series: &str) -> f64 {
        samples.iter().find(|(s, _)| s == series).unwrap_or_else(|| panic!("no {series}")).1
    }

    #[test]
    fn every_metric_is_there_and_reads_well() {
        let stats = StatsRegistry::new(2);
        let text = render(&stats);
        check(&text);
        for m in names::ALL {
            assert!(text.contains(&format!("# TYPE {} {}\n", m.name, m.kind.as_str())), "{}", m.name);
        }
    }

    #[test]
    fn shards_are_summed_up() {
        let stats = StatsRegistry::new(2);
        let route = stats.route("api");
        let endpoint = stats.endpoint("app", "http://127.0.0.1:1");
        for shard in 0..2 {
            route.shard(shard).request(Method::Get, 200, Version::Http11, 700, 100, 1000);
            route.shard(shard).error(Category::UpstreamTimeout);
            endpoint.shard(shard).response(204, 2_000, 3_000);
            endpoint.shard(shard).error(Category::UpstreamReset);
            endpoint.shard(shard).idle.inc();
        }
        stats.shards[1].unrouted.error(Category::NoRoute);
        let s = check(&render(&stats));
        let v = |series: &str| value(&s, series);
        assert_eq!(v(r#"edge_http_requests_total{route="api",method="GET",code_class="2xx",protocol="h1"}"#), 2.0);
        assert_eq!(v(r#"edge_http_request_duration_seconds_bucket{route="api",protocol="h1",le="0.0005"}"#), 0.0);
        assert_eq!(v(r#"edge_http_request_duration_seconds_bucket{route="api",protocol="h1",le="0.001"}"#), 2.0);
        assert_eq!(v(r#"edge_http_request_duration_seconds_bucket{route="api",protocol="h1",le="+Inf"}"#), 2.0);
        assert_eq!(v(r#"edge_http_request_duration_seconds_sum{route="api",protocol="h1"}"#), 0.0014);
        assert_eq!(v(r#"edge_http_request_size_bytes_total{route="api"}"#), 200.0);
        assert_eq!(v(r#"edge_errors_total{route="api",category="upstream_timeout"}"#), 2.0);
        assert_eq!(v(r#"edge_errors_total{route="_none",category="no_route"}"#), 1.0);
        assert_eq!(
            v(r#"edge_upstream_requests_total{pool="app",endpoint="http://127.0.0.1:1",code_class="2xx"}"#),
            2.0
        );
        assert_eq!(v(r#"edge_upstream_errors_total{pool="app",category="upstream_reset"}"#), 2.0);
        assert_eq!(v(r#"edge_pool_connections{pool="app",state="idle"}"#), 2.0);
        assert!(v("process_resident_memory_bytes") > 100_000.0);
        assert!(v("process_open_fds") >= 3.0);
    }

    #[test]
    fn handshakes_are_told_apart_by_their_transport() {
        let stats = StatsRegistry::new(2);
        let done =
            Handshake { result: HandshakeResult::Ok, version: "TLSv1.3", group: "X25519MLKEM768", resumed: false };
        stats.shards[0].handshakes.count(&done);
        stats.shards[0].quic.handshakes.count(&done);
        stats.shards[1].quic.handshakes.count(&done);
        let s = check(&render(&stats));
        let of = |transport: &str| {
            let labels = r#"result="ok",version="1.3",group="X25519MLKEM768",resumed="no""#;
            value(&s, &format!("edge_tls_handshakes_total{{transport=\"{transport}\",{labels}}}"))
        };
        assert_eq!((of("tcp"), of("quic")), (1.0, 2.0));
    }

    #[test]
    fn what_routes_publish_is_shown_and_bounded() {
        let stats = StatsRegistry::new(1);
        let routes: Vec<_> = (0..500).map(|i| stats.route(&format!("r{i:03}"))).collect();
        for (i, route) in routes.iter().enumerate() {
            route.set_retry_tokens(i as u64);
            route.set_circuit(Some(usize::from(i >= 490)));
        }
        routes[495].tripped();
        routes[0].shard(0).hedged(HedgeOutcome::Won);
        routes[0].shard(0).error(Category::CircuitOpen);
        stats.route("none").set_circuit(None);
        let s = check(&render(&stats));
        let v = |series: &str| value(&s, series);
        let count = |name: &str| s.iter().filter(|(s, _)| s.starts_with(name)).count();
        assert_eq!(count("edge_retry_budget_tokens"), SERIES_MAX);
        assert_eq!(v(r#"edge_retry_budget_tokens{route="r000"}"#), 0.0);
        assert_eq!(count("edge_breaker_state"), 3 * (SERIES_MAX + 1));
        for i in 490..500 {
            assert_eq!(v(&format!("edge_breaker_state{{route=\"r{i}\",state=\"open\"}}")), 1.0);
            assert_eq!(v(&format!("edge_breaker_state{{route=\"r{i}\",state=\"closed\"}}")), 0.0);
        }
        assert_eq!(v(r#"edge_breaker_state{route="_other",state="closed"}"#), 300.0);
        assert_eq!(v(r#"edge_breaker_trips_total{route="r495"}"#), 1.0);
        assert_eq!(v(r#"edge_hedges_total{route="r000",outcome="won"}"#), 1.0);
        assert_eq!(v(r#"edge_circuit_open_total{route="r000"}"#), 1.0);
    }

    #[test]
    fn labels_are_escaped() {
        let stats = StatsRegistry::new(1);
        stats.control.set_config(7, "a\"b\\c\nd");
        let text = render(&stats);
        assert!(text.contains(r#"edge_config_info{version="7",source="a\"b\\c\nd"} 1"#));
        check(&text);
    }

    #[test]
    fn of_many_routes_those_with_most_hits_have_names_and_no_hit_is_lost() {
        let stats = StatsRegistry::new(2);
        let routes: Vec<_> = (0..5000).map(|i| stats.route(&format!("r{i:04}"))).collect();
        for (i, route) in routes.iter().enumerate() {
            for _ in 0..=usize::from(i >= 4800) {
                route.shard(i % 2).request(Method::Get, 200, Version::Http11, 700, 1, 1);
            }
        }
        let s = check(&render(&stats));
        let named: Vec<_> = s.iter().filter(|(s, _)| s.starts_with("edge_http_requests_total")).collect();
        assert_eq!(named.len(), SERIES_MAX + 1);
        assert_eq!(named.iter().map(|(_, v)| v).sum::<f64>(), 5200.0);
        assert!(named.iter().any(|(s, v)| s.contains("\"r4800\"") && *v == 2.0));
        assert!(named.iter().any(|(s, v)| s.contains("\"_other\"") && *v == 4800.0));
        let sizes = s.iter().filter(|(s, _)| s.starts_with("edge_http_request_size_bytes_total")).count();
        assert!(sizes <= SERIES_MAX + 2);
    }

    #[test]
    fn pools_and_endpoints_are_bounded_too() {
        let stats = StatsRegistry::new(1);
        let all: Vec<_> = (0..1000).map(|i| stats.endpoint(&format!("p{}", i / 2), &format!("e{i}"))).collect();
        all.iter().for_each(|e| e.shard(0).response(200, 1, 1));
        let s = check(&render(&stats));
        let count = |name: &str| s.iter().filter(|(s, _)| s.starts_with(name)).count();
        assert_eq!(count("edge_upstream_requests_total"), SERIES_MAX + 1);
        assert_eq!(count("edge_pool_connections"), 2 * (SERIES_MAX + 1));
    }
}
