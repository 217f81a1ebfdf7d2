//! Writes `docs/CONFIG.md` and `configs/everything.toml` from the table of keys.
use super::{
    limits::{Bounds, Default, FILE_BYTES_MAX, Key, Kind, LIST_MAX, NAME_BYTES_MAX, ROUTES_MAX, SHAPES},
    units::{show_percent, show_size, show_time},
};
use std::fmt::Write as _;

/// The text of `docs/CONFIG.md`.
pub fn config_md() -> String {
    let mut out = head();
    for shape in SHAPES {
        let _ = write!(out, "\n## `{}`\n\n", shape.title);
        if !shape.about.is_empty() {
            let _ = write!(out, "{}\n\n", shape.about);
        }
        out.push_str("| key | takes | default | what it does |\n|---|---|---|---|\n");
        for key in shape.keys {
            let example = if key.example.is_empty() { String::new() } else { format!("; e.g. `{}`", key.example) };
            let (takes, default) = (takes(key), shown_default(key));
            let about = format!("{}{example}", key.about).replace('|', "\\|");
            let _ = write!(out, "| `{}` | {takes} | {default} | {about} |", key.name);
            out.push('\n');
        }
    }
    out
}

fn head() -> String {
    let (file, names) = (show_size(FILE_BYTES_MAX), NAME_BYTES_MAX);
    format!(
        "# Configuration

Generated from the table of keys in `src/config/limits.rs`; `EDGE_BLESS=1 cargo test -p edge config::` writes it anew.

One TOML file, read strictly: a key that is not listed here is a mistake, and all mistakes are told in one run
(`edge validate --config FILE`). Durations are `\"250ms\"` `\"30s\"` `\"5m\"` `\"1h\"` `\"7d\"`, sizes `\"512B\"` `\"64KiB\"` `\"10MiB\"`
`\"1GiB\"`, rates `\"500B/s\"`, percentages `\"10%\"` `\"2.5%\"`. Relative paths start at the directory of the file. Names are 1 to {names} letters, digits, `-`,
`_` or `.`. The file has at most {file} and {ROUTES_MAX} routes; a list has at most {LIST_MAX} elements.

`configs/everything.toml` has each key at its default.
"
    )
}

/// What the key takes, for the manual.
fn takes(key: &Key) -> String {
    let or_off = |off: bool| if off { " or `\"off\"`" } else { "" };
    match key.kind {
        Kind::Flag(_) => "`true` or `false`".to_owned(),
        Kind::Count(Bounds { min, max, .. }, _) if min == max => format!("{min}"),
        Kind::Count(Bounds { min, max, .. }, Some(word)) => format!("{min} to {max}, or `\"{word}\"`"),
        Kind::Count(Bounds { min, max, .. }, None) => format!("{min} to {max}"),
        Kind::Signed(max) => format!("-{max} to {max}"),
        Kind::Time(b, off) => format!("duration, {} to {}{}", show_time(b.min), show_time(b.max), or_off(off)),
        Kind::Size(b, off) => format!("size, {} to {}{}", show_size(b.min), show_size(b.max), or_off(off)),
        Kind::Rate(b) => format!("rate, {}/s to {}/s{}", show_size(b.min), show_size(b.max), or_off(true)),
        Kind::Percent(b) => format!("percentage, {} to {}", show_percent(b.min), show_percent(b.max)),
        Kind::Word(words) => words.iter().map(|w| format!("`\"{w}\"`")).collect::<Vec<_>>().join(" or "),
        Kind::Text(what) => format!("string: {what}"),
        Kind::Texts(what) => format!("string or list: {what}"),
        Kind::Table(shape) => format!("table `{}`", shape.title),
        Kind::Tables(shape) => format!("tables `{}`", shape.title),
        Kind::Other(what) => what.to_owned(),
    }
}

/// The key's default, for the manual.
fn shown_default(key: &Key) -> String {
    match (default(key), key.kind) {
        (Some(default), _) => format!("`{default}`"),
        (None, Kind::Time(Bounds { default: Default::From(whose), .. }, _)) => whose.to_owned(),
        (None, _) => String::new(),
    }
}

/// The key's default in TOML; `None` when there is none, or it is somebody else's.
pub(crate) fn default(key: &Key) -> Option<String> {
    let number = |bounds: Bounds, show: &dyn Fn(u64) -> String, off: &str| match bounds.default {
        Default::Is(n) => Some(show(n)),
        Default::Off => Some(format!("\"{off}\"")),
        Default::From(_) => None,
    };
    match key.kind {
        Kind::Flag(flag) => Some(flag.to_string()),
        Kind::Count(bounds, word) => number(bounds, &|n| n.to_string(), word.unwrap_or("")),
        Kind::Signed(_) => Some("0".to_owned()),
        Kind::Time(bounds, _) => number(bounds, &|ms| format!("\"{}\"", show_time(ms)), "off"),
        Kind::Size(bounds, _) => number(bounds, &|n| format!("\"{}\"", show_size(n)), "off"),
        Kind::Rate(bounds) => number(bounds, &|n| format!("\"{}/s\"", show_size(n)), "off"),
        Kind::Percent(bounds) => number(bounds, &|n| format!("\"{}\"", show_percent(n)), "off"),
        Kind::Word(words) => words.first().map(|word| format!("\"{word}\"")),
        _ if !key.default.is_empty() => Some(key.default.to_owned()),
        _ => None,
    }
}

