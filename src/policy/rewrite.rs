//! Rewrites of target and host (FEATURES C7). The query goes on byte for byte unless it is set.
use crate::message::{
    Category, Fault, FieldError, Problem, Side,
    authority::is_plain_host,
    compile_regex, host_of,
    path::{has_dot_segment, literal},
    template::{Part, Template, Values},
};
use edge_io::head::Head;
use regex::bytes::{Captures, Regex};

/// A `rewrite` section. Paths are changed in this order: `strip_prefix`, `regex` and `replace`, `add_prefix`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewriteConfig {
    /// Removed from the path where it stands by whole segments.
    pub strip_prefix: Option<String>,
    /// Put before the path.
    pub add_prefix: Option<String>,
    /// What `replace` replaces: the first match in the path.
    pub regex: Option<String>,
    /// With `{1}` … `{9}` for the regex's groups, and `{host}`.
    pub replace: Option<String>,
    /// `Host` for the upstream; may hold `{host}`, the client's without port.
    pub host: Option<String>,
    /// Replaces the query; "" removes it.
    pub query: Option<String>,
}

/// A rewrite, checked.
#[derive(Clone, Debug)]
pub struct RewriteRule {
    strip_prefix: Option<Box<str>>,
    /// Without a slash at its end.
    add_prefix: Option<Box<str>>,
    replace: Option<(Regex, Template)>,
    host: Option<Template>,
    query: Option<Box<str>>,
}

impl RewriteRule {
    /// Checks a section.
    pub fn compile(config: &RewriteConfig) -> Result<RewriteRule, FieldError> {
        let path = |key: &'static str, value: &Option<String>| match value.as_deref() {
            Some(text) => literal(text).map(|text| Some(Box::from(text))).map_err(|p| p.of(key)),
            None => Ok(None),
        };
        let add_prefix: Option<Box<str>> = path("add_prefix", &config.add_prefix)?;
        Ok(RewriteRule {
            strip_prefix: path("strip_prefix", &config.strip_prefix)?,
            add_prefix: add_prefix.map(|text| text.trim_end_matches('/').into()),
            replace: replace_of(config)?,
            host: config.host.as_deref().map(host_template).transpose().map_err(|p| p.of("host"))?,
            query: config.query.as_deref().map(query_of).transpose().map_err(|p| p.of("query"))?,
        })
    }

    /// Appends the new path and query. `path` is the request's, normalized. On a failure `out` is as before: the result
    /// would hold a space, a control byte or a dot segment (400).
    pub fn apply(&self, head: &Head, path: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        if path.starts_with(b"/") {
            self.path(head, path, out);
        } else {
            // `OPTIONS *` has no path to change.
            out.extend_from_slice(path);
        }
        let fit = !has_dot_segment(&out[start..]);
        match &self.query {
            Some(query) if query.is_empty() => {}
            Some(query) => push_query(out, query.as_bytes()),
            None => head.query().into_iter().for_each(|query| push_query(out, query)),
        }
        if fit && out[start..].iter().all(|b| *b > b' ' && *b != 0x7f) {
            return Ok(());
        }
        out.truncate(start);
        Err(Fault::new(Category::BadRequest, Side::Downstream, "the rewritten target is not valid"))
    }

    fn path(&self, head: &Head, path: &[u8], out: &mut Vec<u8>) {
        if let Some(prefix) = &self.add_prefix {
            out.extend_from_slice(prefix.as_bytes());
        }
        let path = self.strip_prefix.as_ref().map_or(path, |prefix| strip(path, prefix.as_bytes()));
        let start = out.len();
        match &self.replace {
            Some((regex, template)) => match regex.captures(path) {
                Some(captures) => replace(head, path, &captures, template, out),
                None => out.extend_from_slice(path),
            },
            None => out.extend_from_slice(path),
        }
        // Stripping or replacing may have taken the slash.
        if out.get(start) != Some(&b'/') {
            out.insert(start, b'/');
        }
    }

    /// Appends the `Host` for the upstream and gives `true` when the section sets one. Fails (400) when it is made of the
    /// client's host and that is not fit.
    pub fn host(&self, head: &Head, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let Some(template) = &self.host else { return Ok(false) };
        let host = host_of(head.authority());
        if template.parts().contains(&Part::Host) && !is_plain_host(host) {
            return Err(Fault::new(Category::BadRequest, Side::Downstream, "no usable host for a rewrite"));
        }
        template.render(&values(host, b"/", None), push, out);
        Ok(true)
    }

    /// Whether the target changes for any request (the host may still).
    pub fn changes_target(&self) -> bool {
        self.strip_prefix.is_some() || self.add_prefix.is_some() || self.replace.is_some() || self.query.is_some()
    }
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

