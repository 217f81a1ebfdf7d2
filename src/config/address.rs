//! Addresses as they are typed: listeners, the admin API, endpoints, and CIDR ranges.
use super::limits::{HTTP_PORT, HTTPS_PORT, UNIX_PATH_BYTES_MAX};
use crate::upstream::{EndpointAddr, Question, Target};
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

/// An address that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
}

fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { message: message.into(), help: help.into() })
}

/// What an address may look like where something listens.
pub(crate) const LISTEN_FORMS: &str = "IP:PORT such as \"0.0.0.0:80\" or \"[::]:80\", \"unix:/path\" or \"unix:@name\"";
/// What an endpoint may look like.
pub(crate) const ENDPOINT_FORMS: &str = "\"http://HOST:PORT\", \"https://HOST:PORT\", \"h2c://HOST:PORT\" with an IP address or a name as HOST, \
     \"srv+http://_SERVICE._tcp.NAME\", \"unix:/path\" or \"unix:@name\"";
/// Longest name, bytes (RFC 1035 2.3.4, as text and without the final dot).
const NAME_MAX: usize = 253;
/// Longest label of a name, bytes (RFC 1035 2.3.4).
const LABEL_MAX: usize = 63;

/// Where something listens: `IP:PORT`, `unix:/path`, `unix:@abstract`. Relative socket paths start at `base`.
pub(crate) fn listen(text: &str, base: &Path) -> Result<EndpointAddr, Wrong> {
    if let Some(socket) = text.strip_prefix("unix:") {
        return unix(socket, base);
    }
    if text.is_empty() {
        return wrong("the address is empty", "");
    }
    if let Some((_, rest)) = text.split_once("://") {
        return wrong(format!("{text:?} is a URL"), format!("write {:?}", rest.trim_end_matches('/')));
    }
    let bare_port = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if bare_port.parse::<u16>().is_ok() {
        let both = format!("write \"0.0.0.0:{bare_port}\" for IPv4, \"[::]:{bare_port}\" for IPv6");
        return wrong(format!("{text:?} names no address"), both);
    }
    match host_port(text, None)? {
        (Host::Ip(ip), port) => Ok(EndpointAddr::Tcp(SocketAddr::new(ip, port))),
        (Host::Name(name), _) => wrong(
            format!("{name:?} is a name, but a socket listens on an address"),
            "write an IP address, or \"localhost\"",
        ),
    }
}

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Without TLS, HTTP/1.1 unless the pool says otherwise.
    Http,
    /// With TLS.
    Https,
    /// Without TLS, HTTP/2 by prior knowledge (RFC 9113 3.3).
    H2c,
}

