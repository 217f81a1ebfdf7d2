//! Hosts: what a configuration may write, and the request's host folded for look-ups without allocating.
use super::hash::{lowercase_word, start_word};
use crate::message::{Problem, compile_regex, host_of};
use regex::bytes::Regex;
use std::{borrow::Cow, net::Ipv6Addr};

/// The longest host that can match a name, in bytes (DNS allows 253).
pub const HOST_BYTES_MAX: usize = 255;

/// The request's host: lower case, without port and without one trailing dot, on the stack.
pub struct Folded {
    bytes: [u8; HOST_BYTES_MAX + 1],
    len: usize,
}

impl Folded {
    /// Folds `host[:port]`. `None` when the host is longer than [`HOST_BYTES_MAX`]: no name matches it.
    #[inline]
    pub fn new(authority: &[u8]) -> Option<Folded> {
        let mut folded = Folded { bytes: [0; HOST_BYTES_MAX + 1], len: 0 };
        let host = if authority.len() <= HOST_BYTES_MAX { authority } else { host_of(authority) };
        if host.len() > HOST_BYTES_MAX {
            return None;
        }
        let colon = folded.copy_lowercase(host);
        folded.len = if colon { host_of(host).len() } else { host.len() };
        if folded.as_bytes().ends_with(b".") {
            folded.len -= 1;
        }
        Some(folded)
    }

    /// Copies, and tells whether there is a colon; most authorities have none. Eight bytes at a time.
    #[inline]
    fn copy_lowercase(&mut self, host: &[u8]) -> bool {
        let mut colon = false;
        let mut copy = |at: usize, from: u64| {
            colon |= has_colon(from);
            if let Some(to) = self.bytes[at..].first_chunk_mut() {
                *to = lowercase_word(from).to_le_bytes();
            }
        };
        let mut at = 0;
        while at + 8 <= host.len() {
            copy(at, start_word(&host[at..]));
            at += 8;
        }
        match host.len() {
            // The last eight once more, which overlap those before.
            8.. if at < host.len() => copy(host.len() - 8, start_word(&host[host.len() - 8..])),
            8.. => {}
            // The zeros behind a short host are there already.
            _ => copy(0, start_word(host)),
        }
        colon
    }

