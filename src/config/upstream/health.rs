//! Reads `health`, `outlier` and `panic` of a pool.
use crate::{
    config::{
        limits,
        raw::{no_empty_list, to_u32},
        report::{Log, Problem},
        section::{Origin, Scene, Section, Text, cut, wrong_type},
        suggest, units,
    },
    upstream::{
        Panic,
        health::{HealthRule, Probe},
        outlier::OutlierRule,
    },
};
use std::{ops::RangeInclusive, sync::Arc, time::Duration};
use toml::de::{DeTable, DeValue};

/// `health`.
pub(in crate::config) fn read_health(pool: &Section<'_>) -> Option<HealthRule> {
    let value = pool.value("health")?;
    let empty = DeTable::new();
    match value.get_ref() {
        DeValue::String(word) if word == "off" => None,
        DeValue::String(path) if path.starts_with('/') => {
            let text = Text { value: path, span: value.span() };
            health_table(Section::new(pool.scene, &limits::HEALTH, &empty, value.span()), Some(text))
        }
        DeValue::Table(table) => health_table(Section::new(pool.scene, &limits::HEALTH, table, value.span()), None),
        other => {
            let help = match other {
                DeValue::Boolean(true) => "write \"/healthz\"".to_owned(),
                DeValue::Boolean(false) => "write \"off\", or leave it out".to_owned(),
                DeValue::String(word) => suggest::did_you_mean(word, ["off", "/healthz"]),
                _ => String::new(),
            };
            pool.scene.mistake(value.span(), |at| {
                Problem::new(at, "health is neither a path, nor a table, nor \"off\"")
                    .expected("\"/healthz\", or a table such as { path = \"/healthz\", interval = \"5s\" }")
                    .help(help)
            });
            None
        }
    }
}

fn health_table(section: Section<'_>, path: Option<Text<'_>>) -> Option<HealthRule> {
    let kind = section.word("kind");
    let (interval, timeout) = (section.time("interval"), section.time("timeout"));
    if timeout > interval.max(Duration::from_secs(1)) {
        let name = if section.has("timeout") { "timeout" } else { "interval" };
        section.scene.mistake(section.span_of(name), |at| {
            Problem::new(at, "timeout is longer than interval: probes would wait for each other")
                .help("make interval longer, or timeout shorter")
        });
    }
    let given = section.text("path");
    let path = read_path(&section, path.or(given));
    let (method, statuses, host) = (section.word("method"), read_statuses(&section), read_host(&section));
    let service = section.text("service").map_or("", |text| text.value);
    only_for(&section, kind, "http", &["path", "method", "status"]);
    only_for(&section, kind, "grpc", &["service"]);
    if kind == "tcp" && section.has("host") {
        not_for(&section, kind, "host", "\"http\" or \"grpc\"");
    }
    let probe = match kind {
        "tcp" => Probe::Tcp,
        "grpc" => Probe::Grpc { service: service.into(), host },
        _ => Probe::Http { method: method.into(), path, host, statuses },
    };
    let (healthy, unhealthy) = (to_u32(section.count("healthy")), to_u32(section.count("unhealthy")));
    section.finish();
    Some(HealthRule { probe, interval, timeout, healthy, unhealthy })
}

/// Keys that mean something for one kind are mistakes with another.
fn only_for(section: &Section<'_>, kind: &str, whose: &str, names: &[&str]) {
    for name in names.iter().filter(|name| kind != whose && section.has(name)) {
        not_for(section, kind, name, &format!("{whose:?}"));
    }
}

fn not_for(section: &Section<'_>, kind: &str, name: &str, whose: &str) {
    section.scene.mistake(section.span_of_key(name), |at| {
        Problem::new(at, format!("{name} has no meaning with kind = {kind:?}"))
            .help(format!("take it out, or write kind = {whose}"))
    });
}

fn read_path(section: &Section<'_>, given: Option<Text<'_>>) -> Arc<str> {
    let default = limits::HEALTH.default_text("path");
    let Some(Text { value, span }) = given else { return default.into() };
    let fits = |b: u8| b.is_ascii_graphic() && b != b'#' && b != b'"' && b != b'\\';
    if value.starts_with('/') && value.bytes().all(fits) {
        return value.into();
    }
    section.scene.mistake(span, |at| {
        let help =
            if value.starts_with('/') { String::new() } else { format!("write {:?}", format!("/{}", cut(value))) };
        Problem::new(at, format!("{:?} is not a path", cut(value)))
            .expected("a path that begins with \"/\" and has no spaces, such as \"/healthz\"")
            .help(help)
    });
    default.into()
}