fn push_query(out: &mut Vec<u8>, query: &[u8]) {
    out.push(b'?');
    out.extend_from_slice(query);
}

fn values<'a>(host: &'a [u8], path: &'a [u8], captures: Option<&'a Captures<'a>>) -> Values<'a> {
    Values { scheme: "", host, path, query: None, captures }
}

/// `path` without `prefix`, by whole segments: "/api" leaves "/apix" alone.
fn strip<'p>(path: &'p [u8], prefix: &[u8]) -> &'p [u8] {
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest[0] == b'/' || prefix.ends_with(b"/") => rest,
        _ => path,
    }
}

fn replace(head: &Head, path: &[u8], captures: &Captures<'_>, template: &Template, out: &mut Vec<u8>) {
    let whole = captures.get_match();
    out.extend_from_slice(&path[..whole.start()]);
    template.render(&values(host_of(head.authority()), path, Some(captures)), push_path, out);
    out.extend_from_slice(&path[whole.end()..]);
}

/// A host in a path must not add a query to it.
fn push_path(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().filter(|b| !matches!(b, b'?' | b'#')));
}

fn replace_of(config: &RewriteConfig) -> Result<Option<(Regex, Template)>, FieldError> {
    let (pattern, text) = match (&config.regex, &config.replace) {
        (None, None) => return Ok(None),
        (Some(pattern), Some(text)) => (pattern, text),
        (Some(_), None) => {
            return Err(FieldError::new("regex", "`replace` is missing", "write what replaces the match"));
        }
        (None, Some(_)) => return Err(FieldError::new("replace", "`regex` is missing", "write what is replaced")),
    };
    let regex = compile_regex(pattern).map_err(|p| p.of("regex"))?;
    let template = replace_template(text, regex.captures_len() - 1).map_err(|p| p.of("replace"))?;
    Ok(Some((regex, template)))
}

fn replace_template(text: &str, groups: usize) -> Result<Template, Problem> {
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
        return Err(Problem::new(format!("{bad:?} cannot stand in a path"), "a query is set with `query`"));
    }
    let template = Template::parse(text)?;
    if let Some(part) = template.parts().iter().find(|part| matches!(part, Part::Scheme | Part::Path | Part::Query)) {
        return Err(Problem::new(format!("{part:?} has no place in a path"), "there are {1} to {9} and {host}"));
    }
    match usize::from(template.captures_max()) {
        n if n > groups => Err(Problem::new(format!("{{{n}}}: the regex has {groups} groups"), "")),
        _ => Ok(template),
    }
}

fn host_template(text: &str) -> Result<Template, Problem> {
    let template = Template::parse(text)?;
    let other = template.parts().iter().any(|part| !matches!(part, Part::Text(_) | Part::Host));
    let plain = text.replace("{host}", "h");
    let (host, port) = match plain.rsplit_once(':') {
        Some((host, port)) if !plain.ends_with(']') => (host, Some(port)),
        _ => (plain.as_str(), None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n > 0));
    match !other && port_fits && is_plain_host(host.as_bytes()) {
        true => Ok(template),
        false => Err(Problem::new(
            format!("{text:?} is no host"),
            "a name, with a port if it needs one; {host} is the client's",
        )),
    }
}