    /// The folded bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Whether one of the eight bytes is a `:` (a false alarm is possible, a miss is not).
#[inline]
fn has_colon(word: u64) -> bool {
    let zero_where_colon = word ^ u64::from_ne_bytes([b':'; 8]);
    let ones = u64::from_ne_bytes([1; 8]);
    zero_where_colon.wrapping_sub(ones) & !zero_where_colon & (ones << 7) != 0
}

/// A host as a route names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern<'a> {
    /// The whole name.
    Exact(Cow<'a, str>),
    /// `*.x`: one or more labels before `.x`; holds `x`.
    Wildcard(Cow<'a, str>),
    /// `~pattern`, searched for in the folded host; holds the pattern.
    Regex(&'a str),
    /// `*`, or no host at all.
    Any,
}

impl<'a> HostPattern<'a> {
    /// Reads one entry of `host`.
    pub fn parse(text: &'a str) -> Result<HostPattern<'a>, Problem> {
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        if let Some(pattern) = text.strip_prefix('~') {
            compile_regex(pattern)?;
            return Ok(HostPattern::Regex(pattern));
        }
        if let Some(name) = text.strip_prefix("*.") {
            return Ok(HostPattern::Wildcard(name_of(name, text)?));
        }
        Ok(HostPattern::Exact(name_of(text, text)?))
    }

    /// The pattern by itself, for `any` and `not`.
    pub fn test(&self) -> Result<HostTest, Problem> {
        Ok(match self {
            HostPattern::Exact(name) => HostTest::Exact(name.as_ref().into()),
            HostPattern::Wildcard(name) => HostTest::Wildcard(name.as_ref().into()),
            HostPattern::Regex(pattern) => HostTest::Regex(compile_regex(pattern)?),
            HostPattern::Any => HostTest::Any,
        })
    }
}

/// One host pattern, ready to be asked outside a table.
#[derive(Debug)]
pub enum HostTest {
    /// See [`HostPattern::Exact`].
    Exact(Box<str>),
    /// See [`HostPattern::Wildcard`].
    Wildcard(Box<str>),
    /// See [`HostPattern::Regex`].
    Regex(Regex),
    /// See [`HostPattern::Any`].
    Any,
}

impl HostTest {
    /// Whether `host` (folded) is one of those the pattern means.
    pub fn matches(&self, host: &[u8]) -> bool {
        match self {
            HostTest::Exact(name) => host == name.as_bytes(),
            HostTest::Wildcard(name) => {
                host.strip_suffix(name.as_bytes()).is_some_and(|rest| rest.len() > 1 && rest.ends_with(b"."))
            }
            HostTest::Regex(regex) => regex.is_match(host),
            HostTest::Any => true,
        }
    }
}

/// Checks and folds a name; `text` is what the file says, for messages.
fn name_of<'a>(name: &'a str, text: &str) -> Result<Cow<'a, str>, Problem> {
    if name.starts_with('[') {
        return ipv6_of(name);
    }
    if let Ok(ip) = name.parse::<Ipv6Addr>() {
        return Err(Problem::new(format!("{text:?}: an IPv6 address stands in brackets"), format!("write \"[{ip}]\"")));
    }
    if name.contains("://") || name.contains('/') {
        return Err(Problem::new(format!("{text:?} is a URL, not a host"), "write the host name alone"));
    }
    if let Some((host, port)) = name.split_once(':') {
        return Err(Problem::new(
            format!("{text:?}: hosts are compared without their port"),
            format!("write {host:?}; `:{port}` belongs to the listener's address"),
        ));
    }
    if !name.is_ascii() {
        return Err(Problem::new(
            format!("{text:?} has letters outside ASCII"),
            format!("write its A-label form: {:?}", a_labels(text)),
        ));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    check_labels(name, text)?;
    Ok(match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    })
}

fn ipv6_of(name: &str) -> Result<Cow<'_, str>, Problem> {
    let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).and_then(|n| n.parse::<Ipv6Addr>().ok());
    match address {
        Some(ip) => Ok(Cow::Owned(format!("[{ip}]"))),
        None => {
            Err(Problem::new(format!("{name:?} is no IPv6 address"), "write it like \"[2001:db8::1]\", without a port"))
        }
    }
}

fn check_labels(name: &str, text: &str) -> Result<(), Problem> {
    if name.len() > 253 {
        return Err(Problem::new(format!("{text:?} is {} bytes long; a host has at most 253", name.len()), ""));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(Problem::new(format!("{text:?} has an empty label"), "a host looks like \"www.example.com\""));
        }
        if label.len() > 63 {
            return Err(Problem::new(format!("{text:?}: the label {label:?} is longer than 63 bytes"), ""));
        }
        if label.contains('*') {
            return Err(Problem::new(
                format!("{text:?}: `*` stands only alone as the first label"),
                "write \"*.example.com\", \"*\" for every host, or \"~pattern\" for a regex",
            ));
        }
        if let Some(bad) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-' && *c != '_') {
            return Err(Problem::new(
                format!("{text:?}: {bad:?} cannot stand in a host"),
                "a regex begins with `~`: \"~^api[0-9]+\\\\.example\\\\.com$\"",
            ));
        }
    }
    Ok(())
}

/// `text` with each label outside ASCII lower-cased and in its `xn--` form: a hint for messages, not a full IDNA mapping.
fn a_labels(text: &str) -> String {
    let label = |label: &str| match label.is_ascii() {
        true => label.to_ascii_lowercase(),
        false => format!("xn--{}", punycode(&label.to_lowercase())),
    };
    text.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// RFC 3492 section 6.3 with the parameters of section 5.
fn punycode(label: &str) -> String {
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = out.len() as u32;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut done) = (128_u32, 0_u32, 72_u32, basic);
    let total = label.chars().count() as u32;
    while done < total {
        let next = label.chars().map(u32::from).filter(|c| *c >= n).min().unwrap_or(n);
        delta = delta.saturating_add((next - n).saturating_mul(done + 1));
        n = next;
        for c in label.chars().map(u32::from) {
            if c < n {
                delta = delta.saturating_add(1);
            }
            if c == n {
                push_variable(delta, bias, &mut out);
                bias = adapt(delta, done + 1, done == basic);
                (delta, done) = (0, done + 1);
            }
        }
        (delta, n) = (delta.saturating_add(1), n + 1);
    }
    out
}