/// The text of `configs/everything.toml`.
pub fn everything_toml() -> String {
    let mut out = String::from(EVERYTHING_HEAD);
    for (header, title, given) in EVERYTHING {
        out.push_str(header);
        let keys = SHAPES.iter().filter(|shape| shape.title == title).flat_map(|shape| shape.keys);
        keys.for_each(|key| out.push_str(&line(key, given.contains(&key.name))));
    }
    out
}

const EVERYTHING_HEAD: &str = "\
# Every key at its default. Keys without a default show an example behind `#`.
# Generated from src/config/limits.rs: `EDGE_BLESS=1 cargo test -p edge config::` writes it anew.
";

/// Headers with what belongs to them, the shapes under them, and keys that stand there with their example because the file needs them.
const EVERYTHING: &[(&str, &str, &[&str])] = &[
    ("", "Top level", &[]),
    ("\n[server]\n", "[server]", &[]),
    ("\n[server.quic]\n", "[server.quic]", &[]),
    ("\n[server.protect]\n", "[server.protect]", &[]),
    ("\n[[listener]]\n", "[[listener]]", &["address"]),
    ("\n[listener.limits]\n", "[listener.limits]", &[]),
    ("\n[listener.timeouts]\n", "[listener.timeouts]", &[]),
    ("\n[listener.http2]\n", "[listener.http2]", &[]),
    ("\n# A listener with TLS.\n[[listener]]\naddress = \"127.0.0.1:8443\"\n", "", &[]),
    ("\n[listener.tls]\n", "[listener.tls]", &["self_signed"]),
    ("\n[listener.http3]\n", "[listener.http3]", &[]),
    ("\n[pool.app]\n", "[pool.NAME]", &["endpoints"]),
    ("\n[pool.app.timeouts]\n", "[pool.NAME.timeouts]", &[]),
    ("\n[pool.secure]\nendpoints = [\"https://127.0.0.1:3443\"]\n", "", &[]),
    ("\n[pool.secure.tls]\n", "[pool.NAME.tls]", &[]),
    ("\n[pool.weighted]\n", "", &[]),
    ("\n[[pool.weighted.endpoints]]\n", "[pool.NAME].endpoints", &["address"]),
    (
        "\n# A pool whose endpoints are chosen by hash.\n[pool.hashed]\nendpoints = [\"http://127.0.0.1:3000\"]\n",
        "",
        &[],
    ),
    ("\n[pool.hashed.balance]\n", "[pool.NAME.balance]", &["hash"]),
    ("\n# A pool that keeps clients.\n[pool.kept]\nendpoints = [\"http://127.0.0.1:3000\"]\n", "", &[]),
    ("\n[pool.kept.sticky]\n", "[pool.NAME.sticky]", &[]),
    (
        "\n# A pool whose endpoints are asked whether they are well.\n[pool.checked]\nendpoints = [\"http://127.0.0.1:3000\"]\n",
        "",
        &[],
    ),
    ("\n[pool.checked.health]\n", "[pool.NAME.health]", &[]),
    ("\n[pool.checked.outlier]\n", "[pool.NAME.outlier]", &[]),
    (
        "\n# A pool that is asked no more than it can do.\n[pool.measured]\nendpoints = [\"http://127.0.0.1:3000\"]\n",
        "",
        &[],
    ),
    ("\n[pool.measured.adaptive]\n", "[pool.NAME.adaptive]", &[]),
    ("\n[policy.api]\n", "[policy.NAME]", &[]),
    ("\n[policy.api.timeouts]\n", "[policy.NAME.timeouts]", &[]),
    ("\n[policy.api.retry]\n", "[policy.NAME.retry]", &[]),
    ("\n# A policy with a breaker and hedging.\n[policy.guarded]\n", "", &[]),
    ("\n[policy.guarded.breaker]\n", "[policy.NAME.breaker]", &[]),
    ("\n[policy.guarded.hedge]\n", "[policy.NAME.hedge]", &[]),
    ("\n# A route that forwards.\n[[route]]\n", "[[route]]", &["pool"]),
    ("\n[route.match]\n", "[route.match]", &["path_prefix"]),
    ("\n[route.match.header.x-canary]\n", "[route.match].header, .query, .cookie", &["exact"]),
    ("\n[route.rewrite]\n", "[route.rewrite]", &["add_prefix"]),
    ("\n# A route that redirects.\n[[route]]\nmatch = \"old.example.com\"\n", "", &[]),
    ("\n[route.redirect]\n", "[route.redirect]", &["to"]),
    ("\n# A route that answers.\n[[route]]\nmatch = \"/ping\"\n", "", &[]),
    ("\n[route.respond]\n", "[route.respond]", &[]),
];

/// `key = value  # what it does`, with a `#` in front when there is neither a default nor a need.
fn line(key: &Key, needed: bool) -> String {
    let value = default(key);
    let (mark, value) = match (value, needed) {
        (Some(value), _) => ("", value),
        (None, true) => ("", key.example.to_owned()),
        (None, false) if key.example.is_empty() => return String::new(),
        (None, false) => ("# ", key.example.to_owned()),
    };
    let assignment = format!("{mark}{} = {value}", key.name);
    format!("{assignment:<40} # {}\n", key.about.replace('`', "'"))
}