fn query_of(text: &str) -> Result<Box<str>, Problem> {
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(bad) => Err(Problem::new(format!("{bad:?} cannot stand in a query"), "write it percent-encoded")),
        None if text.starts_with('?') => Err(Problem::new("the `?` is added", "write what follows it")),
        None => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_io::head::Version;
    use proptest::prelude::*;

    fn config(edit: impl FnOnce(&mut RewriteConfig)) -> RewriteConfig {
        let mut config = RewriteConfig::default();
        edit(&mut config);
        config
    }

    fn strip(prefix: &str) -> RewriteConfig {
        config(|c| c.strip_prefix = Some(prefix.into()))
    }

    fn add(prefix: &str) -> RewriteConfig {
        config(|c| c.add_prefix = Some(prefix.into()))
    }

    fn regex(regex: &str, replace: &str) -> RewriteConfig {
        config(|c| (c.regex, c.replace) = (Some(regex.into()), Some(replace.into())))
    }

    fn query(query: &str) -> RewriteConfig {
        config(|c| c.query = Some(query.into()))
    }

    fn head(authority: &str, target: &[u8]) -> Head {
        let mut head = Head::new();
        head.set_request(b"GET", authority.as_bytes(), target, Version::Http11).unwrap();
        head
    }

    fn apply(config: &RewriteConfig, target: &str) -> Result<String, Fault> {
        let head = head("client.example:81", target.as_bytes());
        let mut out = b"GET ".to_vec();
        let result = RewriteRule::compile(config).unwrap().apply(&head, head.path(), &mut out);
        let out = String::from_utf8(out).unwrap().strip_prefix("GET ").unwrap().to_string();
        assert!(result.is_ok() || out.is_empty(), "a failure leaves the buffer as it was");
        result.map(|()| out)
    }

    #[test]
    fn c7_targets() {
        let all = config(|c| {
            (c.strip_prefix, c.add_prefix) = (Some("/api".into()), Some("/v2/".into()));
            (c.regex, c.replace) = (Some("^/users/([0-9]+)".into()), Some("/u/{1}".into()));
        });
        for (config, target, expected) in [
            (RewriteConfig::default(), "/x/y?a=1&b=%2F", "/x/y?a=1&b=%2F"),
            (strip("/api"), "/api/x?a=1&b=%2F", "/x?a=1&b=%2F"),
            (strip("/api"), "/api", "/"),
            (strip("/api"), "/api?q", "/?q"),
            (strip("/api"), "/apix", "/apix"),
            (strip("/api/"), "/api/x", "/x"),
            (strip("/api"), "/api//x", "//x"),
            (strip("/api"), "/api/a%2Fb%2e", "/a%2Fb%2e"),
            (add("/v1"), "/x?q", "/v1/x?q"),
            (add("/v1/"), "/x", "/v1/x"),
            (add("/"), "/x", "/x"),
            (add("/v1"), "*", "*"),
            (regex("^/old/(.*)$", "/new/{1}"), "/old/a%20b?c", "/new/a%20b?c"),
            (regex("^/old", "new"), "/old/x", "/new/x"),
            (regex("b", "x"), "/a/b/b", "/a/x/b"),
            (regex("nothing", "x"), "/a", "/a"),
            (regex("^/", "/by-host/{host}/"), "/a", "/by-host/client.example/a"),
            (regex("^/(a)?b", "/{1}c"), "/b", "/c"),
            (query("x=1"), "/a?b=2", "/a?x=1"),
            (query("x=1"), "/a", "/a?x=1"),
            (query(""), "/a?b=2", "/a"),
            (RewriteConfig::default(), "/a?", "/a?"),
            (all.clone(), "/api/users/7/x?q=1", "/v2/u/7/x?q=1"),
            (all, "/api/other", "/v2/other"),
        ] {
            assert_eq!(apply(&config, target).unwrap(), expected, "{config:?} {target}");
        }
    }

    #[test]
    fn results_that_are_no_target_are_refused() {
        for (config, target) in [
            (regex("^/a(.*)$", "/b/{1}"), "/a../secret"),
            (regex("^/a(.*)$", "/b/{1}"), "/a%2e%2E/secret"),
            (regex("x", ""), "/.x./secret"),
            (RewriteConfig::default(), "/a b"),
            (RewriteConfig::default(), "/a?b\rc"),
        ] {
            let fault = apply(&config, target).unwrap_err();
            assert_eq!((fault.category, fault.status), (Category::BadRequest, 400), "{config:?} {target}");
        }
    }

    #[test]
    fn c7_hosts() {
        for (text, authority, expected) in [
            (None, "client.example", Some("")),
            (Some("app.internal"), "client.example", Some("app.internal")),
            (Some("app.internal:8080"), "", Some("app.internal:8080")),
            (Some("{host}.internal"), "client.example:81", Some("client.example.internal")),
            (Some("{host}"), "[::1]:81", Some("[::1]")),
            (Some("{host}"), "", None),
            (Some("{host}"), "a b", None),
        ] {
            let rule = RewriteRule::compile(&config(|c| c.host = text.map(String::from))).unwrap();
            let mut out = Vec::new();
            match (rule.host(&head(authority, b"/"), &mut out), expected) {
                (Ok(set), Some(expected)) => {
                    assert_eq!((set, String::from_utf8(out).unwrap().as_str()), (text.is_some(), expected));
                }
                (Err(_), None) => assert!(out.is_empty()),
                (got, _) => panic!("{text:?} {authority:?}: {got:?}"),
            }
        }
    }

    #[test]
    fn mistakes_name_their_key() {
        for (config, key) in [
            (strip("api"), "strip_prefix"),
            (strip("/a?b"), "strip_prefix"),
            (add("/a b"), "add_prefix"),
            (add("/../x"), "add_prefix"),
            (regex("(", "/"), "regex"),
            (regex("a", "/b?c"), "replace"),
            (regex("a", "/{1}"), "replace"),
            (regex("a", "/{path}"), "replace"),
            (regex("a", "/\r\n"), "replace"),
            (config(|c| c.regex = Some("a".into())), "regex"),
            (config(|c| c.replace = Some("a".into())), "replace"),
            (query("?a"), "query"),
            (query("a b"), "query"),
            (query("a#b"), "query"),
            (config(|c| c.host = Some("a b".into())), "host"),
            (config(|c| c.host = Some("a:x".into())), "host"),
            (config(|c| c.host = Some("{path}".into())), "host"),
            (config(|c| c.host = Some(String::new())), "host"),
        ] {
            assert_eq!(RewriteRule::compile(&config).unwrap_err().key, key, "{config:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Either a target fit for a request line, or an error; the query byte for byte.
        #[test]
        fn targets_are_clean(path in prop::collection::vec(any::<u8>(), 0..30), query in prop::collection::vec(any::<u8>(), 0..20)) {
            let path: Vec<u8> = path.into_iter().filter(|b| *b != b'?').collect();
            let target = [b"/a", &path[..], b"?", &query[..]].concat();
            let head = head("h", &target);
            for config in [strip("/a"), add("/x"), regex("(?s)^/a(.*)$", "{1}"), regex("(?-u:.)", "y")] {
                let mut out = Vec::new();
                match RewriteRule::compile(&config).unwrap().apply(&head, head.path(), &mut out) {
                    Ok(()) => {
                        prop_assert!(out.starts_with(b"/") && out.iter().all(|b| *b > b' ' && *b != 0x7f));
                        prop_assert!(out.ends_with(&[b"?", &query[..]].concat()));
                    }
                    Err(_) => prop_assert!(out.is_empty()),
                }
            }
        }
    }
}
