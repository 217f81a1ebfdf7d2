//! The counters of QUIC and HTTP/3 as text.
use super::{Number, Text};
use crate::observe::{
    names::{self, Metric},
    stats::{DIRECTIONS, DROPPED, EARLY_DATA, HTTP3_CODES, QuicStats, StatsRegistry},
};

/// Renders them.
pub(super) fn write(text: &mut Text, stats: &StatsRegistry) {
    let ids: Vec<String> = stats.shards.iter().map(|s| s.shard.to_string()).collect();
    let shards: Vec<(&str, &QuicStats)> = ids.iter().map(|s| &**s).zip(stats.shards.iter().map(|s| &s.quic)).collect();
    let plain: [Number<QuicStats>; 6] = [
        (&names::QUIC_HALF_OPEN, |s| s.half_open.get().into()),
        (&names::QUIC_LOST, |s| s.lost_packets.get().into()),
        (&names::QUIC_RETRIES, |s| s.retries.get().into()),
        (&names::QUIC_RESETS, |s| s.stateless_resets.get().into()),
        (&names::QUIC_VERSIONS, |s| s.version_negotiations.get().into()),
        (&names::QUIC_MIGRATIONS, |s| s.migrations.get().into()),
    ];
    for (metric, value) in plain {
        text.begin(metric);
        shards.iter().for_each(|(id, s)| text.sample(metric, &[id], value(s)));
    }
    let all = |text: &mut Text, metric: &Metric, labels: &[&str], counts: &dyn Fn(&QuicStats) -> Vec<u64>| {
        text.begin(metric);
        for (id, s) in &shards {
            labels.iter().zip(counts(s)).for_each(|(label, n)| text.sample(metric, &[id, label], n));
        }
    };
    all(text, &names::QUIC_PACKETS, &DIRECTIONS, &|s| s.packet_counts().into());
    all(text, &names::QUIC_DROPPED, &DROPPED, &|s| s.dropped_counts().into());
    all(text, &names::EARLY_DATA, &EARLY_DATA, &|s| s.early_data_counts().into());
    text.begin(&names::HTTP3_ABUSE);
    for (id, s) in &shards {
        s.http3_abuses().for_each(|(kind, n)| text.sample(&names::HTTP3_ABUSE, &[id, kind], n));
    }
    text.begin(&names::HTTP3_ERRORS);
    for (id, s) in &shards {
        for (code, n) in HTTP3_CODES.iter().zip(s.http3_errors()).filter(|(_, n)| *n > 0) {
            text.sample(&names::HTTP3_ERRORS, &[id, code], n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        render,
        tests::{check, value},
    };
    use crate::observe::stats::{Direction, Dropped, EarlyData, StatsRegistry};

    #[test]
    fn quic_is_counted_by_shard() {
        let stats = StatsRegistry::new(2);
        let quic = &stats.shards[1].quic;
        quic.packets(Direction::Sent, 7);
        quic.dropped(Dropped::ForwardQueue);
        quic.half_open.inc();
        quic.http3_error(0x107);
        quic.early_data(EarlyData::Rejected);
        let s = check(&render(&stats));
        for (series, n) in [
            (r#"edge_quic_packets_total{shard="1",direction="sent"}"#, 7.0),
            (r#"edge_quic_packets_total{shard="0",direction="sent"}"#, 0.0),
            (r#"edge_quic_packets_dropped_total{shard="1",reason="forward_queue"}"#, 1.0),
            (r#"edge_quic_connections_half_open{shard="1"}"#, 1.0),
            (r#"edge_http3_connection_errors_total{shard="1",code="H3_EXCESSIVE_LOAD"}"#, 1.0),
            (r#"edge_early_data_total{shard="1",result="rejected"}"#, 1.0),
        ] {
            assert_eq!(value(&s, series), n, "{series}");
        }
        assert_eq!(stats.quic_half_open(), 1);
    }
}
