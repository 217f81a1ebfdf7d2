//! Redirects: a template for `Location` (FEATURES C6).
use crate::message::{
    Category, Fault, FieldError, Problem, Side,
    authority::is_plain_host,
    compile_regex, host_of,
    template::{Part, Template, Values},
};
use edge_io::head::Head;
use regex::bytes::Regex;

/// A `redirect` section, with what it needs of its route's match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectConfig {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// `Location`, with `{scheme}`, `{host}`, `{path}`, `{query}`, `{1}` … `{9}`.
    pub to: String,
    /// Append what follows the route's `path_prefix` in the path (the whole path without one), and the query.
    pub append: bool,
    /// The route's `path_prefix`.
    pub path_prefix: Option<String>,
    /// The route's `path_regex`: whose groups `{1}` … `{9}` are.
    pub path_regex: Option<String>,
}

impl Default for RedirectConfig {
    fn default() -> RedirectConfig {
        RedirectConfig { status: 302, to: String::new(), append: false, path_prefix: None, path_regex: None }
    }
}

/// A redirect, checked.
#[derive(Clone, Debug)]
pub struct RedirectRule {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    to: Template,
    /// What `append` removes before it appends; `None`: nothing is appended.
    append_after: Option<Box<str>>,
    /// Only when `to` names a group.
    regex: Option<Regex>,
    /// Whether the template fixes where the location points, so that a path from the client cannot.
    absolute: bool,
}

impl RedirectRule {
    /// Checks a section.
    pub fn compile(config: &RedirectConfig) -> Result<RedirectRule, FieldError> {
        if !matches!(config.status, 301 | 302 | 303 | 307 | 308) {
            let message = format!("{} is no redirect to another place", config.status);
            return Err(FieldError::new("status", message, "301, 302, 303, 307 or 308"));
        }
        let to = Template::parse(&config.to).map_err(|p| p.of("to"))?;
        check_text(&config.to).map_err(|p| p.of("to"))?;
        check_start(&to, &config.to, config.append).map_err(|p| p.of("to"))?;
        let regex = regex_of(&to, config.path_regex.as_deref())?;
        let append_after = config.append.then(|| config.path_prefix.as_deref().unwrap_or_default().into());
        let absolute = !config.to.starts_with('/') && !config.to.starts_with("{path}") || config.to.starts_with("//");
        Ok(RedirectRule { status: config.status, to, append_after, regex, absolute })
    }

    /// Appends the value of `Location` for a request. `path` is normalized. Bytes of the request that may not stand in a
    /// URL are percent-encoded, so that it has no CR, LF or other control byte. Fails (400) when the template names the
    /// host and the request has none fit for a URL.
    pub fn location(&self, head: &Head, path: &[u8], scheme: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let host = host_of(head.authority());
        if self.to.parts().contains(&Part::Host) && !is_plain_host(host) {
            return Err(Fault::new(Category::BadRequest, Side::Downstream, "no usable host for a redirect"));
        }
        let captures = self.regex.as_ref().and_then(|regex| regex.captures(path));
        let values = Values { scheme, host, path, query: head.query(), captures: captures.as_ref() };
        let start = out.len();
        self.to.render(&values, push_encoded, out);
        if let Some(prefix) = &self.append_after {
            append(path, prefix, head.query(), start, out);
        }
        if !self.absolute {
            // "//name" would name another host.
            let slashes = out[start..].iter().take_while(|b| **b == b'/').count();
            if slashes > 1 {
                out.drain(start + 1..start + slashes);
            }
        }
        Ok(())
    }
}

fn append(path: &[u8], prefix: &str, query: Option<&[u8]>, start: usize, out: &mut Vec<u8>) {
    let rest = path.strip_prefix(prefix.as_bytes()).unwrap_or(path);
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    // One slash between both, and none added where nothing follows: "/new" stays "/new".
    if !rest.is_empty() || path.ends_with(b"/") && path.len() > prefix.len() {
        if !out[start..].ends_with(b"/") {
            out.push(b'/');
        }
        push_encoded(out, rest);
    }
    if let Some(query) = query {
        out.push(b'?');
        push_encoded(out, query);
    }
}

