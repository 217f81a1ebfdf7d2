//! Reads `retry`, `breaker` and `hedge` of a policy.
use crate::{
    config::{
        limits,
        raw::{to_u32, to_usize},
        report::{Log, Problem},
        section::{Origin, Scene, Section, Text, cut, wrong_type},
        suggest, units,
    },
    upstream::{BreakerRule, HedgeAfter, HedgeRule, RetryOn, RetryRule, budget::Share},
};
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// What `retry` is where no policy says anything.
pub(in crate::config) fn default() -> Option<RetryRule> {
    let (origin, log, empty) = (Origin::default(), Log::default(), DeTable::new());
    let scene = Scene { origin: &origin, log: &log };
    Some(retry_table(Section::new(scene, &limits::RETRY, &empty, 0..0)))
}

/// `retry`.
pub(in crate::config) fn read_retry(policy: &Section<'_>) -> Option<RetryRule> {
    let Some(value) = policy.value("retry") else { return default() };
    match value.get_ref() {
        DeValue::String(word) if word == "off" => None,
        DeValue::Table(table) => Some(retry_table(Section::new(policy.scene, &limits::RETRY, table, value.span()))),
        other => {
            let help = match other {
                DeValue::Boolean(false) => "write \"off\"".to_owned(),
                DeValue::Boolean(true) => "leave it out: it is on".to_owned(),
                DeValue::Integer(n) => format!("write {{ attempts = {} }}", n.as_str()),
                DeValue::String(word) => suggest::did_you_mean(word, ["off"]),
                _ => String::new(),
            };
            policy.scene.mistake(value.span(), |at| {
                Problem::new(at, "retry is neither a table nor \"off\"")
                    .expected("\"off\" or a table such as { attempts = 3 }")
                    .help(help)
            });
            None
        }
    }
}

fn retry_table(section: Section<'_>) -> RetryRule {
    let mut rule = RetryRule {
        attempts: to_u32(section.count("attempts")),
        on: read_on(&section),
        backoff: section.time("backoff"),
        max_backoff: section.time("max_backoff"),
        per_try_timeout: section.time_or_off("per_try_timeout"),
        replay: to_usize(section.size("replay")),
        budget: Share { permille: to_u32(section.percent("budget")), burst: to_u32(section.count("budget_burst")) },
    };
    // To give an attempt up early is asked for in order to make another one.
    rule.on.timeout |= rule.per_try_timeout.is_some();
    if rule.max_backoff < rule.backoff {
        let name = if section.has("backoff") { "backoff" } else { "max_backoff" };
        section.scene.mistake(section.span_of(name), |at| {
            let most = u64::try_from(rule.max_backoff.as_millis()).unwrap_or(u64::MAX);
            Problem::new(at, "backoff is longer than max_backoff, which it must not exceed")
                .help(format!("max_backoff is \"{}\"", units::show_time(most)))
        });
    }
    section.finish();
    rule
}

const CAUSES: [&str; 3] = ["connect", "reset", "timeout"];

/// `on`: causes and statuses.
fn read_on(section: &Section<'_>) -> RetryOn {
    let mut on = RetryOn::default();
    let given = section.texts("on");
    if !section.has("on") {
        let default = section.default_texts("on");
        default.for_each(|word| _ = add_cause(&mut on, word));
    }
    for Text { value, span } in given {
        if !add_cause(&mut on, value) {
            section.scene.mistake(span, |at| {
                Problem::new(at, format!("{:?}: not something to try again on", cut(value)))
                    .expected("\"connect\", \"reset\", \"timeout\" or a status from \"400\" to \"599\"")
                    .help(suggest::did_you_mean(value, CAUSES))
            });
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    on
}

fn add_cause(on: &mut RetryOn, word: &str) -> bool {
    match word {
        "connect" => on.connect = true,
        "reset" => on.reset = true,
        "timeout" => on.timeout = true,
        status => match status.parse() {
            Ok(status @ 400..=599) => on.statuses.push(status),
            _ => return false,
        },
    }
    true
}

/// `breaker`.
pub(in crate::config) fn read_breaker(policy: &Section<'_>) -> Option<BreakerRule> {
    let value = policy.value("breaker")?;
    let empty = DeTable::new();
    let table = match value.get_ref() {
        DeValue::Boolean(false) => return None,
        DeValue::Boolean(true) => &empty,
        DeValue::Table(table) => table,
        other => {
            let help = match other.as_str() {
                Some("on" | "true") => "write true, without quotes",
                Some("off" | "false") => "write false, without quotes",
                _ => "",
            };
            policy.scene.mistake(value.span(), |at| {
                wrong_type(at, "breaker", other)
                    .expected("true, false or a table such as { errors = \"50%\" }")
                    .help(help)
            });
            return None;
        }
    };
    let section = Section::new(policy.scene, &limits::BREAKER, table, value.span());
    let rule = BreakerRule {
        errors_permille: to_u32(section.percent("errors")),
        min_requests: to_u32(section.count("min_requests")),
        window: section.time("window"),
        open: section.time("open"),
        probes: to_u32(section.count("probes")),
    };
    section.finish();
    Some(rule)
}

/// `hedge`.
pub(in crate::config) fn read_hedge(policy: &Section<'_>) -> Option<HedgeRule> {
    let value = policy.value("hedge")?;
    let empty = DeTable::new();
    let (table, after) = match value.get_ref() {
        DeValue::String(word) if word == "off" => return None,
        DeValue::Table(table) => (table, None),
        _ => (&empty, Some(read_after(policy, "hedge", ", \"off\" or a table")?)),
    };
    let section = Section::new(policy.scene, &limits::HEDGE, table, value.span());
    let own = if section.has("after") { read_after(&section, "after", "") } else { Some(HedgeAfter::P95) };
    let budget = Share { permille: to_u32(section.percent("budget")), burst: 0 };
    section.finish();
    Some(HedgeRule { after: after.or(own)?, budget })
}

/// Longest wait for the first attempt.
const AFTER_MAX_MS: u64 = 60_000;

/// `"p95"`, or a duration.
fn read_after(section: &Section<'_>, name: &str, or: &str) -> Option<HedgeAfter> {
    let value = section.value(name)?;
    let text = value.get_ref().as_str();
    if text == Some("p95") {
        return Some(HedgeAfter::P95);
    }
    let read = text.map(units::time);
    if let Some(Ok(ms @ 1..=AFTER_MAX_MS)) = read {
        return Some(HedgeAfter::Fixed(Duration::from_millis(ms)));
    }
    section.scene.mistake(value.span(), |at| {
        let problem = match (&read, text) {
            (Some(Ok(_)), Some(text)) => Problem::new(at, format!("{name} = {:?} is out of bounds", cut(text))),
            (_, Some(text)) => Problem::new(at, format!("{name} = {:?} is not known", cut(text))),
            _ => wrong_type(at, name, value.get_ref()),
        };
        let meant = read.and_then(Result::err).and_then(|unreadable| unreadable.try_this);
        problem
            .expected(format!("\"p95\", a duration from \"1ms\" to \"{}\"{or}", units::show_time(AFTER_MAX_MS)))
            .help(meant.map(|meant| format!("write \"{meant}\"")).unwrap_or_default())
    });
    None
}
