//! What reports say alike: the words for what was exchanged, sums, and rates that are never divided by nothing.
use crate::record::{Counts, Fault, Outcome, Spread};

/// What is exchanged, in words.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// One of them.
    pub one: &'static str,
    /// Several.
    pub many: &'static str,
    /// What became of the good ones.
    pub answered: &'static str,
    /// Name of `times.response` where there is also a service time.
    pub response: &'static str,
    /// Name of `times.response` where it stands alone.
    pub alone: &'static str,
    /// What `times.first_byte` is.
    pub first: &'static str,
}

/// The words for this result.
pub fn words(outcome: &Outcome) -> Words {
    match outcome.asked.exchange.as_str() {
        "websocket" => Words {
            one: "message",
            many: "messages",
            answered: "echoed",
            response: "response",
            alone: "round trip",
            first: "first byte",
        },
        "events" => Words {
            one: "event",
            many: "events",
            answered: "received",
            response: "delay",
            alone: "delay",
            first: "first byte",
        },
        _ => Words {
            one: "request",
            many: "requests",
            answered: "answered",
            response: "response",
            alone: "latency",
            first: "first byte",
        },
    }
}

/// The columns of a latency table: those that have something to say, each with its name.
pub fn columns(outcome: &Outcome) -> Vec<(&'static str, &Spread)> {
    let (times, words) = (&outcome.times, words(outcome));
    let response = if times.service.is_some() { words.response } else { words.alone };
    let mut columns = vec![(response, &times.response)];
    columns.extend(times.service.as_ref().map(|s| ("service", s)));
    columns.push((words.first, &times.first_byte));
    columns.extend(times.connect.as_ref().map(|s| ("connect", s)));
    columns.extend(times.tls.as_ref().map(|s| ("TLS", s)));
    // The first column says that nothing was measured; the others would say it again.
    columns.into_iter().enumerate().filter(|(i, (_, s))| *i == 0 || s.count > 0).map(|(_, c)| c).collect()
}

/// The rows of a latency table: what is shown of a spread, by name.
pub fn rows(spread: &Spread) -> [(&'static str, f64); 9] {
    [
        ("p50", spread.p50 as f64),
        ("p75", spread.p75 as f64),
        ("p90", spread.p90 as f64),
        ("p95", spread.p95 as f64),
        ("p99", spread.p99 as f64),
        ("p99.9", spread.p999 as f64),
        ("p99.99", spread.p9999 as f64),
        ("max", spread.max as f64),
        ("mean", spread.mean),
    ]
}

/// `n` over a time or a number that may be 0, which makes it 0.
pub fn per(n: f64, of: f64) -> f64 {
    let quotient = n / of;
    if quotient.is_finite() && of > 0.0 { quotient } else { 0.0 }
}

/// All faults together.
pub fn faults(counts: &Counts) -> u64 {
    counts.faults.values().fold(0, |sum, n| sum.saturating_add(*n))
}

/// The faults that ended requests.
fn request_faults(counts: &Counts) -> u64 {
    let of_requests = counts.faults.iter().filter(|(fault, _)| fault.is_of_request());
    of_requests.fold(0, |sum, (_, n)| sum.saturating_add(*n))
}

/// Which part of the requests went wrong, 0 to 1. Connections that never had a request count where nothing was sent.
pub fn error_share(counts: &Counts) -> f64 {
    if counts.sent == 0 {
        return if faults(counts) > 0 { 1.0 } else { 0.0 };
    }
    per(request_faults(counts) as f64, counts.sent as f64).min(1.0)
}

/// Kinds of fault, the most frequent first.
pub fn by_number<K: Copy + Ord>(counts: &std::collections::BTreeMap<K, u64>) -> Vec<(K, u64)> {
    let mut found: Vec<(K, u64)> = counts.iter().map(|(k, n)| (*k, *n)).filter(|(_, n)| *n > 0).collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    found
}

/// The fault in words for people who did not read the list of kinds.
pub fn meaning(fault: Fault) -> &'static str {
    match fault {
        Fault::ConnectRefused => "nothing listens there",
        Fault::ConnectTimeout => "no connection in time",
        Fault::ConnectFailed => "no connection",
        Fault::PortsExhausted => "this machine has no free port",
        Fault::NoDescriptors => "this machine's limit of open files",
        Fault::Handshake => "TLS or QUIC handshake failed",
        Fault::Alpn => "another protocol than asked for",
        Fault::Timeout => "no answer in time",
        Fault::Closed => "closed before the answer",
        Fault::Truncated => "closed within the answer",
        Fault::Reset => "connection reset",
        Fault::StreamReset => "stream reset",
        Fault::Refused => "refused, not processed",
        Fault::Protocol => "not the protocol",
        Fault::TooLarge => "answer too large",
        Fault::Status => "unexpected status",
        Fault::Body => "unexpected body",
        Fault::Upgrade => "upgrade not granted",
    }
}

/// What was asked of the load, in words.
pub fn load(outcome: &Outcome) -> String {
    use super::units::rate;
    let words = words(outcome);
    match outcome.asked.rate {
        None => "closed loop: latencies are not what users see".to_owned(),
        Some(asked) => {
            let arrivals = outcome.asked.arrivals.as_deref().map_or(String::new(), |a| format!(", {a} arrivals"));
            let sent = per(outcome.counts.sent as f64, outcome.seconds);
            format!("open loop: {} {}/s asked{arrivals}; {}/s sent", rate(asked), words.many, rate(sent))
        }
    }
}

/// Connections, streams and shards, in words.
pub fn shape(outcome: &Outcome) -> String {
    use super::units::counted;
    let asked = &outcome.asked;
    let mut out = counted(asked.connections as u64, "connection", "connections");
    if asked.streams > 1 {
        let what = if asked.protocol.iter().all(|p| p == "h1") { "pipelined" } else { "streams" };
        out.push_str(&format!(" × {} {what}", asked.streams));
    }
    let cores: Vec<String> = asked.cores.iter().take(CORES_MAX).map(usize::to_string).collect();
    if !cores.is_empty() {
        let more = if asked.cores.len() > CORES_MAX { ", …" } else { "" };
        let word = if asked.cores.len() == 1 { "core" } else { "cores" };
        out.push_str(&format!("; generator on {word} {}{more}", cores.join(", ")));
    }
    out
}

/// Cores that are named one by one; more say nothing that their number does not.
const CORES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(per(1.0, 0.0), 0.0);
        assert_eq!(per(1.0, -1.0), 0.0);
        assert_eq!(per(f64::NAN, 1.0), 0.0);
        assert_eq!(per(4.0, 2.0), 2.0);
    }

    #[test]
    fn only_faults_of_requests_are_a_share_of_the_requests() {
        let mut counts = Counts { sent: 100, ..Counts::default() };
        counts.faults.insert(Fault::Timeout, 3);
        counts.faults.insert(Fault::ConnectRefused, 50);
        assert_eq!(error_share(&counts), 0.03);
        assert_eq!(faults(&counts), 53);
        counts.sent = 0;
        assert_eq!(error_share(&counts), 1.0, "nothing could be sent: that is not a clean run");
    }
}