/// An endpoint: `http://HOST[:PORT]`, `https://`, `h2c://`, the same with `srv+` before it and the name of a service,
/// `unix:/path`, `unix:@abstract`, with the value of `Host` that belongs to it.
pub(crate) fn endpoint(text: &str, base: &Path) -> Result<(Scheme, Target, String), Wrong> {
    if let Some(socket) = text.strip_prefix("unix:") {
        return Ok((Scheme::Http, Target::Addr(unix(socket, base)?), "localhost".to_owned()));
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        let meant = match host_port(text, Some(HTTP_PORT)) {
            Ok(_) => format!("write \"http://{text}\""),
            Err(_) => String::new(),
        };
        return wrong(format!("{text:?} has no scheme"), meant);
    };
    let (service, plain) = match scheme.strip_prefix("srv+") {
        Some(plain) => (true, plain),
        None => (false, scheme),
    };
    let (known, port) = match plain {
        "http" => (Scheme::Http, HTTP_PORT),
        "https" => (Scheme::Https, HTTPS_PORT),
        "h2c" => (Scheme::H2c, HTTP_PORT),
        "h2" => return wrong("the scheme \"h2\" is not known", "use https://, or h2c:// without TLS"),
        "h3" => return wrong("h3 to endpoints is not there yet", "use https://"),
        "srv" => {
            return wrong(
                "the scheme \"srv\" does not say what is spoken",
                "use srv+http://, srv+https:// or srv+h2c://",
            );
        }
        _ => return wrong(format!("the scheme {scheme:?} is not known"), "use http://"),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    no_more_than_authority(scheme, authority)?;
    if service {
        let (question, host) = srv(scheme, authority)?;
        return Ok((known, Target::Name { question, port: None }, host));
    }
    match host_port(authority, Some(port))? {
        (Host::Ip(ip), port) => {
            Ok((known, Target::Addr(EndpointAddr::Tcp(SocketAddr::new(ip, port))), authority.to_owned()))
        }
        (Host::Name(name), port) => {
            // The final dot says that no search list applies; it is no part of what endpoints go by.
            let bare = name.strip_suffix('.').unwrap_or(&name);
            let host = match authority.rsplit_once(':') {
                Some((_, port)) => format!("{bare}:{port}"),
                None => bare.to_owned(),
            };
            Ok((known, Target::Name { question: Question::Host(name.as_str().into()), port: Some(port) }, host))
        }
    }
}

fn no_more_than_authority(scheme: &str, authority: &str) -> Result<(), Wrong> {
    if let Some(at) = authority.find(['/', '?', '#']) {
        let (authority, path) = authority.split_at(at);
        let help = match path.starts_with('/') {
            true => format!("write \"{scheme}://{authority}\" and add_prefix = {path:?} in the route's rewrite"),
            false => format!("write \"{scheme}://{authority}\""),
        };
        return wrong("an endpoint has no path or query", help);
    }
    if authority.contains('@') {
        return wrong("an endpoint has no user name or password", "");
    }
    Ok(())
}

/// The name of a service (RFC 2782), `_http._tcp.app.internal`, and the name that its endpoints go by: what follows
/// the two labels.
fn srv(scheme: &str, text: &str) -> Result<(Question, String), Wrong> {
    let form = "write it like \"srv+http://_http._tcp.app.internal\"";
    if let Some((before, port)) = text.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return wrong("an SRV record says the port itself", format!("write \"{scheme}://{before}\""));
    }
    let labels: Vec<&str> = text.splitn(3, '.').collect();
    let [service, protocol, host] = labels[..] else {
        return wrong(format!("{text:?} is not the name of a service"), form);
    };
    if !service.starts_with('_') || service.len() < 2 || !protocol.eq_ignore_ascii_case("_tcp") {
        return wrong(format!("{text:?} is not the name of a service over TCP"), form);
    }
    let host = name(host)?;
    let whole = name(text)?;
    Ok((Question::Srv(whole.as_str().into()), host.strip_suffix('.').unwrap_or(&host).to_owned()))
}

/// A range of addresses; a single address is a range of one.
pub(crate) fn range(text: &str) -> Result<IpNet, Wrong> {
    if let Ok(net) = text.parse::<IpNet>() {
        let canonical = net.trunc();
        return match canonical == net {
            true => Ok(net),
            false => wrong(format!("{text:?} has bits set past its prefix"), format!("write \"{canonical}\"")),
        };
    }
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(IpNet::from(ip)),
        Err(_) => wrong(format!("{text:?} is neither an address nor a CIDR range"), ""),
    }
}

/// A unix socket: a path, or `@` and an abstract name.
fn unix(socket: &str, base: &Path) -> Result<EndpointAddr, Wrong> {
    if socket.contains('\0') {
        return wrong("the name of a unix socket has a NUL", "");
    }
    let too_long = |bytes: usize| {
        wrong(format!("the name of the unix socket has {bytes} bytes; unix(7) allows {UNIX_PATH_BYTES_MAX}"), "")
    };
    if let Some(name) = socket.strip_prefix('@') {
        return match name.len() {
            0 => wrong("the abstract unix socket has no name", "write \"unix:@name\""),
            n if n > UNIX_PATH_BYTES_MAX => too_long(n),
            _ => Ok(EndpointAddr::Abstract(name.as_bytes().to_vec())),
        };
    }
    if let Some(path) = socket.strip_prefix("//") {
        return wrong(
            "a unix socket is written without slashes before its path",
            format!("write \"unix:/{}\"", path.trim_start_matches('/')),
        );
    }
    if socket.is_empty() || socket.ends_with('/') {
        return wrong("the unix socket has no file name", "write \"unix:/run/edge/app.sock\"");
    }
    let path = base.join(socket);
    match path.as_os_str().len() {
        n if n > UNIX_PATH_BYTES_MAX => too_long(n),
        _ => Ok(EndpointAddr::Unix(path)),
    }
}

/// What stands before a port.
enum Host {
    Ip(IpAddr),
    /// In lower case, with its final dot if it was typed.
    Name(String),
}

