//! Reads `match`: the short string, or the table of predicates.
use super::{
    limits::{self, MATCH_DEPTH_MAX},
    raw::no_empty_list,
    report::Problem,
    section::{Section, Text, cut, wrong_type},
};
use crate::{
    message::few::Few,
    route::{FieldMatch, FieldOp, MatchConfig},
};
use toml::{Spanned, de::DeValue};

/// Reads the `match` of a route. What the patterns themselves say is checked when the router is compiled.
pub(crate) fn read<'a>(route: &Section<'a>, value: &'a Spanned<DeValue<'a>>) -> MatchConfig {
    match value.get_ref() {
        DeValue::String(text) => short(route, &Text { value: text, span: value.span() }),
        DeValue::Table(_) => table(route, value, MATCH_DEPTH_MAX),
        other => {
            route.scene.mistake(value.span(), |at| {
                wrong_type(at, "match", other).expected("a string such as \"example.com/api\", or a table")
            });
            MatchConfig::default()
        }
    }
}

/// `"example.com"`, `"/api"`, `"example.com/api"`.
fn short(route: &Section<'_>, text: &Text<'_>) -> MatchConfig {
    let mistake = |message: &str, help: String| {
        route.scene.mistake(text.span.clone(), |at| {
            Problem::new(at, message).expected("a host, a path prefix, or both: \"example.com/api\"").help(help)
        });
        MatchConfig::default()
    };
    if let Some((_, rest)) = text.value.split_once("://") {
        return mistake("match has a scheme", format!("write {:?}", cut(rest)));
    }
    if text.value.is_empty() {
        return mistake("match is empty", "leave it out to match every request".to_owned());
    }
    if text.value.starts_with('~') && text.value.contains('/') {
        return mistake(
            "match is a regular expression with a path",
            "write { host = \"~…\", path_prefix = \"…\" }".into(),
        );
    }
    let at = text.value.find('/').unwrap_or(text.value.len());
    let (host, path) = text.value.split_at(at);
    if path.contains('*') {
        return mistake("a path prefix has no wildcards", format!("write {{ path_glob = {:?} }}", cut(path)));
    }
    MatchConfig {
        host: if host.is_empty() { Vec::new() } else { vec![host.to_owned()] },
        path_prefix: (!path.is_empty()).then(|| path.into()),
        ..MatchConfig::default()
    }
}

/// The table; `depth` more of them may be nested inside.
fn table<'a>(route: &Section<'a>, value: &'a Spanned<DeValue<'a>>, depth: usize) -> MatchConfig {
    let Some(section) = Section::of(route.scene, "a match", &limits::MATCH, value) else {
        return MatchConfig::default();
    };
    let string = |name: &str| section.text(name).map(|text| text.value.into());
    let strings = |name: &str| {
        no_empty_list(&section, name, &format!("leave {name} out to allow every one"));
        section.texts(name).into_iter().map(|text| text.value.to_owned()).collect::<Vec<_>>()
    };
    let read = MatchConfig {
        host: strings("host"),
        path: string("path"),
        path_prefix: string("path_prefix"),
        path_glob: string("path_glob"),
        path_regex: string("path_regex"),
        method: strings("method").into(),
        header: fields(&section, "header"),
        query: fields(&section, "query"),
        cookie: fields(&section, "cookie"),
        client: strings("client").into(),
        tls: section.value("tls").and_then(|value| section.flag_of("tls", value)),
        any: any(&section, depth),
        not: section.value("not").and_then(|value| nested(&section, value, depth)).map(Box::new),
    };
    section.finish();
    read
}

fn any<'a>(section: &Section<'a>, depth: usize) -> Few<MatchConfig> {
    no_empty_list(section, "any", "leave it out");
    let Some(value) = section.value("any") else { return Few::default() };
    let items = section.list_of("any", value, "a list of matches");
    items.filter_map(|item| nested(section, item, depth)).collect()
}

fn nested<'a>(section: &Section<'a>, value: &'a Spanned<DeValue<'a>>, depth: usize) -> Option<MatchConfig> {
    match depth.checked_sub(1) {
        Some(depth) => Some(table(section, value, depth)),
        None => {
            section.scene.mistake(value.span(), |at| {
                Problem::new(at, format!("`any` and `not` are nested more than {MATCH_DEPTH_MAX} deep"))
            });
            Some(MatchConfig { path_prefix: Some("/".into()), ..MatchConfig::default() })
        }
    }
}

fn fields(section: &Section<'_>, name: &str) -> Few<FieldMatch> {
    let entries = section.entries(name, "a table such as { x-canary = \"1\" }");
    // One that cannot be read keeps its place: mistakes that are found later count places.
    let read = |(field, value): (Text<'_>, _)| {
        let op = op(section, &field, value).unwrap_or(FieldOp::Present);
        FieldMatch { name: field.value.to_owned(), op }
    };
    entries.into_iter().map(read).collect()
}

fn op<'a>(section: &Section<'a>, name: &Text<'_>, value: &'a Spanned<DeValue<'a>>) -> Option<FieldOp> {
    let expected = "a string, or one of { present = true }, { exact = … }, { prefix = … }, { regex = … }";
    if !value.get_ref().is_table() {
        let text = section.text_of(&cut(name.value), value, expected)?;
        return Some(FieldOp::Exact(text.value.to_owned()));
    }
    let table = Section::of(section.scene, &cut(name.value), &limits::FIELD, value)?;
    let present = table.value("present").and_then(|value| table.flag_of("present", value));
    if present == Some(false) {
        table.scene.mistake(table.span_of("present"), |at| {
            Problem::new(at, "present = false")
                .help("write it inside `not`: { not = { header = { … = { present = true } } } }")
        });
    }
    let string = |name: &str| table.text(name).map(|text| text.value.to_owned());
    let found = [
        present.map(|_| FieldOp::Present),
        string("exact").map(FieldOp::Exact),
        string("prefix").map(FieldOp::Prefix),
        string("regex").map(FieldOp::Regex),
    ];
    let given = ["present", "exact", "prefix", "regex"].into_iter().filter(|name| table.has(name)).count();
    let meant = given == 0 && ["present", "exact", "prefix", "regex"].into_iter().any(|name| !table.misses(name));
    if given != 1 && !meant {
        table.scene.mistake(value.span(), |at| {
            Problem::new(at, format!("{:?} has {given} predicates", cut(name.value))).expected(expected)
        });
    }
    table.finish();
    found.into_iter().flatten().next()
}
