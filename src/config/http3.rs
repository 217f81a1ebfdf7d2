//! Reads what the configuration says of HTTP/3 and QUIC, and checks that a listener can speak it.
use super::{
    limits,
    raw::{ListenerLimits, Socket, to_u16, to_u32, to_usize, with_table},
    report::Problem,
    section::Section,
};
use crate::{
    proto::{Congestion, Http3Limits, QuicSockets, Steering},
    tls::{ListenerConfig, MinVersion, versions},
    upstream::EndpointAddr,
};
use edge_quic::steer::MAX_SHARDS;
use std::{ops::Range, time::Duration};

/// `http3`.
pub(super) fn read(listener: &Section<'_>, of_heads: &ListenerLimits) -> Http3Limits {
    with_table(listener, "http3", &limits::HTTP3, |section| {
        let read = Http3Limits {
            streams: to_u32(section.count("max_concurrent_streams")),
            stream_window: to_u32(section.size("stream_window")),
            connection_window: to_u32(section.size("connection_window")),
            send_buffer: to_usize(section.size("send_buffer")),
            idle_timeout: section.time("idle_timeout"),
            head_bytes: of_heads.head,
            fields: of_heads.fields,
            table_bytes: to_u32(section.size("qpack_table")),
            blocked_streams: to_u32(section.count("qpack_blocked_streams")),
            resets: to_u32(section.count("resets")),
            control_frames: to_u32(section.count("control_frames")),
            memory_bytes: to_usize(section.size("memory")),
            connect_protocol: section.flag("connect_protocol"),
            early_data: section.flag("early_data"),
            retry_after: to_usize(section.count("retry_after")),
            max_handshakes: to_usize(section.count("max_handshakes")),
            migration: section.flag("migration"),
            mtu_discovery: section.flag("mtu_discovery"),
            max_udp_payload: to_u16(section.count("max_udp_payload")),
            initial_mtu: to_u16(section.count("initial_mtu")),
            cid_lifetime: unless_zero(section.time("cid_lifetime")),
            congestion: match section.word("congestion") {
                "newreno" => Congestion::NewReno,
                "bbr" => Congestion::Bbr,
                _ => Congestion::Cubic,
            },
            alt_svc_max_age: unless_zero(section.time("alt_svc_max_age")),
        };
        if read.initial_mtu > read.max_udp_payload {
            let name = if section.has("initial_mtu") { "initial_mtu" } else { "max_udp_payload" };
            section.scene.mistake(section.span_of(name), |at| {
                Problem::new(at, "initial_mtu is larger than max_udp_payload, which it must not exceed")
                    .help(format!("max_udp_payload is {}", read.max_udp_payload))
            });
        }
        read
    })
}

fn unless_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// `server.quic`.
pub(super) fn read_sockets(server: &Section<'_>) -> QuicSockets {
    with_table(server, "quic", &limits::QUIC, |section| QuicSockets {
        steering: match section.word("steering") {
            "kernel" => Steering::Kernel,
            "forward" => Steering::Forward,
            _ => Steering::Auto,
        },
        receive_buffer: to_usize(section.size("receive_buffer")),
        send_buffer: to_usize(section.size("send_buffer")),
        forward_queue: to_usize(section.count("forward_queue")),
    })
}

/// What a listener must have to speak HTTP/3, which was asked for at `h3`: UDP, TLS 1.3, and no more `shards` than
/// connection IDs tell apart. `tls` is `None` where that cannot be read, `shards` where the machine is to say.
pub(super) fn check(
    listener: &Section<'_>,
    h3: Range<usize>,
    sockets: &[Socket],
    tls: Option<&ListenerConfig>,
    shards: Option<usize>,
) {
    if let Some(shards) = shards.filter(|shards| *shards > MAX_SHARDS) {
        listener.scene.mistake(h3.clone(), |at| {
            Problem::new(at, format!("\"h3\" is spoken by up to {MAX_SHARDS} shards, but server.shards is {shards}"))
                .help(format!("set shards = {MAX_SHARDS} or less in [server], or take \"h3\" out"))
        });
    }
    for (_, at) in sockets.iter().filter(|(addr, _)| !matches!(addr, EndpointAddr::Tcp(_))) {
        listener.scene.mistake(at.clone(), |at| {
            Problem::new(at, "\"h3\" is spoken over UDP, which a unix socket does not have")
                .expected("addresses such as \"0.0.0.0:443\"")
                .help("give the unix socket a listener of its own, without \"h3\"")
        });
    }
    if listener.misses("tls") {
        listener.scene.mistake(h3, |at| {
            Problem::new(at, "\"h3\" needs TLS").help("add tls = \"self-signed\", or certificates in [listener.tls]")
        });
    } else if tls.is_some_and(|tls| versions(MinVersion::Tls13, &tls.ciphers).is_empty()) {
        listener.scene.mistake(h3, |at| {
            Problem::new(at, "\"h3\" needs TLS 1.3, but none of the ciphers is of that version")
                .help("add \"TLS_AES_128_GCM_SHA256\" to ciphers")
        });
    }
}
