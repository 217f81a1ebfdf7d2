//! Reads what the configuration says of balancing, slow start and sticky sessions.
use crate::{
    config::{
        limits::{BALANCE, BALANCE_WORDS, STICKY},
        report::Problem,
        section::{Section, Text, cut, wrong_type},
        suggest,
    },
    tls::Secret,
    upstream::{BalanceConfig, HashBy, sticky::StickyConfig},
};
use std::{path::Path, time::Duration};
use toml::de::DeValue;

/// What a hash may be of, for messages.
const HASH_FORMS: &str = "\"client_ip\", \"path\", \"header:NAME\" or \"cookie:NAME\"";

/// `balance`.
pub(in crate::config) fn read_balance(pool: &Section<'_>) -> BalanceConfig {
    let Some(value) = pool.value("balance") else { return BalanceConfig::P2c };
    match value.get_ref() {
        DeValue::String(word) => read_word(pool, &Text { value: word, span: value.span() }),
        DeValue::Table(_) => {
            let Some(section) = Section::of(pool.scene, "balance", &BALANCE, value) else { return BalanceConfig::P2c };
            let by = read_hash(&section);
            section.finish();
            by.map_or(BalanceConfig::P2c, BalanceConfig::Hash)
        }
        other => {
            pool.scene.mistake(value.span(), |at| wrong_type(at, "balance", other).expected(forms()));
            BalanceConfig::P2c
        }
    }
}

fn forms() -> String {
    let words: Vec<String> = BALANCE_WORDS.iter().map(|word| format!("\"{word}\"")).collect();
    format!("{} or {{ hash = … }}", words.join(", "))
}

fn read_word(pool: &Section<'_>, word: &Text<'_>) -> BalanceConfig {
    match word.value {
        "p2c" => BalanceConfig::P2c,
        "round_robin" => BalanceConfig::RoundRobin,
        "random" => BalanceConfig::Random,
        "least_conn" => BalanceConfig::LeastConn,
        "first" => BalanceConfig::First,
        other => {
            let help = match other {
                "hash" | "maglev" | "ip_hash" => "write balance = { hash = \"client_ip\" }".to_owned(),
                _ => suggest::did_you_mean(other, BALANCE_WORDS),
            };
            pool.scene.mistake(word.span.clone(), |at| {
                Problem::new(at, format!("balance = {:?} is not known", cut(other))).expected(forms()).help(help)
            });
            BalanceConfig::P2c
        }
    }
}

fn read_hash(section: &Section<'_>) -> Option<HashBy> {
    let text = section.text("hash");
    if section.misses("hash") {
        section.scene.mistake(section.span.clone(), |at| {
            Problem::new(at, "balance does not say what is hashed").help("add hash = \"client_ip\"")
        });
    }
    let text = text?;
    match text.value.split_once(':') {
        None if text.value == "client_ip" => Some(HashBy::ClientIp),
        None if text.value == "path" => Some(HashBy::Path),
        Some(("header", name)) if is_token(name) => Some(HashBy::Header(name.into())),
        Some(("cookie", name)) if is_token(name) => Some(HashBy::Cookie(name.into())),
        _ => {
            section.scene.mistake(text.span, |at| {
                Problem::new(at, format!("hash = {:?} is not known", cut(text.value)))
                    .expected(HASH_FORMS)
                    .help(suggest::did_you_mean(text.value, ["client_ip", "path"]))
            });
            None
        }
    }
}

/// Whether `name` can be a field's or a cookie's (RFC 9110 5.6.2).
fn is_token(name: &str) -> bool {
    let of_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.len() <= 128 && name.bytes().all(of_token)
}

/// `slow_start`.
pub(in crate::config) fn read_slow_start(pool: &Section<'_>) -> Option<Duration> {
    pool.time_or_off("slow_start").filter(|ramp| !ramp.is_zero())
}

/// `sticky`. Relative paths start at `base`.
pub(in crate::config) fn read_sticky(pool: &Section<'_>, base: &Path) -> Option<StickyConfig> {
    let section = pool.table("sticky")?;
    let cookie = match section.text("cookie") {
        None => STICKY.default_text("cookie").to_owned(),
        Some(text) => {
            if !is_token(text.value) {
                section.scene.mistake(text.span, |at| {
                    Problem::new(at, format!("cookie = {:?} is no name of a cookie", cut(text.value)))
                        .expected("letters, digits and any of !#$%&'*+-.^_`|~")
                });
            }
            text.value.to_owned()
        }
    };
    let secret = section.text("secret").and_then(|text| read_secret(&section, &text, base));
    let sticky = StickyConfig { cookie, ttl: section.time("ttl"), secret };
    section.finish();
    Some(sticky)
}

fn read_secret(section: &Section<'_>, text: &Text<'_>, base: &Path) -> Option<Secret> {
    let secret = Secret::parse(text.value, base);
    if secret.is_none() {
        // What was typed may be the secret itself: it is not shown.
        section.scene.log.mistake(
            Problem::of_file("secret of sticky says where the secret is, not what it is")
                .expected("\"file:PATH\" or \"env:NAME\"")
                .help("write secret = \"file:/etc/edge/sticky.key\""),
        );
    }
    secret
}
