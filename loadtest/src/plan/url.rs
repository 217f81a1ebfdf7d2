//! URLs of requests: scheme, authority, target; by the grammar of the engines that send them.
use super::mistake::quoted;
use edge_io::{http1::is_authority, message::is_path};

/// Longest URL, bytes: servers take 8 KiB in a request line at most, by their defaults.
pub const URL_MAX: usize = 8 * 1024;

/// The parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// https or wss.
    pub secure: bool,
    /// ws or wss.
    pub websocket: bool,
    /// In lower case, without brackets.
    pub host: String,
    /// As given, or the scheme's.
    pub port: u16,
    /// Host and port as they were given, the host in lower case.
    pub authority: String,
    /// Path and query, from `/` on.
    pub target: String,
}

/// Reads a URL.
///
/// # Errors
/// A sentence: what is wrong with it, and what to write instead.
pub fn parse(text: &str) -> Result<Url, String> {
    let wrong = |what: &str| format!("URL {}: {what}", quoted(text));
    if text.len() > URL_MAX {
        return Err(wrong(&format!("it has {} bytes; the most is {URL_MAX}", text.len())));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(wrong("it has no scheme; write it as http://HOST[:PORT]/PATH or https://…"));
    };
    let (secure, websocket) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (false, false),
        "https" => (true, false),
        "ws" => (false, true),
        "wss" => (true, true),
        _ => return Err(wrong(&format!("the scheme is {}; expected http, https, ws or wss", quoted(scheme)))),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.to_ascii_lowercase();
    if authority.contains('@') {
        return Err(wrong("a name and password before the host are not sent; use --header 'authorization: …'"));
    }
    if !is_authority(authority.as_bytes()) {
        return Err(wrong(&authority_fault(&authority)));
    }
    let (host, port) = host_and_port(&authority);
    let target = match path.chars().next() {
        Some('/') => path.to_owned(),
        _ => format!("/{path}"),
    };
    if !is_path(target.as_bytes()) {
        return Err(wrong(&target_fault(&target)));
    }
    let port = port.unwrap_or(if secure { 443 } else { 80 });
    Ok(Url { secure, websocket, host, port, authority, target })
}

/// Splits what [`is_authority`] found good.
pub(super) fn host_and_port(authority: &str) -> (String, Option<u16>) {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    (host.to_owned(), port.and_then(|port| port.parse().ok()))
}

/// What is wrong with an authority.
pub(super) fn authority_fault(authority: &str) -> String {
    if !authority.is_ascii() {
        return "the host has letters beyond ASCII; write its ASCII form (xn--…)".into();
    }
    if authority.matches(':').count() > 1 && !authority.starts_with('[') {
        return format!("{} is no HOST:PORT; an IPv6 address stands in brackets: [::1]:8080", quoted(authority));
    }
    if authority.is_empty() || authority.starts_with(':') {
        return "there is no host; expected HOST or HOST:PORT".into();
    }
    format!("{} is no HOST or HOST:PORT; a host has letters, digits, - . _ ~, a port is 1 to 65535", quoted(authority))
}

fn target_fault(target: &str) -> String {
    let bytes = target.as_bytes();
    let outside = |(_, b): &(usize, &u8)| !b.is_ascii_graphic() || matches!(b, b'#' | b'\\');
    if let Some((at, b)) = bytes.iter().enumerate().find(outside) {
        let what = match b {
            b'#' => "a fragment (#…) is never sent; leave it out, or write %23".to_owned(),
            b' ' => "a space cannot stand in a URL; write %20".to_owned(),
            b => format!("the byte 0x{b:02x} cannot stand in a URL; write %{b:02X}"),
        };
        return format!("{what} (byte {} of {})", at + 1, quoted(target));
    }
    format!(
        "in {} a % begins an escape that is none, or that is a zero byte; an escape is % and two hex digits, a % \
         itself is %25",
        quoted(target)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_their_parts() {
        let url = |text: &str| {
            let url = parse(text).unwrap();
            (url.secure, url.host, url.port, url.authority, url.target)
        };
        let all = |s, h: &str, p, a: &str, t: &str| (s, h.to_owned(), p, a.to_owned(), t.to_owned());
        assert_eq!(url("http://h"), all(false, "h", 80, "h", "/"));
        assert_eq!(url("HTTPS://H.Example:8443/A?b=%"), all(true, "h.example", 8443, "h.example:8443", "/A?b=%"));
        assert_eq!(url("http://h?q"), all(false, "h", 80, "h", "/?q"));
        assert_eq!(url("http://[::1]:81/x"), all(false, "::1", 81, "[::1]:81", "/x"));
        assert_eq!(url("https://[2001:db8::1]"), all(true, "2001:db8::1", 443, "[2001:db8::1]", "/"));
        assert!(parse("wss://h/").unwrap().websocket && !parse("https://h/").unwrap().websocket);
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, said) in [
            ("localhost:8080/", "no scheme"),
            ("ftp://h/", "expected http, https"),
            ("http:///x", "there is no host"),
            ("http://:80/", "there is no host"),
            ("http://u:p@h/", "--header 'authorization"),
            ("http://h:0/", "a port is 1 to 65535"),
            ("http://::1/", "brackets: [::1]:8080"),
            ("http://häuser.example/", "xn--"),
            ("http://h/a b", "write %20 (byte 3 of"),
            ("http://h/#part", "fragment"),
            ("http://h/ä", "write %C3"),
            ("http://h/100%", "%25"),
            ("http://h/%00", "zero byte"),
            ("http://h/a\\b", "write %5C"),
            ("http://h/a\r\nx: y", "write %0D"),
        ] {
            let mistake = parse(text).unwrap_err();
            assert!(mistake.contains(said), "{text}: {mistake}");
            assert!(mistake.starts_with("URL \""), "{mistake}");
        }
        assert!(parse(&format!("http://h/{}", "a".repeat(URL_MAX))).unwrap_err().contains("the most is 8192"));
    }
}
