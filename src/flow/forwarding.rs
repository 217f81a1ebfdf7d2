//! Who the client is, and what the endpoint is told about it (FEATURES A18, F1).
use super::{Scratch, Shard};
use crate::{message::Peer, snapshot::ListenerRule};
use edge_io::{
    head::{FieldId, Head, Version},
    http1::{write_decimal, write_valid_field},
};
use ipnet::IpNet;
use std::{io::Write, net::IpAddr};

/// An id from a trusted peer is kept up to this, bytes.
const ID_BYTES_MAX: usize = 128;

/// Decides whether the peer is trusted, who the client is, and the request's id.
pub fn identify(shard: &Shard, listener: &ListenerRule, head: &Head, peer: Peer, scratch: &mut Scratch) {
    scratch.trusted = peer.unix || is_trusted(&listener.trusted_proxies, peer.ip);
    scratch.client = match scratch.trusted {
        true => client_behind(head, &listener.trusted_proxies, peer.ip),
        false => peer.ip,
    };
    scratch.id.clear();
    match head.get(FieldId::XRequestId) {
        Some(id) if scratch.trusted && is_plain_id(id) => scratch.id.extend_from_slice(id),
        _ => shard.ids.borrow_mut().write(shard.local.timers.clock().wall_us() / 1000, &mut scratch.id),
    }
}

fn is_plain_id(id: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn is_trusted(proxies: &[IpNet], ip: IpAddr) -> bool {
    !proxies.is_empty() && proxies.iter().any(|net| net.contains(&ip.to_canonical()))
}

/// The right-most address in `X-Forwarded-For` that is not itself a trusted proxy's.
fn client_behind(head: &Head, proxies: &[IpNet], peer: IpAddr) -> IpAddr {
    let mut client = peer;
    let lines: Vec<&[u8]> = head.get_all(FieldId::XForwardedFor).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(|b| *b == b',')) {
        let Some(ip) = std::str::from_utf8(entry.trim_ascii()).ok().and_then(parse_ip) else {
            return client; // what cannot be read cannot be believed, nor what stands before it
        };
        client = ip;
        if !is_trusted(proxies, ip) {
            return client;
        }
    }
    client
}

/// An address as proxies write it: bare, or with a port.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    bare.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip())).map(|ip| ip.to_canonical())
}

/// Writes the edge's own field lines for the endpoint into `scratch.ours`.
pub fn fields(shard: &Shard, listener: &ListenerRule, head: &Head, peer: Peer, scratch: &mut Scratch) {
    let Scratch { ours: out, trusted, client, id, .. } = scratch;
    let trusted = *trusted;
    out.clear();
    via(head, out);
    if !peer.unix {
        forwarded_for(head, peer.ip, trusted, out);
    } else if let Some(before) = head.get(FieldId::XForwardedFor) {
        write_valid_field(out, b"X-Forwarded-For", before);
    }
    if !client.is_unspecified() {
        out.extend_from_slice(b"X-Real-IP: ");
        write_ip(*client, out);
        out.extend_from_slice(b"\r\n");
    }
    let kept = |id| if trusted { head.get(id) } else { None };
    match kept(FieldId::XForwardedProto) {
        Some(proto) => write_valid_field(out, b"X-Forwarded-Proto", proto),
        None if peer.tls => out.extend_from_slice(b"X-Forwarded-Proto: https\r\n"),
        None => out.extend_from_slice(b"X-Forwarded-Proto: http\r\n"),
    }
    write_valid_field(out, b"X-Forwarded-Host", kept(FieldId::XForwardedHost).unwrap_or(head.authority()));
    match kept(FieldId::XForwardedPort) {
        Some(port) => write_valid_field(out, b"X-Forwarded-Port", port),
        None if peer.local_port != 0 => {
            out.extend_from_slice(b"X-Forwarded-Port: ");
            write_decimal(out, u64::from(peer.local_port));
            out.extend_from_slice(b"\r\n");
        }
        None => {}
    }
    match kept(FieldId::XRequestStart) {
        Some(start) => write_valid_field(out, b"X-Request-Start", start),
        None => shard.write_request_start(out),
    }
    out.extend_from_slice(b"X-Request-Id: ");
    out.extend_from_slice(id);
    out.extend_from_slice(b"\r\n");
    if listener.forwarded {
        forwarded(head, peer, trusted, out);
    }
}

/// RFC 9110 7.6.3: after those before us.
fn via(head: &Head, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Via: ");
    for before in head.get_all(FieldId::Via) {
        out.extend_from_slice(before);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(match head.version() {
        Version::Http10 => b"1.0 edge\r\n",
        Version::Http11 => b"1.1 edge\r\n",
        Version::Http2 => b"2.0 edge\r\n",
        Version::Http3 => b"3.0 edge\r\n",
    });
}

fn forwarded_for(head: &Head, peer: IpAddr, trusted: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    if trusted {
        for before in head.get_all(FieldId::XForwardedFor) {
            out.extend_from_slice(before);
            out.extend_from_slice(b", ");
        }
    }
    write_ip(peer.to_canonical(), out);
    out.extend_from_slice(b"\r\n");
}

/// RFC 7239.
fn forwarded(head: &Head, peer: Peer, trusted: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Forwarded: ");
    if trusted {
        for before in head.get_all(FieldId::Forwarded) {
            out.extend_from_slice(before);
            out.extend_from_slice(b", ");
        }
    }
    match peer.ip.to_canonical() {
        _ if peer.unix => out.extend_from_slice(b"for=unknown"),
        ip @ IpAddr::V4(_) => {
            out.extend_from_slice(b"for=");
            write_ip(ip, out);
        }
        ip => {
            out.extend_from_slice(b"for=\"[");
            write_ip(ip, out);
            out.extend_from_slice(b"]\"");
        }
    }
    out.extend_from_slice(b";host=\"");
    out.extend_from_slice(head.authority()); // a checked authority has no quote
    out.extend_from_slice(if peer.tls { b"\";proto=https\r\n" } else { b"\";proto=http\r\n" });
}

/// The decimal digits of each octet with a dot behind, and how many bytes that is.
const OCTETS: [([u8; 4], usize); 256] = {
    let mut all = [([b'.'; 4], 0); 256];
    let mut n = 0;
    while n < 256 {
        let (h, t, o) = (b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8);
        all[n] = match n {
            0..10 => ([o, b'.', 0, 0], 2),
            10..100 => ([t, o, b'.', 0], 3),
            _ => ([h, t, o, b'.'], 4),
        };
        n += 1;
    }
    all
};

fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => {
            let (mut text, mut len) = ([0; 16], 0);
            for octet in v4.octets() {
                let (digits, n) = OCTETS[usize::from(octet)];
                text[len..len + 4].copy_from_slice(&digits); // more than needed: the next one writes over it
                len += n;
            }
            out.extend_from_slice(&text[..len - 1]);
        }
        // Writing to a Vec does not fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}
