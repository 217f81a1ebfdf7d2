//! What an origin is told, and what of it cannot be.
use crate::origin::{script::Script, tls::Tls};
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
};

/// Threads at most: as many as there can be shards on one UDP address.
const THREADS_MAX: usize = 256;

/// Where an origin listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, and UDP for HTTP/3. Port 0 takes a free one.
    Ip(SocketAddr),
    /// A unix socket. It is removed at the end.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `:8080` (all of IPv4), `8080` (loopback), `unix:/path`.
    fn from_str(text: &str) -> Result<Address, String> {
        let wrong = || {
            format!(
                "`{text}` is no address: expected is 127.0.0.1:8080, [::1]:8080, :8080, 8080 (on loopback) or unix:/path"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Address::Unix(path.into())) };
        }
        let port = |text: &str| text.parse::<u16>().ok();
        if let Some(port) = port(text) {
            return Ok(Address::Ip((Ipv4Addr::LOCALHOST, port).into()));
        }
        if let Some(port) = text.strip_prefix(':').and_then(port) {
            return Ok(Address::Ip((Ipv4Addr::UNSPECIFIED, port).into()));
        }
        if let Ok(addr) = text.parse() {
            return Ok(Address::Ip(addr));
        }
        let named = text
            .rsplit_once(':')
            .filter(|(host, p)| !host.is_empty() && !host.contains(':') && port(p).is_some())
            .ok_or_else(wrong)?;
        let mut found = text.to_socket_addrs().map_err(|e| format!("{}: {e}", named.0))?;
        found.next().map(Address::Ip).ok_or_else(wrong)
    }
}

/// What an origin is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; at least one.
    pub listen: Vec<Address>,
    /// TLS on every socket.
    pub tls: Option<Tls>,
    /// HTTP/1.1 on TCP and unix sockets.
    pub h1: bool,
    /// HTTP/2 there; without TLS by prior knowledge, beside HTTP/1.1 on the same port.
    pub h2: bool,
    /// HTTP/3, on the UDP ports of the same numbers. Needs TLS.
    pub h3: bool,
    /// Threads for TCP and unix sockets, and as many for UDP; 1 to 256. Several share the addresses.
    pub threads: usize,
    /// Where the threads are pinned, in turn; empty: nowhere.
    pub cores: Vec<usize>,
    /// What it answers.
    pub script: Script,
}

impl Default for Options {
    /// On a free port of the loopback address, without TLS, HTTP/1.1 and HTTP/2, one thread.
    fn default() -> Options {
        Options {
            listen: vec![Address::Ip((Ipv4Addr::LOCALHOST, 0).into())],
            tls: None,
            h1: true,
            h2: true,
            h3: false,
            threads: 1,
            cores: Vec::new(),
            script: Script::default(),
        }
    }
}

/// Says what cannot be.
pub(super) fn check(options: &Options) -> Result<(), String> {
    if options.listen.is_empty() {
        return Err("there is no address to listen on".into());
    }
    if !(options.h1 || options.h2 || options.h3) {
        return Err("there is no protocol to speak".into());
    }
    if options.h3 && options.tls.is_none() {
        return Err("HTTP/3 needs TLS".into());
    }
    let unix = options.listen.iter().find(|address| matches!(address, Address::Unix(_)));
    if let (Some(address), false) = (unix, options.h1 || options.h2) {
        return Err(format!("{address}: HTTP/3 goes over UDP, not over unix sockets"));
    }
    if !(1..=THREADS_MAX).contains(&options.threads) {
        return Err(format!("between 1 and {THREADS_MAX} threads are possible"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_has_no_http3_wherever_it_stands() {
        let mut options = Options { h3: true, tls: Some(Tls::SelfSigned), ..Options::default() };
        options.listen.push(Address::Unix("/nowhere/socket".into()));
        assert_eq!(check(&options), Ok(()));
        (options.h1, options.h2) = (false, false);
        assert!(check(&options).unwrap_err().starts_with("unix:/nowhere/socket: HTTP/3"));
    }
}