/// `HOST:PORT` where the host is an address, `localhost` (RFC 6761 6.3: the loopback address) or a name.
fn host_port(text: &str, default_port: Option<u16>) -> Result<(Host, u16), Wrong> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        no_port_zero(addr.port(), default_port)?;
        return Ok((Host::Ip(addr.ip()), addr.port()));
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        let with_port = text.rsplit_once(':').and_then(|(ip, port)| Some((ip.parse().ok()?, port.parse().ok()?)));
        let (ip, port): (Ipv6Addr, u16) = with_port.unwrap_or((ip, default_port.unwrap_or(HTTP_PORT)));
        return wrong(format!("{text:?}: an IPv6 address stands in brackets"), format!("write \"[{ip}]:{port}\""));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match (port, default_port) {
        (Some(port), _) => match port.parse::<u16>() {
            Ok(port) => port,
            Err(_) => return wrong(format!("{port:?} is not a port"), "a port is a number from 1 to 65535"),
        },
        (None, Some(port)) => port,
        (None, None) => return wrong(format!("{text:?} has no port"), format!("write \"{text}:{HTTP_PORT}\"")),
    };
    if host.is_empty() {
        return wrong(format!("{text:?} names no address"), "");
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(ip) => Host::Ip(ip),
        Err(_) if bare.is_some() || host.starts_with('[') => {
            return wrong(format!("{host:?} is not an IPv6 address"), "");
        }
        Err(_) if host.eq_ignore_ascii_case("localhost") => Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Err(_) => Host::Name(name(host)?),
    };
    no_port_zero(port, default_port)?;
    Ok((host, port))
}

/// Port 0 is a free one where something listens, and nothing where something connects.
fn no_port_zero(port: u16, default_port: Option<u16>) -> Result<(), Wrong> {
    match port {
        0 if default_port.is_some() => wrong("port 0 cannot be connected to", ""),
        _ => Ok(()),
    }
}

