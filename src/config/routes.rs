//! Reads `[[route]]` tables, one parsed piece at a time.
use super::{
    check::{self, Names},
    limits::{self, ROUTES_MAX},
    matches,
    raw::{Action, Place, Redirect, Route, parse, to_u16},
    report::{Log, Problem},
    section::{Origin, Scene, Section, Text, cut},
};
use crate::{
    answer::{BODY_FILE_BYTES_MAX, RespondConfig},
    policy::rewrite::RewriteConfig,
};
use bytes::Bytes;
use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    path::Path,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Reads the routes of `text`: the pieces `tables`, or else the list `route` of the top level.
pub(crate) fn read(text: &str, top: &Section<'_>, tables: &[Range<usize>], names: &Names<'_>, log: &Log) -> Vec<Route> {
    if let (Some(first), true) = (tables.first(), top.has("route")) {
        top.scene.mistake(top.span_of_key("route"), |at| {
            let line = text.get(..first.start).unwrap_or("").matches('\n').count() + 1;
            Problem::new(at, "route is given apart from the [[route]] tables").help(format!(
                "the first [[route]] is in line {line}; a [route.…] table follows its [[route]] directly"
            ))
        });
        return Vec::new();
    }
    let mut routes = Vec::with_capacity(tables.len().min(ROUTES_MAX));
    for (number, section) in (1..).zip(top.tables("route")) {
        let range = section.scene.origin.locate(section.span.clone());
        let place = Place::Element { start: offset(range.start), end: offset(range.end) };
        routes.push(read_route(section, number, place, names));
    }
    for (number, range) in (1..).zip(tables).take(ROUTES_MAX) {
        let origin = Origin::at(range.start);
        let scene = Scene { origin: &origin, log };
        let place = Place::Table { start: offset(range.start), end: offset(range.end) };
        let piece = text.get(range.clone()).unwrap_or("");
        let Some(parsed) = parse(scene, piece) else { continue };
        if let Some(element) = only_element(parsed.get_ref())
            && let Some(section) = Section::of(scene, "route", &limits::ROUTE, element)
        {
            routes.push(read_route(section, number, place, names));
        }
    }
    if tables.len() > ROUTES_MAX {
        log.mistake(Problem::of_file(format!("there are {} routes, more than {ROUTES_MAX}", tables.len())));
    }
    routes.shrink_to_fit();
    routes
}

/// Offsets fit: the size of a file is bounded far below.
fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The table of a piece that holds one `[[route]]`.
pub(crate) fn only_element<'a>(piece: &'a DeTable<'a>) -> Option<&'a Spanned<DeValue<'a>>> {
    piece.get("route")?.get_ref().as_array()?.iter().next()
}

fn read_route(section: Section<'_>, number: usize, place: Place, names: &Names<'_>) -> Route {
    let id = match section.text("id") {
        Some(text) => {
            check::name(section.scene, &text);
            text.value.into()
        }
        None => format!("route-{number}").into_boxed_str(),
    };
    let priority = i32::try_from(section.signed("priority")).unwrap_or_default();
    let matches = section.value("match").map(|value| matches::read(&section, value)).unwrap_or_default();
    let policy = match section.text("policy") {
        Some(text) => names.policy(section.scene, &text),
        None => names.default_policy(),
    };
    let action = read_action(&section, names);
    let allow_http = section.flag("allow_http");
    section.finish();
    Route { id, matches, action, policy, priority, allow_http, place }
}