/// Everything a URL holds stays as it is, `%` included.
fn push_encoded(out: &mut Vec<u8>, bytes: &[u8]) {
    for b in bytes {
        match b {
            0..=0x20 | 0x7f.. | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.extend_from_slice(&[b'%', hex(b >> 4), hex(b & 15)]);
            }
            _ => out.push(*b),
        }
    }
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }
}

fn check_text(to: &str) -> Result<(), Problem> {
    match to.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '|')) {
        Some(bad) => Err(Problem::new(format!("{bad:?} cannot stand in a URL"), "write it percent-encoded")),
        None => Ok(()),
    }
}

/// The client must not decide where the location points.
fn check_start(to: &Template, text: &str, append: bool) -> Result<(), Problem> {
    let relative = text.starts_with('/') || text.starts_with("{path}");
    let schemes = ["http://", "https://", "{scheme}://"];
    let after_scheme = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    if !relative && after_scheme.is_none() {
        let help = "begin with \"https://\", \"http://\", \"{scheme}://\", \"/\" or {path}";
        return Err(Problem::new(format!("{text:?} does not say where to go"), help));
    }
    if let Some(rest) = after_scheme.or(text.strip_prefix("//")) {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest[..end].replace("{host}", "h");
        let path_follows = authority.find("{path}").or(authority.find("{query}"));
        let authority = &authority[..path_follows.unwrap_or(authority.len())];
        if authority.is_empty() || authority.contains('{') {
            let help = "name the host, then \"/\": \"https://example.com/{1}\"";
            return Err(Problem::new(format!("{text:?} lets the client choose the host"), help));
        }
    }
    let doubled = text.contains("?{query}");
    let query_twice = append && to.parts().contains(&Part::Query);
    match doubled || query_twice {
        true => {
            Err(Problem::new("{query} brings its own `?`", "write \"{path}{query}\"; `append` adds the query itself"))
        }
        false => Ok(()),
    }
}