/// A name as DNS has it: letters, digits, `-` and `_` in labels, in lower case.
fn name(text: &str) -> Result<String, Wrong> {
    let whole = text.strip_suffix('.').unwrap_or(text);
    let last = whole.rsplit('.').next().unwrap_or(whole);
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        return wrong(format!("{text:?} is not an IP address"), "");
    }
    if !text.is_ascii() {
        return wrong(
            format!("{text:?} has letters that DNS does not know"),
            "write its ASCII form, which has \"xn--\"",
        );
    }
    if whole.len() > NAME_MAX {
        return wrong(format!("a name of {} bytes is too long; DNS allows {NAME_MAX}", whole.len()), "");
    }
    for label in whole.split('.') {
        let odd = label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        let why = match odd {
            Some('*') => Some("an endpoint is one name: \"*\" stands for many".to_owned()),
            Some(odd) => Some(format!("{text:?} is not a name: it has {odd:?}")),
            None if label.is_empty() => Some(format!("{text:?} is not a name: a part between dots is empty")),
            None if label.len() > LABEL_MAX => {
                Some(format!("{label:?} is too long: a part between dots has at most {LABEL_MAX} bytes"))
            }
            None if label.starts_with('-') || label.ends_with('-') => {
                Some(format!("{text:?} is not a name: {label:?} begins or ends with \"-\""))
            }
            None => None,
        };
        if let Some(why) = why {
            return wrong(why, "a name has letters, digits, \"-\" and \"_\", with dots between");
        }
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn base() -> &'static Path {
        Path::new("/etc/edge")
    }

    #[test]
    fn listening_addresses() {
        let tcp = |s: &str| EndpointAddr::Tcp(s.parse().unwrap());
        for (text, addr) in [
            ("127.0.0.1:8080", tcp("127.0.0.1:8080")),
            ("[::]:443", tcp("[::]:443")),
            ("localhost:0", tcp("127.0.0.1:0")),
            ("unix:/run/x.sock", EndpointAddr::Unix(PathBuf::from("/run/x.sock"))),
            ("unix:x.sock", EndpointAddr::Unix(PathBuf::from("/etc/edge/x.sock"))),
            ("unix:@x", EndpointAddr::Abstract(b"x".to_vec())),
        ] {
            assert_eq!(listen(text, base()), Ok(addr), "{text}");
        }
        for text in [
            "",
            ":80",
            "80",
            "*:80",
            "::1:80",
            "::1",
            "1.2.3.4",
            "1.2.3:80",
            "example.com:80",
            "http://1.2.3.4:80",
            "1.2.3.4:99999",
        ] {
            assert!(listen(text, base()).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints() {
        use Scheme::*;
        for (text, scheme, addr, authority) in [
            ("http://127.0.0.1:3000", Http, "127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://127.0.0.1/", Http, "127.0.0.1:80", "127.0.0.1"),
            ("http://localhost:3000", Http, "127.0.0.1:3000", "localhost:3000"),
            ("http://[::1]:3000", Http, "[::1]:3000", "[::1]:3000"),
            ("http://[::1]", Http, "[::1]:80", "[::1]"),
            ("https://127.0.0.1", Https, "127.0.0.1:443", "127.0.0.1"),
            ("h2c://127.0.0.1:9", H2c, "127.0.0.1:9", "127.0.0.1:9"),
        ] {
            let expected = (scheme, Target::Addr(EndpointAddr::Tcp(addr.parse().unwrap())), authority.to_owned());
            assert_eq!(endpoint(text, base()), Ok(expected), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:80",
            "h3://1.2.3.4",
            "https://1.2.3.4:0",
            "ftp://1.2.3.4",
            "http://",
            "http://1.2.3.4/x",
            "http://1.2.3.4?x",
            "http://u@1.2.3.4",
            "http://1.2.3.4:0",
            "http://[::1",
            "unix:",
            "unix:@",
            "unix:/",
            "unix://run/x",
            "unix:/a\0b",
        ] {
            assert!(endpoint(text, base()).is_err(), "{text}");
        }
        assert!(endpoint(&format!("unix:/{}", "x".repeat(107)), base()).is_err());
        assert!(endpoint(&format!("unix:/{}", "x".repeat(106)), base()).is_ok());
    }

    #[test]
    fn endpoints_with_names() {
        use Scheme::*;
        for (text, scheme, name, port, authority) in [
            ("http://app.internal:8000", Http, "app.internal", 8000, "app.internal:8000"),
            ("http://App.Internal", Http, "app.internal", 80, "app.internal"),
            ("https://app.internal./", Https, "app.internal.", 443, "app.internal"),
            ("https://app.internal.:8443", Https, "app.internal.", 8443, "app.internal:8443"),
            ("h2c://my_app:9", H2c, "my_app", 9, "my_app:9"),
            ("http://x--1.xn--bcher-kva", Http, "x--1.xn--bcher-kva", 80, "x--1.xn--bcher-kva"),
            ("http://1.2.3.4.example", Http, "1.2.3.4.example", 80, "1.2.3.4.example"),
        ] {
            let target = Target::Name { question: Question::Host(name.into()), port: Some(port) };
            assert_eq!(endpoint(text, base()), Ok((scheme, target, authority.to_owned())), "{text}");
        }
        for (text, scheme, name, authority) in [
            ("srv+http://_http._tcp.app.internal", Http, "_http._tcp.app.internal", "app.internal"),
            ("srv+https://_web._TCP.app.internal.", Https, "_web._tcp.app.internal.", "app.internal"),
            ("srv+h2c://_grpc._tcp.app/", H2c, "_grpc._tcp.app", "app"),
        ] {
            let target = Target::Name { question: Question::Srv(name.into()), port: None };
            assert_eq!(endpoint(text, base()), Ok((scheme, target, authority.to_owned())), "{text}");
        }
    }

    #[test]
    fn names_that_are_none() {
        let long = format!("http://{}.x", "a".repeat(64));
        let longer = format!("http://{}x", "a.".repeat(127));
        for text in [
            "http://a..b",
            "http://.a",
            "http://.",
            "http://-a.b",
            "http://a-.b",
            "http://a b",
            "http://*.a",
            "http://bücher.example",
            "http://a.1",
            "http://999.1.1.1",
            "http://a:0",
            "http://a:b:1",
            "http://[a]:1",
            &long,
            &longer,
            "srv://_http._tcp.a",
            "srv+http://a",
            "srv+http://_http._udp.a",
            "srv+http://_._tcp.a",
            "srv+http://_http._tcp",
            "srv+http://_http._tcp.",
            "srv+http://_http._tcp.a:80",
            "srv+http://http._tcp.a",
            "srv+ftp://_http._tcp.a",
        ] {
            assert!(endpoint(text, base()).is_err(), "{text}");
        }
        let most =
            format!("http://{}", [&*"a".repeat(63), &*"b".repeat(63), &*"c".repeat(63), &*"d".repeat(61)].join("."));
        assert!(endpoint(&most, base()).is_ok());
        assert_eq!(endpoint("app.internal:8000", base()).unwrap_err().help, "write \"http://app.internal:8000\"");
    }

    #[test]
    fn ranges() {
        assert_eq!(range("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(range("::1").unwrap().to_string(), "::1/128");
        assert_eq!(range("10.1.2.3/8").unwrap_err().help, "write \"10.0.0.0/8\"");
        assert!(range("10.0.0.0/33").is_err() && range("ten").is_err());
    }
}
