//! The verdict: figures of the generator in, sentences out. Pure.
use crate::record::{Counts, Fault, ShardUse, Verdict};

/// A tick of a shard's clock may be so late, 99 times of 100, µs. What is measured is late by as much.
const LAG_US: u64 = 1_000;
/// Share of the schedule that may be sent more than a millisecond late though a place was free.
const SLIPPED: f64 = 0.01;
/// Share of its processor that a shard may use. Above that it is the generator that is measured.
const CPU: f64 = 0.95;

/// What the verdict is made from.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// How the shards did.
    pub shards: &'a [ShardUse],
    /// Measured time, seconds.
    pub seconds: f64,
    /// Processors that each shard may use: 1, or less under a quota of the control group.
    pub share: f64,
    /// Counts of the measured time.
    pub counts: &'a Counts,
    /// Tasks of connections that ended by a defect of this program.
    pub panics: u64,
}

/// Judges. Each reason has its figure, and what to do.
pub fn verdict(facts: &Facts<'_>) -> Verdict {
    let reasons: Vec<String> =
        [nothing(facts), lag(facts), slip(facts), cpu(facts), ports(facts), descriptors(facts), defects(facts)]
            .into_iter()
            .flatten()
            .collect();
    Verdict { valid: reasons.is_empty(), reasons }
}

fn worst<'a>(facts: &Facts<'a>, of: impl Fn(&ShardUse) -> f64) -> Option<(&'a ShardUse, f64)> {
    facts.shards.iter().map(|shard| (shard, of(shard))).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Without measured time there is nothing that could be the server's.
fn nothing(facts: &Facts<'_>) -> Option<String> {
    (facts.seconds <= 0.0).then(|| {
        "Nothing was measured: the run ended before its measured time began. Let it go on, or make the time before that \
         shorter (--warmup)."
            .to_owned()
    })
}

fn lag(facts: &Facts<'_>) -> Option<String> {
    let (shard, late) = worst(facts, |shard| shard.lag.1 as f64)?;
    let waited = shard.waited_us as f64 / 1e6;
    (late > LAG_US as f64).then(|| {
        format!(
            "The generator's clock on core {} ran late: {} ms in the worst 1 % of its ticks, 1 ms is allowed. It waited {:.1} s \
             for a processor. Keep other work off that core, give it more cores (--cores), or use fewer connections.",
            shard.core,
            millis(late),
            waited
        )
    })
}

fn slip(facts: &Facts<'_>) -> Option<String> {
    let (shard, share) = worst(facts, |shard| shard.slipped)?;
    (share > SLIPPED).then(|| {
        format!(
            "The schedule slipped: core {} sent {:.1} % of its requests more than 1 ms late though a connection was free, 1 % is \
             allowed. Lower the rate (-r), or give the generator more cores (--cores).",
            shard.core,
            share * 100.0
        )
    })
}

fn cpu(facts: &Facts<'_>) -> Option<String> {
    let available = facts.seconds * facts.share * 1e6;
    let (shard, used) = worst(facts, |shard| shard.cpu_us as f64 / available)?;
    (available > 0.0 && used > CPU).then(|| {
        format!(
            "The generator was out of CPU: its thread on core {} used {:.0} % of what it may, 95 % is allowed, so the server \
             was not at its limit. Give it more cores (--cores), or ask for less.",
            shard.core,
            used * 100.0
        )
    })
}

fn ports(facts: &Facts<'_>) -> Option<String> {
    let n = count(facts, Fault::PortsExhausted)?;
    Some(format!(
        "This machine ran out of ports: {n} connections found none free. Make fewer connections (--requests-per-conn, \
         --conn-rate), widen net.ipv4.ip_local_port_range, or use several addresses of the server."
    ))
}

fn descriptors(facts: &Facts<'_>) -> Option<String> {
    let n = count(facts, Fault::NoDescriptors)?;
    Some(format!(
        "This process ran out of open files: {n} connections were not made. Raise the limit (ulimit -n), or use fewer \
         connections (-c)."
    ))
}

fn defects(facts: &Facts<'_>) -> Option<String> {
    (facts.panics > 0).then(|| {
        format!(
            "{} of the generator's connections ended by a defect of this program. Please report it with the command line and \
             what it wrote to the terminal.",
            facts.panics
        )
    })
}

fn count(facts: &Facts<'_>, fault: Fault) -> Option<u64> {
    facts.counts.faults.get(&fault).copied().filter(|n| *n > 0)
}

fn millis(us: f64) -> String {
    let ms = us / 1e3;
    if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ShardUse {
        ShardUse {
            core: 3,
            cpu_us: 9_400_000,
            waited_us: 10,
            lag: (20, 1_000, 90_000),
            slip: Some((1, 50, 2_000)),
            slipped: 0.01,
        }
    }

    fn judged(shard: ShardUse, share: f64, fault: Option<Fault>, panics: u64) -> Verdict {
        let mut counts = Counts::default();
        counts.faults.insert(Fault::Reset, 1_000);
        if let Some(fault) = fault {
            counts.faults.insert(fault, 7);
        }
        let shards = [ShardUse::default(), shard];
        verdict(&Facts { shards: &shards, seconds: 10.0, share, counts: &counts, panics })
    }

    #[test]
    fn what_is_at_its_limits_is_valid() {
        let verdict = judged(good(), 1.0, None, 0);
        assert!(verdict.valid && verdict.reasons.is_empty(), "{verdict:?}");
    }

    #[test]
    fn each_reason_has_its_figure_and_what_to_do() {
        let cases = [
            (judged(ShardUse { lag: (1, 1_001, 1), ..good() }, 1.0, None, 0), ["core 3", "1.0 ms", "--cores"]),
            (judged(ShardUse { lag: (1, 80_000, 1), ..good() }, 1.0, None, 0), ["core 3", "80 ms", "other work"]),
            (judged(ShardUse { slipped: 0.0123, ..good() }, 1.0, None, 0), ["core 3", "1.2 %", "-r"]),
            (judged(ShardUse { cpu_us: 9_600_000, ..good() }, 1.0, None, 0), ["core 3", "96 %", "--cores"]),
            (judged(ShardUse { cpu_us: 1_980_000, ..good() }, 0.2, None, 0), ["core 3", "99 %", "--cores"]),
            (judged(good(), 1.0, Some(Fault::PortsExhausted), 0), ["7 connections", "ports", "ip_local_port_range"]),
            (judged(good(), 1.0, Some(Fault::NoDescriptors), 0), ["7 connections", "open files", "ulimit -n"]),
            (judged(good(), 1.0, None, 2), ["2 of", "defect", "report"]),
        ];
        for (verdict, words) in cases {
            assert!(!verdict.valid && verdict.reasons.len() == 1, "{verdict:?}");
            for word in words {
                assert!(verdict.reasons[0].contains(word), "{word} is not in {:?}", verdict.reasons[0]);
            }
        }
    }

    #[test]
    fn what_was_not_measured_is_not_valid() {
        let counts = Counts::default();
        let verdict = verdict(&Facts { shards: &[good()], seconds: 0.0, share: 1.0, counts: &counts, panics: 0 });
        assert!(verdict.reasons.len() == 1 && verdict.reasons[0].contains("--warmup"), "{verdict:?}");
    }

    #[test]
    fn all_reasons_are_told() {
        let bad = ShardUse { lag: (1, 5_000, 1), slipped: 0.5, cpu_us: 10_000_000, ..good() };
        assert_eq!(judged(bad, 1.0, Some(Fault::NoDescriptors), 1).reasons.len(), 5);
    }
}
