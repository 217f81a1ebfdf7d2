//! Every metric, once: name, help, type, unit and labels. `metrics` renders from it, the documentation lists it.

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// As a `# TYPE` line says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, in Prometheus' base units.
    pub name: &'static str,
    /// What it tells, for `# HELP` and the documentation.
    pub help: &'static str,
    /// Its type.
    pub kind: Kind,
    /// `seconds`, `bytes`, or empty for plain numbers.
    pub unit: &'static str,
    /// Its labels, in order. Values come from the configuration or closed sets, never from the wire.
    pub labels: &'static [&'static str],
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $unit:literal $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric =
                Metric { name: $name, help: $help, kind: Kind::$kind, unit: $unit, labels: &[$($label),*] };
        )*
        /// Every metric, in the order of the exposition.
        pub const ALL: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "edge_build_info" ["version"] "" "The running build; always 1.";
    UPTIME = Gauge "edge_uptime_seconds" [] "seconds" "Time since the process started.";
    HTTP_REQUESTS = Counter "edge_http_requests_total" ["route", "method", "code_class", "protocol"] ""
        "Requests answered.";
    HTTP_DURATION = Histogram "edge_http_request_duration_seconds" ["route", "protocol"] "seconds"
        "From a request's first byte to its answer's last.";
    HTTP_BYTES_IN = Counter "edge_http_request_size_bytes_total" ["route"] "bytes" "Bytes of requests, heads and bodies.";
    HTTP_BYTES_OUT = Counter "edge_http_response_size_bytes_total" ["route"] "bytes"
        "Bytes of answers, heads and bodies.";
    HTTP_IN_FLIGHT = Gauge "edge_http_requests_in_flight" ["route"] "" "Requests being served.";
    ERRORS = Counter "edge_errors_total" ["route", "category"] "" "Requests that failed, by the category of the failure.";
    RETRIES = Counter "edge_retries_total" ["route", "outcome"] "" "Requests sent more than once, by how they ended.";
    RETRY_TOKENS = Gauge "edge_retry_budget_tokens" ["route"] ""
        "Retries that a route's budget has left, once it was asked for one.";
    HEDGES = Counter "edge_hedges_total" ["route", "outcome"] ""
        "Requests slow enough for a second attempt beside the first, by how they ended.";
    BREAKER_STATE = Gauge "edge_breaker_state" ["route", "state"] "" "The circuit of a route that has one: 1 for its state, 0 for the others.";
    BREAKER_TRIPS = Counter "edge_breaker_trips_total" ["route"] "" "How often the circuit of a route opened.";
    CIRCUIT_OPEN = Counter "edge_circuit_open_total" ["route"] "" "Requests refused because the circuit was open.";
    UPSTREAM_REQUESTS = Counter "edge_upstream_requests_total" ["pool", "endpoint", "code_class"] ""
        "Answers of endpoints.";
    UPSTREAM_DURATION = Histogram "edge_upstream_duration_seconds" ["pool", "endpoint"] "seconds"
        "From a request's start at an endpoint to its answer's last byte.";
    UPSTREAM_FIRST_BYTE = Histogram "edge_upstream_first_byte_duration_seconds" ["pool", "endpoint"] "seconds"
        "From a request's start at an endpoint to its answer's first byte.";
    UPSTREAM_CONNECT = Histogram "edge_upstream_connect_duration_seconds" ["pool", "endpoint"] "seconds"
        "How long connecting to an endpoint took.";
    UPSTREAM_ERRORS = Counter "edge_upstream_errors_total" ["pool", "category"] ""
        "Attempts at endpoints that failed, by the category of the failure.";
    POOL_LIMIT = Gauge "edge_pool_concurrency_limit" ["pool"] ""
        "Requests in flight that a pool takes at a time, where that is found by measuring.";
    POOL_CONNECTIONS = Gauge "edge_pool_connections" ["pool", "state"] "" "Connections to endpoints: idle or active.";
    POOL_ENDPOINTS = Gauge "edge_pool_endpoints" ["pool", "state"] ""
        "Endpoints of a pool: usable, unhealthy by the active check, or ejected for a while by what their answers were.";
    HEALTH_CHECKS = Counter "edge_health_checks_total" ["pool", "result"] "" "Active health checks, by how they ended.";
    EJECTIONS = Counter "edge_outlier_ejections_total" ["pool", "reason"] "" "Endpoints left out for a while, by the reason.";
    EJECTIONS_CAPPED = Counter "edge_outlier_ejections_capped_total" ["pool"] ""
        "How often an endpoint was not left out because too many of its pool were out already.";
    FAIL_OPEN = Counter "edge_outlier_fail_open_total" ["pool"] ""
        "Requests that passed although no endpoint of the pool was to be used.";
    ACCEPTS = Counter "edge_accepts_total" ["listener"] "" "Client connections accepted.";
    CONNECTIONS = Gauge "edge_connections" ["listener", "protocol"] "" "Client connections open.";
    SHARD_CONNECTIONS = Gauge "edge_shard_connections" ["shard", "state"] ""
        "Client connections open on a shard: idle (between two requests) or active.";
    SHARD_IN_FLIGHT = Gauge "edge_shard_requests_in_flight" ["shard"] "" "Requests that a shard is serving.";
    SHARD_ACCEPTS = Counter "edge_shard_accepts_total" ["shard"] "" "Client connections that a shard accepted.";
    SHARD_BYTES_IN = Counter "edge_shard_read_bytes_total" ["shard"] "bytes" "Bytes that a shard read from clients.";
    SHARD_BYTES_OUT = Counter "edge_shard_written_bytes_total" ["shard"] "bytes" "Bytes that a shard wrote to clients.";
    SHARD_POOL = Gauge "edge_shard_pool_connections" ["shard", "state"] ""
        "Connections of a shard to endpoints: idle or active.";
    UPGRADES = Gauge "edge_upgrades_active" ["shard"] "" "Upgraded connections (WebSocket) open.";
    LIMIT_HITS = Counter "edge_limit_hits_total" ["shard", "limit"] "" "How often a configured bound was hit.";
    HTTP2_ABUSE = Counter "edge_http2_abuse_total" ["shard", "kind"] ""
        "What peers of HTTP/2 connections did beyond a bound, by its kind.";
    QUEUE_DEPTH = Gauge "edge_queue_depth" ["shard", "queue"] "" "Requests that wait for something scarce.";
    QUEUE_WAIT = Histogram "edge_queue_wait_seconds" ["shard", "queue"] "seconds"
        "How long requests waited for something scarce, however the wait ended.";
    OVERLOAD_REJECTED = Counter "edge_overload_rejected_total" ["shard", "queue", "reason"] ""
        "Requests answered 503 `overloaded` because of a limit, by what they waited for and why the wait ended.";
    SHED = Counter "edge_shed_total" ["shard", "priority"] ""
        "Requests answered 503 `overloaded` because the shard could not keep up, by their priority.";
    SHEDDING = Gauge "edge_shedding_ratio" ["shard", "priority"] ""
        "Share of requests that a shard that cannot keep up refuses now, by their priority.";
    MEMORY_USED = Gauge "edge_memory_used_ratio" [] ""
        "Resident memory as a share of what the process may have: its cgroup's limit, or the machine's memory.";
    PANICS = Counter "edge_panics_total" ["shard"] "" "Panics caught; each cost one connection.";
    LOOP_LAG = Histogram "edge_shard_loop_lag_seconds" ["shard"] "seconds" "How late a shard's loop came to what was due.";
    SHARD_SILENCE = Gauge "edge_shard_silence_seconds" ["shard"] "seconds"
        "Time since a shard's loop last turned; above 1 the process is not healthy.";
    SHARD_DRIVER = Gauge "edge_shard_driver" ["shard", "driver"] "" "How a shard talks to the kernel; always 1.";
    CQ_OVERFLOW = Counter "edge_uring_cq_overflow_total" ["shard"] "" "Completions that did not fit into the queue at once.";
    LOG_DROPPED = Counter "edge_log_dropped_total" ["shard"] ""
        "Access-log lines dropped because a shard's ring was full.";
    LOG_WRITE_DROPPED = Counter "edge_log_write_dropped_total" [] ""
        "Access-log lines dropped because they could not be written.";
    LOG_WRITE_ERRORS = Counter "edge_log_write_errors_total" [] "" "Failed writes of the access log.";
    CONFIG_INFO = Gauge "edge_config_info" ["version", "source"] "" "The configuration in use; always 1.";
    CONFIG_VERSION = Gauge "edge_config_version" ["shard"] "" "The version of the configuration that a shard serves.";
    CONFIG_APPLY = Counter "edge_config_apply_total" ["result"] "" "Attempts to apply a configuration.";
    CONFIG_APPLY_DURATION = Histogram "edge_config_apply_duration_seconds" [] "seconds"
        "From reading a configuration to the last shard's acknowledgement.";
    DNS_RESOLUTIONS = Counter "edge_dns_resolutions_total" ["result"] ""
        "How often names of endpoints were looked up, by what came of it.";
    DNS_ADOPTED = Counter "edge_dns_adoptions_total" [] ""
        "How often the shards adopted other addresses of names; reloads are not counted.";
    DNS_ENDPOINTS = Gauge "edge_dns_endpoints" ["name"] "" "Addresses that a name stands for: those of its last good answer.";
    DNS_AGE = Gauge "edge_dns_answer_age_seconds" ["name"] "seconds"
        "Time since the last good answer for a name; there is none before the first.";
    TLS_HANDSHAKES = Counter "edge_tls_handshakes_total" ["transport", "result", "version", "group", "resumed"] ""
        "TLS handshakes with clients, by how they ended and what was agreed on.";
    TLS_HANDSHAKES_NOW = Gauge "edge_tls_handshakes_in_progress" ["shard"] ""
        "TLS handshakes with clients over TCP in progress.";
    QUIC_HALF_OPEN = Gauge "edge_quic_connections_half_open" ["shard"] ""
        "QUIC connections whose handshake is in progress.";
    QUIC_PACKETS = Counter "edge_quic_packets_total" ["shard", "direction"] ""
        "UDP datagrams read, written, and handed on to the shard that has their connection.";
    QUIC_DROPPED = Counter "edge_quic_packets_dropped_total" ["shard", "reason"] "" "UDP datagrams that went nowhere.";
    QUIC_LOST = Counter "edge_quic_lost_packets_total" ["shard"] "" "QUIC packets of ours that did not arrive.";
    QUIC_RETRIES = Counter "edge_quic_retries_total" ["shard"] ""
        "Clients that were asked to show that their address is their own (Retry).";
    QUIC_RESETS = Counter "edge_quic_stateless_resets_total" ["shard"] ""
        "Packets of connections that nobody knows, answered by a stateless reset.";
    QUIC_VERSIONS = Counter "edge_quic_version_negotiations_total" ["shard"] ""
        "Clients that were told which versions of QUIC are spoken.";
    QUIC_MIGRATIONS = Counter "edge_quic_migrations_total" ["shard"] "" "Connections that went on from another address.";
    EARLY_DATA = Counter "edge_early_data_total" ["shard", "result"] ""
        "Connections whose early data was accepted or rejected, and requests answered 425 because they came in it.";
    HTTP3_ABUSE = Counter "edge_http3_abuse_total" ["shard", "kind"] ""
        "What clients of HTTP/3 connections did beyond a bound, by its kind.";
    HTTP3_ERRORS = Counter "edge_http3_connection_errors_total" ["shard", "code"] ""
        "HTTP/3 connections that ended with an error, by its code.";
    CERT_NOT_AFTER = Gauge "edge_cert_not_after_seconds" ["name"] "seconds"
        "When a certificate in use expires, seconds since 1970, by its first name; of many, those that expire first.";
    CERT_RELOAD_FAILURES = Counter "edge_cert_reload_failures_total" [] ""
        "Certificates, keys and revocation lists that could not be read again; the earlier ones stayed in use.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" [] "seconds" "CPU time of the process, user and system.";
    PROCESS_RSS = Gauge "process_resident_memory_bytes" [] "bytes" "Resident memory of the process.";
    PROCESS_VSZ = Gauge "process_virtual_memory_bytes" [] "bytes" "Virtual memory of the process.";
    PROCESS_FDS = Gauge "process_open_fds" [] "" "Open file descriptors of the process.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" [] "" "The most file descriptors the process may open.";
    PROCESS_START = Gauge "process_start_time_seconds" [] "seconds" "When the process started, seconds since 1970.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = std::collections::HashSet::new();
        for m in ALL {
            assert!(seen.insert(m.name), "{} twice", m.name);
            assert!(m.name.starts_with("edge_") || m.name.starts_with("process_"), "{}", m.name);
            assert!(m.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{}", m.name);
            assert_eq!(m.kind == Kind::Counter, m.name.ends_with("_total"), "{}", m.name);
            assert!(m.name.trim_end_matches("_total").ends_with(m.unit), "{}: unit is the last word", m.name);
            assert!(m.help.ends_with('.') && !m.help.contains(['\n', '\\']), "{}", m.name);
        }
    }
}