fn push_variable(mut q: u32, bias: u32, out: &mut String) {
    let digit = |d: u32| char::from(if d < 26 { b'a' + d as u8 } else { b'0' + (d - 26) as u8 });
    for k in (36_u32..).step_by(36) {
        let t = k.saturating_sub(bias).clamp(1, 26);
        if q < t {
            break;
        }
        out.push(digit(t + (q - t) % (36 - t)));
        q = (q - t) / (36 - t);
    }
    out.push(digit(q));
}

fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_folded() {
        for (authority, expected) in [
            ("Example.COM", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("example.com..", "example.com."),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("", ""),
            (":80", ""),
            ("xn--MNCHEN-3ya.de", "xn--mnchen-3ya.de"),
        ] {
            assert_eq!(Folded::new(authority.as_bytes()).unwrap().as_bytes(), expected.as_bytes(), "{authority}");
        }
        for len in 0..=HOST_BYTES_MAX {
            let host: Vec<u8> = (0..len).map(|n| b"AbZ-z09.q"[n % 9]).chain(*b"x").skip(1).collect();
            assert_eq!(Folded::new(&host).unwrap().as_bytes(), host.to_ascii_lowercase(), "{len}");
            let ported = [&host[..], b":80"].concat();
            assert_eq!(Folded::new(&ported).unwrap().as_bytes(), host.to_ascii_lowercase(), "{len}");
        }
        assert!(Folded::new(&[b'a'; HOST_BYTES_MAX]).is_some());
        assert!(Folded::new(&[b'a'; HOST_BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn patterns_are_read() {
        let exact = |s: &str| HostPattern::Exact(Cow::Owned(s.to_string()));
        assert_eq!(HostPattern::parse("Example.com.").unwrap(), exact("example.com"));
        assert_eq!(HostPattern::parse("[2001:DB8:0::1]").unwrap(), exact("[2001:db8::1]"));
        assert_eq!(HostPattern::parse("*.A.b").unwrap(), HostPattern::Wildcard(Cow::Borrowed("a.b")));
        assert_eq!(HostPattern::parse("~^a$").unwrap(), HostPattern::Regex("^a$"));
        assert_eq!(HostPattern::parse("*").unwrap(), HostPattern::Any);
    }

    #[test]
    fn mistakes_name_the_remedy() {
        for (text, message, help) in [
            ("example.com:80", "without their port", "\"example.com\""),
            ("http://example.com", "URL", "alone"),
            ("::1", "brackets", "[::1]"),
            ("a.*.b", "first label", "*.example.com"),
            ("a..b", "empty label", ""),
            ("", "empty label", ""),
            ("a b", "' '", ""),
            ("~(", "regex", ""),
            ("münchen.de", "ASCII", "\"xn--mnchen-3ya.de\""),
            ("*.BÜCHER.example", "ASCII", "\"*.xn--bcher-kva.example\""),
            ("例え.テスト", "ASCII", "\"xn--r8jz45g.xn--zckzah\""),
        ] {
            let problem = HostPattern::parse(text).unwrap_err();
            assert!(problem.message.contains(message), "{text}: {}", problem.message);
            assert!(problem.help.contains(help), "{text}: {}", problem.help);
        }
    }

    #[test]
    fn wildcards_need_a_label() {
        let test = HostPattern::parse("*.x.org").unwrap().test().unwrap();
        let wildcard = |host: &str| test.matches(host.as_bytes());
        assert!(wildcard("a.x.org") && wildcard("a.b.x.org"));
        assert!(!wildcard("x.org") && !wildcard(".x.org") && !wildcard("ax.org"));
    }
}
