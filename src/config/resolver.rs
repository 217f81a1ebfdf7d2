//! Reads how names of endpoints are looked up.
use super::{
    address, limits,
    raw::with_table,
    report::Problem,
    section::{Section, cut},
};
use crate::upstream::{EndpointAddr, names::ResolverRule};
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

/// Where name servers listen (RFC 1035 4.2).
const DNS_PORT: u16 = 53;

/// `server.resolver`.
pub(super) fn read(server: &Section<'_>, base: &Path) -> ResolverRule {
    with_table(server, "resolver", &limits::RESOLVER, |section| {
        let (ttl_min, ttl_max) = (section.time("ttl_min"), section.time("ttl_max"));
        if ttl_min > ttl_max {
            let name = if section.has("ttl_min") { "ttl_min" } else { "ttl_max" };
            section.scene.mistake(section.span_of(name), |at| {
                Problem::new(at, "ttl_min is longer than ttl_max")
                    .help(format!("ttl_max is \"{}\"", super::units::show_time(ttl_max.as_millis() as u64)))
            });
        }
        ResolverRule { servers: read_servers(section, base), ttl_min, ttl_max, timeout: section.time("timeout") }
    })
}

fn read_servers(section: &Section<'_>, base: &Path) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for text in section.texts("servers") {
        let bare = text.value.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text.value);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            servers.push(SocketAddr::new(ip, DNS_PORT));
            continue;
        }
        if let Ok(EndpointAddr::Tcp(addr)) = address::listen(text.value, base)
            && addr.port() != 0
            && !addr.ip().is_unspecified()
        {
            servers.push(addr);
            continue;
        }
        section.scene.mistake(text.span, |at| {
            Problem::new(at, format!("{:?} is not the address of a name server", cut(text.value)))
                .expected("IP or IP:PORT such as \"127.0.0.1\" or \"[::1]:5353\"")
        });
    }
    servers
}
