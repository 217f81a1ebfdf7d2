//! `edge run --proxy`: a configuration without a file.
use crate::admin::client;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

/// The admin API of an edge without a file: a free port of loopback, so that nobody's port is taken unasked.
pub(super) const ADMIN: client::Addr = client::Addr::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

/// One `LISTEN=UPSTREAM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    listen: String,
    upstream: String,
}

impl FromStr for Proxy {
    type Err = String;

    /// `:8080` listens on every IPv4 address; an upstream without a scheme is HTTP.
    fn from_str(text: &str) -> Result<Proxy, String> {
        let expected = "expected LISTEN=UPSTREAM, as in 127.0.0.1:8080=http://127.0.0.1:3000";
        let (listen, upstream) = text.split_once('=').ok_or(expected)?;
        if listen.is_empty() || upstream.is_empty() {
            return Err(expected.to_owned());
        }
        let listen = if listen.starts_with(':') { format!("0.0.0.0{listen}") } else { listen.to_owned() };
        let has_scheme = upstream.contains("://") || upstream.starts_with("unix:");
        let upstream = if has_scheme { upstream.to_owned() } else { format!("http://{upstream}") };
        // Everyone means the loopback address.
        let upstream = upstream.replacen("://localhost:", "://127.0.0.1:", 1);
        Ok(Proxy { listen, upstream })
    }
}

/// The configuration that `proxies` mean.
///
/// # Errors
/// Several addresses that mean several upstreams: a route cannot tell them apart.
pub(super) fn config(proxies: &[Proxy]) -> Result<String, String> {
    let listens = distinct(proxies.iter().map(|p| &*p.listen));
    let upstreams = distinct(proxies.iter().map(|p| &*p.upstream));
    if listens.len() > 1 && upstreams.len() > 1 {
        return Err(
            "several --proxy share either LISTEN or UPSTREAM; for more, write a configuration, or run one edge each"
                .to_owned(),
        );
    }
    // A TOML basic string escapes as Rust's debug output does, for what can stand in an address.
    Ok(format!(
        "version = 1\n\n[server]\nlb_grace = \"0s\"\n\n[[listener]]\nname = \"proxy\"\naddress = {listens:?}\n\n\
         [pool.upstream]\nendpoints = {upstreams:?}\n\n\
         [[route]]\nid = \"all\"\npool = \"upstream\"\n"
    ))
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use crate::{config, observe::stats::StatsRegistry, snapshot, upstream::Registry};

    fn text(given: &[&str]) -> Result<String, String> {
        let proxies = given.iter().map(|g| g.parse()).collect::<Result<Vec<_>, _>>()?;
        super::config(&proxies)
    }

    fn valid(given: &[&str]) -> snapshot::Snapshot {
        let config = config::parse(&text(given).unwrap(), "--proxy".as_ref()).unwrap_or_else(|e| panic!("{e}"));
        snapshot::compile(&config, &Registry::new(), &StatsRegistry::default(), 1).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn what_is_given_is_a_valid_configuration() {
        let one = valid(&["127.0.0.1:8080=http://127.0.0.1:3000"]);
        assert_eq!((one.listeners.len(), one.pools.len(), one.routes.len()), (1, 1, 1));
        let two = valid(&[":8080=localhost:3000", ":8080=127.0.0.1:3001"]);
        assert_eq!(two.pools[0].endpoints.len(), 2);
        assert_eq!(two.listeners[0].address.len(), 1);
        assert_eq!(valid(&["unix:/tmp/a=unix:/tmp/b", "[::1]:80=unix:/tmp/b"]).listeners[0].address.len(), 2);
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        assert!(text(&["8080"]).unwrap_err().contains("LISTEN=UPSTREAM"));
        assert!(text(&["=x"]).is_err());
        assert!(text(&[":1=a:1", ":2=b:2"]).unwrap_err().contains("several --proxy"));
    }
}