fn read_host(section: &Section<'_>) -> Option<Arc<str>> {
    let Text { value, span } = section.text("host")?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    if !value.is_empty() && value.bytes().all(fits) {
        return Some(value.into());
    }
    section.scene.mistake(span, |at| {
        Problem::new(at, format!("{:?} is not a host", cut(value))).expected("a name such as \"app.internal\"")
    });
    None
}

fn read_statuses(section: &Section<'_>) -> Vec<RangeInclusive<u16>> {
    let given = section.texts("status");
    no_empty_list(section, "status", "write status = \"200-399\"");
    if !section.has("status") {
        return status_range(limits::HEALTH.default_text("status")).into_iter().collect();
    }
    let mut ranges = Vec::new();
    for Text { value, span } in given {
        match status_range(value) {
            Some(range) => ranges.push(range),
            None => section.scene.mistake(span, |at| {
                Problem::new(at, format!("{:?} is not a status", cut(value)))
                    .expected("\"200\", or a range from \"200\" to \"599\" such as \"200-399\"")
            }),
        }
    }
    ranges
}

/// `200` or `200-399`. What begins with 1 is no answer.
fn status_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse().ok().filter(|n| (200..=599).contains(n) && text.len() == 3);
    let (first, last): (u16, u16) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

/// What `outlier` is where nothing is said.
fn default() -> OutlierRule {
    let (origin, log, empty) = (Origin::default(), Log::default(), DeTable::new());
    outlier_table(Section::new(Scene { origin: &origin, log: &log }, &limits::OUTLIER, &empty, 0..0))
}

/// `outlier`.
pub(in crate::config) fn read_outlier(pool: &Section<'_>) -> Option<OutlierRule> {
    let Some(value) = pool.value("outlier") else { return Some(default()) };
    match value.get_ref() {
        DeValue::String(word) if word == "off" => None,
        DeValue::Table(table) => Some(outlier_table(Section::new(pool.scene, &limits::OUTLIER, table, value.span()))),
        other => {
            let help = match other {
                DeValue::Boolean(false) => "write \"off\"",
                DeValue::Boolean(true) => "leave it out: it is on",
                _ => "",
            };
            pool.scene.mistake(value.span(), |at| {
                wrong_type(at, "outlier", other).expected("\"off\" or a table such as { consecutive = 5 }").help(help)
            });
            None
        }
    }
}

fn outlier_table(section: Section<'_>) -> OutlierRule {
    let rule = OutlierRule {
        consecutive: to_u32(section.count("consecutive")),
        error_share: to_u32(section.percent("error_share")),
        min_requests: to_u32(section.count("min_requests")),
        window: section.time("window"),
        latency_factor: to_u32(section.count("latency_factor")),
        ejection: section.time("ejection"),
        ejection_max: section.time("ejection_max"),
        max_ejected: to_u32(section.percent("max_ejected")),
    };
    if rule.ejection_max < rule.ejection {
        let name = if section.has("ejection") { "ejection" } else { "ejection_max" };
        section.scene.mistake(section.span_of(name), |at| {
            let show = |time: Duration| units::show_time(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            let [one, most] = [rule.ejection, rule.ejection_max].map(show);
            Problem::new(at, "ejection is longer than ejection_max, which it must not exceed")
                .help(format!("ejection is \"{one}\", ejection_max is \"{most}\""))
        });
    }
    section.finish();
    rule
}

/// `panic`.
pub(in crate::config) fn read_panic(pool: &Section<'_>) -> Panic {
    if pool.word("panic") == "spread" { Panic::Spread } else { Panic::Trickle }
}

#[cfg(test)]
mod tests {
    use super::status_range;

    #[test]
    fn statuses_are_single_ones_and_ranges() {
        assert_eq!(status_range("200"), Some(200..=200));
        assert_eq!(status_range("200-399"), Some(200..=399));
        for wrong in ["", "2xx", "100", "199-200", "600", "399-200", "200-", "-200", "0200", "200 - 399"] {
            assert_eq!(status_range(wrong), None, "{wrong}");
        }
    }
}
