//! Metrics of the names of endpoints.
use super::{SERIES_MAX, Text, names};
use crate::observe::stats::{DNS_RESULTS, StatsRegistry};
use std::time::Instant;

/// Writes them. Of many names the first ones by the alphabet have series of their own.
pub(super) fn write(text: &mut Text, stats: &StatsRegistry) {
    let dns = &stats.control.dns;
    text.begin(&names::DNS_RESOLUTIONS);
    for (result, n) in DNS_RESULTS.iter().zip(dns.results()) {
        text.sample(&names::DNS_RESOLUTIONS, &[result], n);
    }
    text.single(&names::DNS_ADOPTED, dns.adopted.get());
    let (all, now) = (dns.names(), Instant::now());
    let shown = || all.iter().take(SERIES_MAX);
    text.begin(&names::DNS_ENDPOINTS);
    shown().for_each(|name| text.sample(&names::DNS_ENDPOINTS, &[&name.name], name.addresses));
    text.begin(&names::DNS_AGE);
    for (name, at) in shown().filter_map(|name| Some((name, name.answered?))) {
        text.sample(&names::DNS_AGE, &[&name.name], now.saturating_duration_since(at).as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{render, tests};
    use crate::observe::stats::{DnsResult, NameStats, StatsRegistry};
    use std::{collections::HashSet, time::Instant};

    #[test]
    fn names_are_there_while_they_are_in_use() {
        let stats = StatsRegistry::new(1);
        let dns = &stats.control.dns;
        dns.resolved(DnsResult::Timeout);
        let set = |name: &str, addresses, answered| dns.set(NameStats { name: name.into(), addresses, answered });
        set("app.internal", 3, Some(Instant::now()));
        set("dead.internal", 0, None);
        let samples = tests::check(&render(&stats));
        assert_eq!(tests::value(&samples, r#"edge_dns_resolutions_total{result="timeout"}"#), 1.0);
        assert_eq!(tests::value(&samples, r#"edge_dns_endpoints{name="app.internal"}"#), 3.0);
        assert_eq!(tests::value(&samples, r#"edge_dns_endpoints{name="dead.internal"}"#), 0.0);
        let ages = samples.iter().filter(|(series, _)| series.starts_with("edge_dns_answer_age_seconds"));
        assert_eq!(ages.count(), 1);
        dns.retain(&HashSet::from(["dead.internal".into()]));
        assert_eq!(dns.names().len(), 1);
    }
}
