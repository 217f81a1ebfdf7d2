//! Addresses as they are typed: listeners, the admin API, endpoints, and CIDR ranges.
use super::limits::{HTTP_PORT, HTTPS_PORT, UNIX_PATH_BYTES_MAX};
use crate::upstream::EndpointAddr;
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
pub(crate) const ENDPOINT_FORMS: &str =
    "\"http://IP:PORT\", \"https://IP:PORT\", \"h2c://IP:PORT\", \"unix:/path\" or \"unix:@name\"";

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
    Ok(EndpointAddr::Tcp(socket_addr(text, None)?))
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

/// An endpoint: `http://IP[:PORT]`, `https://`, `h2c://`, `unix:/path`, `unix:@abstract`, with the value of `Host` that
/// belongs to it.
pub(crate) fn endpoint(text: &str, base: &Path) -> Result<(Scheme, EndpointAddr, String), Wrong> {
    if let Some(socket) = text.strip_prefix("unix:") {
        return Ok((Scheme::Http, unix(socket, base)?, "localhost".to_owned()));
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        let meant =
            if socket_addr(text, Some(HTTP_PORT)).is_ok() { format!("write \"http://{text}\"") } else { String::new() };
        return wrong(format!("{text:?} has no scheme"), meant);
    };
    let (known, port) = match scheme {
        "http" => (Scheme::Http, HTTP_PORT),
        "https" => (Scheme::Https, HTTPS_PORT),
        "h2c" => (Scheme::H2c, HTTP_PORT),
        "h2" => return wrong("the scheme \"h2\" is not known", "use https://, or h2c:// without TLS"),
        "h3" => return wrong("h3 to endpoints is not there yet", "use https://"),
        _ => return wrong(format!("the scheme {scheme:?} is not known"), "use http://"),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
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
    Ok((known, EndpointAddr::Tcp(socket_addr(authority, Some(port))?), authority.to_owned()))
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

/// `HOST:PORT` where the host is an address or `localhost` (RFC 6761 6.3: the loopback address).
fn socket_addr(text: &str, default_port: Option<u16>) -> Result<SocketAddr, Wrong> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return match addr.port() {
            0 if default_port.is_some() => wrong("port 0 cannot be connected to", ""),
            _ => Ok(addr),
        };
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
    let ip = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "" => return wrong(format!("{text:?} names no address"), ""),
        _ => match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse() {
            Ok(ip) => ip,
            Err(_) => return no_name(host),
        },
    };
    Ok(SocketAddr::new(ip, port))
}

fn no_name(host: &str) -> Result<SocketAddr, Wrong> {
    let looks_numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if looks_numeric {
        return wrong(format!("{host:?} is not an IP address"), "");
    }
    wrong(format!("{host:?}: names are not resolved yet"), "write an IP address, or \"localhost\"")
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
            let expected = (scheme, EndpointAddr::Tcp(addr.parse().unwrap()), authority.to_owned());
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
    fn ranges() {
        assert_eq!(range("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(range("::1").unwrap().to_string(), "::1/128");
        assert_eq!(range("10.1.2.3/8").unwrap_err().help, "write \"10.0.0.0/8\"");
        assert!(range("10.0.0.0/33").is_err() && range("ten").is_err());
    }
}