/// What the route does. After a mistake it is something, so that the rest of the route is looked at too.
fn read_action(section: &Section<'_>, names: &Names<'_>) -> Action {
    let redirect = section.table("redirect").and_then(read_redirect);
    let respond = section.table("respond").and_then(|respond| read_respond(respond, names.base()));
    let rewrite = section.table("rewrite").and_then(read_rewrite);
    let pool = section.text("pool").map(|text| names.pool(section.scene, &text));
    let preserve_host = section.flag("preserve_host");
    let given: Vec<&str> = ["pool", "redirect", "respond"].into_iter().filter(|name| section.has(name)).collect();
    match given.as_slice() {
        [] if ["pool", "redirect", "respond"].into_iter().any(|name| !section.misses(name)) => {}
        [] => section.scene.mistake(section.span.clone(), |at| {
            Problem::new(at, "the route does nothing").expected("one of pool, redirect, respond")
        }),
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                section.scene.mistake(section.span_of_key(other), |at| {
                    Problem::new(at, format!("the route has both {first} and {other}"))
                        .expected("one of pool, redirect, respond")
                });
            }
        }
    }
    if given.first().is_some_and(|first| *first != "pool") {
        for name in ["rewrite", "preserve_host"].into_iter().filter(|name| section.has(name)) {
            section.scene.mistake(section.span_of_key(name), |at| {
                Problem::new(at, format!("{name} is for routes with a pool; nothing is forwarded here"))
            });
        }
    }
    match (pool, redirect, respond) {
        (None, Some(redirect), _) => Action::Redirect(Box::new(redirect)),
        (None, None, Some(respond)) => Action::Respond(Box::new(respond)),
        (pool, ..) => Action::Proxy { pool: pool.unwrap_or(0), preserve_host, rewrite: rewrite.map(Box::new) },
    }
}

fn read_redirect(section: Section<'_>) -> Option<Redirect> {
    let to = section.text_not_empty("to");
    if section.misses("to") {
        section.scene.mistake(section.span.clone(), |at| {
            Problem::new(at, "the redirect has no location").help("add to = \"https://{host}{path}{query}\"")
        });
    }
    let status = to_u16(section.count("status"));
    let append = section.flag("append");
    section.finish();
    Some(Redirect { to: to?.value.to_owned(), status, append })
}

fn read_respond(section: Section<'_>, base: &Path) -> Option<RespondConfig> {
    let content_type = section.text_not_empty("content_type").map(|text| text.value.to_owned());
    let text = section.text("body").map(|text| text.value.to_owned()).unwrap_or_default();
    let file = section.text_not_empty("body_file").and_then(|path| read_body(&section, &base.join(path.value)));
    if section.has("body") && section.has("body_file") {
        section.scene.mistake(section.span_of_key("body_file"), |at| {
            Problem::new(at, "the response has both body and body_file").help("leave one of them out")
        });
    }
    let respond = RespondConfig {
        status: to_u16(section.count("status")),
        from_file: file.is_some(),
        body: file.unwrap_or_else(|| text.into()),
        content_type,
        headers: read_headers(&section),
    };
    section.finish();
    Some(respond)
}

/// A body from a file, which is read with the configuration and stays in memory.
fn read_body(section: &Section<'_>, path: &Path) -> Option<Bytes> {
    let most = BODY_FILE_BYTES_MAX as u64 + 1; // one more than is allowed: the check behind this sees it
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Some(bytes.into()),
        Err(e) => {
            section.scene.mistake(section.span_of_key("body_file"), |at| {
                Problem::new(at, format!("{}: {e}", path.display()))
                    .help("relative paths start at the configuration file")
            });
            None
        }
    }
}

fn read_headers(section: &Section<'_>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in section.entries("headers", "a table of strings") {
        let title = format!("headers.{}", cut(name.value));
        for value in string_or_strings(section, &title, value) {
            headers.push((name.value.to_owned(), value.value.to_owned()));
        }
    }
    headers
}

/// A string, or a list of strings for a field that stands several times.
fn string_or_strings<'a>(section: &Section<'a>, title: &str, value: &'a Spanned<DeValue<'a>>) -> Vec<Text<'a>> {
    let expected = "a string or a list of strings";
    match value.get_ref() {
        DeValue::Array(_) => {
            let items = section.list_of(title, value, expected);
            items.filter_map(|item| section.text_of(title, item, "a string")).collect()
        }
        _ => section.text_of(title, value, expected).into_iter().collect(),
    }
}

fn read_rewrite(section: Section<'_>) -> Option<RewriteConfig> {
    let string = |name: &str| section.text(name).map(|text| text.value.to_owned());
    let rewrite = RewriteConfig {
        strip_prefix: string("strip_prefix"),
        add_prefix: string("add_prefix"),
        regex: string("regex"),
        replace: string("replace"),
        host: string("host"),
        query: string("query"),
    };
    section.finish();
    Some(rewrite)
}
