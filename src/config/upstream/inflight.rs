//! Reads `max_inflight` with its queue, `adaptive`, `priority` and `server.protect`.
use crate::{
    config::{
        limits,
        raw::{to_u32, with_table},
        report::Problem,
        section::Section,
    },
    message::{Priority, ProtectRule},
    upstream::{AdaptiveRule, GateConfig},
};
use toml::de::{DeTable, DeValue};

/// `max_inflight`, `queue` and `queue_timeout`; with `most`, there is a limit even without the first.
pub(in crate::config) fn read_gate(section: &Section<'_>, most: Option<u32>) -> Option<GateConfig> {
    let max = section.count_or_word("max_inflight").map(to_u32);
    let (queue, timeout) = (to_u32(section.count("queue")), section.time("queue_timeout"));
    if most.is_none() && section.misses("max_inflight") {
        for name in ["queue", "queue_timeout"].into_iter().filter(|name| section.has(name)) {
            section.scene.mistake(section.span_of_key(name), |at| {
                Problem::new(at, format!("{name} without max_inflight: nothing waits there"))
                    .help("set max_inflight, or \"off\"; the line for connections is max_waiting, of a pool")
            });
        }
    }
    let max = max.into_iter().chain(most).min()?;
    Some(GateConfig { max, queue, timeout })
}

/// `adaptive`.
pub(in crate::config) fn read_adaptive(pool: &Section<'_>) -> Option<AdaptiveRule> {
    let value = pool.value("adaptive")?;
    let empty = DeTable::new();
    match value.get_ref() {
        DeValue::Boolean(false) => None,
        DeValue::Boolean(true) => Some(adaptive(Section::new(pool.scene, &limits::ADAPTIVE, &empty, value.span()))),
        DeValue::Table(table) => Some(adaptive(Section::new(pool.scene, &limits::ADAPTIVE, table, value.span()))),
        other => {
            let help = match other {
                DeValue::String(word) if matches!(&**word, "true" | "on" | "yes") => "write true, without quotes",
                DeValue::String(word) if matches!(&**word, "false" | "off" | "no") => "write false, or leave it out",
                _ => "",
            };
            pool.scene.mistake(value.span(), |at| {
                Problem::new(at, "adaptive is neither true nor false nor a table")
                    .expected("true, or a table such as { min = 10, max = 500 }")
                    .help(help)
            });
            None
        }
    }
}

fn adaptive(section: Section<'_>) -> AdaptiveRule {
    let rule = AdaptiveRule {
        min: to_u32(section.count("min")),
        max: to_u32(section.count("max")),
        probe_every: section.time("probe_every"),
    };
    if rule.min > rule.max {
        let name = if section.has("min") { "min" } else { "max" };
        section.scene.mistake(section.span_of(name), |at| {
            Problem::new(at, "min is larger than max, which it must not exceed")
                .help(format!("min is {}, max is {}", rule.min, rule.max))
        });
    }
    section.finish();
    rule
}

/// `priority`.
pub(in crate::config) fn read_priority(policy: &Section<'_>) -> Priority {
    let word = policy.word("priority");
    Priority::ALL.into_iter().find(|class| class.as_str() == word).unwrap_or_default()
}

/// `server.protect`.
pub(in crate::config) fn read_protect(server: &Section<'_>) -> ProtectRule {
    with_table(server, "protect", &limits::PROTECT, |section| ProtectRule {
        lag: section.time_or_off("lag"),
        memory_permille: to_u32(section.percent("memory")),
    })
}
