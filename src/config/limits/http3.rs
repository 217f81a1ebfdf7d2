//! The keys of HTTP/3 and QUIC, with their defaults and bounds.
use super::{DAY, GIB, HOUR, KIB, Kind, MIB, SECOND, Shape, count, flag, key, size, time};

/// Least UDP payload that a path must take (RFC 9000 14).
const UDP_PAYLOAD_MIN: u64 = 1200;
/// Largest UDP payload (RFC 9000 18.2).
const UDP_PAYLOAD_MAX: u64 = 65_527;

/// `server.quic`.
pub static QUIC: Shape = Shape {
    title: "[server.quic]",
    place: "in [server.quic]",
    about: "UDP sockets of listeners that speak `h3`, one per shard and address. The buffers and the steering are those of \
            the time when a socket is opened: a listener that keeps its address keeps its sockets.",
    keys: &[
        key(
            "steering",
            Kind::Word(&["auto", "kernel", "forward"]),
            "How packets come to the shard that has their connection: by a filter in the kernel, or from shard to shard; \
             `auto` is `kernel` where that can be had",
        ),
        size("receive_buffer", 2 * MIB, 64 * KIB, GIB, "Packets that wait to be read, per socket (SO_RCVBUF)"),
        size("send_buffer", 2 * MIB, 64 * KIB, GIB, "Packets that wait to be sent, per socket (SO_SNDBUF)"),
        count(
            "forward_queue",
            256,
            16,
            65_536,
            "Packets under way from one shard to another; more are dropped, and QUIC sends them again",
        ),
    ],
};

/// `listener.http3`.
pub static HTTP3: Shape = Shape {
    title: "[listener.http3]",
    place: "in [listener.http3]",
    about: "Bounds of an HTTP/3 connection, for listeners with `h3` among their `protocols`; `limits.head` and \
            `limits.fields` hold for its requests too (32 bytes more count for each field, RFC 9114 4.2.2). Past a bound \
            the stream is reset or the connection ends with H3_EXCESSIVE_LOAD. `cid_lifetime` and `max_udp_payload` are those of \
            the time when the address is opened.",
    keys: &[
        count("max_concurrent_streams", 128, 1, 32_768, "Requests in progress on one connection"),
        size(
            "stream_window",
            256 * KIB,
            16 * KIB,
            16 * MIB,
            "Bytes of one request's body that may wait to be forwarded",
        ),
        size("connection_window", MIB, 16 * KIB, 256 * MIB, "The same for all requests of a connection"),
        size(
            "send_buffer",
            MIB,
            64 * KIB,
            256 * MIB,
            "Bytes of answers queued or not acknowledged on one connection before endpoints have to wait",
        ),
        time("idle_timeout", 30 * SECOND, SECOND, HOUR, "A connection without a packet is forgotten after this"),
        size("qpack_table", 4 * KIB, 0, 64 * KIB, "Table for compressed fields of requests (RFC 9204 3.2)"),
        count("qpack_blocked_streams", 16, 0, 1000, "Requests that may wait for entries of that table"),
        count("resets", 100, 1, 1_000_000, "Streams that a client resets or gets reset in 10 s"),
        count(
            "control_frames",
            1000,
            10,
            1_000_000,
            "Frames in 1 s that carry nothing: PRIORITY_UPDATE, empty DATA, unknown ones",
        ),
        size(
            "memory",
            256 * KIB,
            64 * KIB,
            16 * MIB,
            "Heads of one connection that are incomplete or wait for the table",
        ),
        flag("connect_protocol", true, "Take WebSocket over HTTP/3 (RFC 9220)"),
        flag(
            "early_data",
            false,
            "Take GET, HEAD and OPTIONS from a returning client's first packets (RFC 8470); whoever recorded them can \
             send them again, so endpoints are told by `Early-Data: 1`",
        ),
        count(
            "retry_after",
            1000,
            0,
            1_000_000,
            "Half-open connections of a listening address from which on clients must first show that their address is \
             their own (Retry, RFC 9000 8.1.2); 0 = always. Each shard has an equal share, rounded up, and keeps to it \
             by itself",
        ),
        count(
            "max_handshakes",
            4096,
            1,
            1_000_000,
            "Half-open connections of a listening address beyond which new ones are refused; divided among the shards as \
             `retry_after` is",
        ),
        flag("migration", true, "Clients may go on from another address (RFC 9000 9)"),
        flag("mtu_discovery", true, "Try larger packets where the path may take them (RFC 8899)"),
        count(
            "max_udp_payload",
            1452,
            UDP_PAYLOAD_MIN,
            UDP_PAYLOAD_MAX,
            "Largest UDP payload in bytes that is taken, and that `mtu_discovery` tries",
        ),
        count(
            "initial_mtu",
            UDP_PAYLOAD_MIN,
            UDP_PAYLOAD_MIN,
            UDP_PAYLOAD_MAX,
            "UDP payload in bytes that a connection begins with; every path must take it",
        ),
        time(
            "cid_lifetime",
            HOUR,
            0,
            7 * DAY,
            "A connection gets new ids after this, so that observers lose sight of it; `0s` = never",
        ),
        key("congestion", Kind::Word(&["cubic", "newreno", "bbr"]), "How the sending rate is found"),
        time(
            "alt_svc_max_age",
            DAY,
            0,
            365 * DAY,
            "How long clients may remember from `Alt-Svc` on HTTP/1.1 and HTTP/2 that HTTP/3 is spoken here; `0s` = it \
             is not said",
        ),
    ],
};