fn regex_of(to: &Template, path_regex: Option<&str>) -> Result<Option<Regex>, FieldError> {
    let groups = usize::from(to.captures_max());
    if groups == 0 {
        return Ok(None);
    }
    let Some(pattern) = path_regex else {
        let message = format!("{{{groups}}} needs groups of the route's `path_regex`, and it has none");
        return Err(FieldError::new("to", message, "match by `path_regex`"));
    };
    let regex = compile_regex(pattern).map_err(|p| p.of("path_regex"))?;
    match groups < regex.captures_len() {
        true => Ok(Some(regex)),
        false => {
            let message = format!("{{{groups}}}: `path_regex` has {} groups", regex.captures_len() - 1);
            Err(FieldError::new("to", message, ""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_io::head::Version;
    use proptest::prelude::*;

    fn location(config: &RedirectConfig, authority: &str, target: &str) -> Result<String, Fault> {
        let rule = RedirectRule::compile(config).unwrap();
        let mut head = Head::new();
        head.set_request(b"GET", authority.as_bytes(), target.as_bytes(), Version::Http11).unwrap();
        let mut out = b"Location: ".to_vec();
        rule.location(&head, head.path(), "http", &mut out)?;
        Ok(String::from_utf8(out).unwrap().strip_prefix("Location: ").unwrap().to_string())
    }

    fn to(to: &str) -> RedirectConfig {
        RedirectConfig { to: to.into(), ..RedirectConfig::default() }
    }

    #[test]
    fn c6_location_table() {
        let regex = |t: &str, pattern: &str| RedirectConfig { path_regex: Some(pattern.into()), ..to(t) };
        let append = |t: &str, prefix: &str| RedirectConfig {
            append: true,
            path_prefix: Some(prefix.into()).filter(|p: &String| !p.is_empty()),
            ..to(t)
        };
        for (config, authority, target, expected) in [
            (to("https://{host}{path}{query}"), "a.example:8080", "/x%2Fy?q=%20&r", "https://a.example/x%2Fy?q=%20&r"),
            (to("https://{host}{path}{query}"), "[::1]:80", "/", "https://[::1]/"),
            (to("https://{host}:8443{path}"), "a.example", "/x?y", "https://a.example:8443/x"),
            (to("{scheme}://www.{host}{path}{query}"), "a.example", "/?", "http://www.a.example/?"),
            (to("/new"), "h", "/old?q", "/new"),
            (to("{path}/"), "h", "/dir", "/dir/"),
            (to("{path}/"), "h", "//evil.example", "/evil.example/"),
            (to("https://x.example/{path}"), "h", "/a", "https://x.example//a"),
            (regex("/u/{2}/{1}", "^/(a+)/(b+)"), "h", "/aa/bb/cc", "/u/bb/aa"),
            (regex("/{1}", "^/go/(.*)$"), "h", "/go//evil.example", "/evil.example"),
            (regex("https://x.example/{1}", "^/go/(.*)$"), "h", "/go/b c\u{e9}", "https://x.example/b%20c%C3%A9"),
            (append("https://x.example", "/old"), "h", "/old/a/b?c=d", "https://x.example/a/b?c=d"),
            (append("https://x.example/new/", "/old"), "h", "/old/a", "https://x.example/new/a"),
            (append("https://x.example/new", "/old/"), "h", "/old/a", "https://x.example/new/a"),
            (append("https://x.example/new", "/old"), "h", "/old", "https://x.example/new"),
            (append("https://x.example/new", "/old"), "h", "/old/", "https://x.example/new/"),
            (append("/", "/old"), "h", "/old//evil.example", "/evil.example"),
            (append("https://x.example", ""), "h", "/a?b", "https://x.example/a?b"),
        ] {
            assert_eq!(location(&config, authority, target).unwrap(), expected, "{config:?} {authority} {target}");
        }
    }

    #[test]
    fn a_host_that_fits_no_url_is_refused() {
        for authority in ["", "a b", "a/b", "user@a", "a\u{e9}"] {
            let fault = location(&to("https://{host}/"), authority, "/").unwrap_err();
            assert_eq!((fault.category, fault.status), (Category::BadRequest, 400), "{authority:?}");
        }
        assert!(location(&to("https://x.example/"), "", "/").is_ok());
    }

    #[test]
    fn mistakes_name_key_and_remedy() {
        let pattern = RedirectConfig { path_regex: Some("^/(a)".into()), ..to("/{2}") };
        for (config, key, message) in [
            (RedirectConfig { status: 200, ..to("/x") }, "status", "200"),
            (RedirectConfig { status: 304, ..to("/x") }, "status", "304"),
            (to(""), "to", "where to go"),
            (to("example.com/x"), "to", "where to go"),
            (to("javascript:alert(1)"), "to", "where to go"),
            (to("/a\r\nb"), "to", "cannot stand"),
            (to("/a b"), "to", "cannot stand"),
            (to("/{uri}"), "to", "placeholder"),
            (to("/{1}"), "to", "path_regex"),
            (pattern, "to", "1 groups"),
            (to("https://{1}/"), "to", "choose the host"),
            (to("https://x.example{1}"), "to", "choose the host"),
            (to("https://"), "to", "choose the host"),
            (to("//{1}"), "to", "choose the host"),
            (to("{path}?{query}"), "to", "brings its own"),
            (RedirectConfig { append: true, ..to("https://x.example{query}") }, "to", "brings its own"),
        ] {
            let error = RedirectRule::compile(&config).unwrap_err();
            assert_eq!(error.key, key, "{config:?}");
            assert!(error.message.contains(message), "{}", error.message);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the client sends, a location is a visible line, and its host is the template's.
        #[test]
        fn locations_are_clean(rest in prop::collection::vec(any::<u8>(), 0..40), query in prop::collection::vec(any::<u8>(), 0..20)) {
            let target = [b"/go/", &rest[..], b"?", &query[..]].concat();
            for (text, start) in [("https://x.example{path}{query}", "https://x.example/"), ("{path}{query}", "/"), ("/{1}", "/"),
                ("https://x.example/a{1}", "https://x.example/a")] {
                let rule = RedirectRule::compile(&RedirectConfig { path_regex: Some("(?s)^/go/(.*)".into()), ..to(text) }).unwrap();
                let mut head = Head::new();
                head.set_request(b"GET", b"h", &target, Version::Http11).unwrap();
                let mut out = Vec::new();
                rule.location(&head, head.path(), "http", &mut out).unwrap();
                let out = String::from_utf8(out).unwrap();
                prop_assert!(out.bytes().all(|b| b.is_ascii_graphic()), "{}", out);
                prop_assert!(out.starts_with(start) && !out.starts_with("//"), "{}", out);
            }
        }
    }
}
