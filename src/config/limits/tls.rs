//! The keys of TLS and HTTP/2, with their defaults and bounds.
use super::{HOUR, KIB, Key, Kind, MIB, SECOND, Shape, count, flag, key, other, size, text, texts, time};

/// Most certificates of one listener.
pub const CERTIFICATES_MAX: usize = super::LIST_MAX;
/// The port of an `https://` endpoint that names none (RFC 9110 4.2.2).
pub const HTTPS_PORT: u16 = 443;
/// Fewest bytes of a ticket secret: as many as the keys that are made of it.
pub const TICKET_SECRET_BYTES_MIN: usize = 32;

/// `timeouts.handshake` of a listener.
pub(super) const HANDSHAKE: Key =
    time("handshake", 10 * SECOND, 1, HOUR, "From an accepted connection to the end of its TLS handshake");

/// `listener.tls` as a table.
pub static LISTENER_TLS: Shape = Shape {
    title: "[listener.tls]",
    place: "in [listener.tls]",
    about: "`tls = \"self-signed\"` is short for `tls = { self_signed = true }`. TLS 1.2 and 1.3 with forward secrecy and \
            authenticated encryption only; there are no switches for less. Files are read again on reload and when they change; \
            what cannot be used then is told, and the earlier one stays.",
    keys: &[
        other(
            "certificates",
            "a list of tables with `cert` and `key`",
            "[{ cert = \"example.com.pem\", key = \"example.com.key\" }]",
            "Chains and private keys in PEM, the first being for clients that name no host; an ECDSA and an RSA pair may share names",
        ),
        Key {
            name: "self_signed",
            kind: Kind::Other("true or false"),
            default: "",
            example: "true",
            about: "Also make a certificate for this host at the start, for hosts that no other one covers: for development",
        },
        key("min_version", Kind::Word(&["1.2", "1.3"]), "Oldest version of TLS that is spoken"),
        texts(
            "ciphers",
            "cipher suite",
            "[\"TLS_AES_128_GCM_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]",
            "Cipher suites by their IANA names, best first; all nine that are safe unless given",
        ),
        texts(
            "curves",
            "key exchange group",
            "[\"X25519MLKEM768\", \"X25519\"]",
            "Key exchange groups, best first: `X25519MLKEM768` `X25519` `P-256` `P-384`; all unless given",
        ),
        key(
            "client_auth",
            Kind::Word(&["off", "optional", "required"]),
            "Whether clients are asked for a certificate; with `optional` a policy's `require_mtls` decides",
        ),
        text("client_ca", "path", "\"clients-ca.pem\"", "Issuers of client certificates, PEM"),
        texts("client_crl", "path", "\"clients.crl\"", "Revoked client certificates, PEM or DER"),
        text(
            "ticket_secret",
            "`file:PATH` or `env:NAME`",
            "\"file:/etc/edge/tickets.key\"",
            "At least 32 random bytes that several edges share, so that each resumes the others' sessions; random unless given",
        ),
        count(
            "max_handshakes",
            64,
            1,
            100_000,
            "Handshakes in progress per shard; further connections wait their turn",
        ),
    ],
};

/// An element of `certificates`.
pub static CERTIFICATE: Shape = Shape {
    title: "[listener.tls].certificates",
    place: "in an element of certificates",
    about: "",
    keys: &[
        text("cert", "path", "\"example.com.pem\"", "The certificate, and behind it those of its issuers, PEM"),
        text("key", "path", "\"example.com.key\"", "Its private key, PEM, not encrypted"),
    ],
};

/// `listener.http2`.
pub static HTTP2: Shape = Shape {
    title: "[listener.http2]",
    place: "in [listener.http2]",
    about: "Bounds of an HTTP/2 connection; `limits.head` and `limits.fields` hold for its requests too (32 bytes more count \
            for each field, RFC 9113 6.5.2). Past a bound the stream is reset or the connection ends with ENHANCE_YOUR_CALM.",
    keys: &[
        count("max_concurrent_streams", 128, 1, 32_768, "Requests in progress on one connection"),
        size(
            "stream_window",
            256 * KIB,
            64 * KIB - 1,
            16 * MIB,
            "Bytes of one request's body that may wait to be forwarded",
        ),
        size("connection_window", MIB, 64 * KIB - 1, 256 * MIB, "The same for all requests of a connection"),
        size("max_frame_size", 16 * KIB, 16 * KIB, MIB, "Largest frame that is taken (RFC 9113 4.2)"),
        size("header_table_size", 4 * KIB, 0, 64 * KIB, "Table for compressed fields, each way (RFC 7541 4.2)"),
        size("memory", MIB, 64 * KIB, 64 * MIB, "Heads, fragments and unsent frames of one connection"),
        size(
            "output",
            64 * KIB,
            16 * KIB,
            16 * MIB,
            "Bytes of answers queued on one connection before endpoints have to wait",
        ),
        size("control_output", 16 * KIB, KIB, MIB, "Replies to control frames that a client does not read"),
        count("resets", 100, 1, 1_000_000, "Streams that a client resets or gets reset in 10 s"),
        count(
            "control_frames",
            1000,
            10,
            1_000_000,
            "Frames in 1 s that carry nothing: PING, SETTINGS, PRIORITY, empty DATA",
        ),
        count("continuations", 8, 0, 1000, "CONTINUATION frames of one head"),
        flag("connect_protocol", true, "Take WebSocket over HTTP/2 (RFC 8441)"),
    ],
};

/// `pool.tls`.
pub static POOL_TLS: Shape = Shape {
    title: "[pool.NAME.tls]",
    place: "in [pool.NAME.tls]",
    about: "For `https://` endpoints. Their certificates are checked against the system's roots, or `ca` alone.",
    keys: &[
        text("ca", "path", "\"internal-ca.pem\"", "Issuers that are trusted instead of the system's, PEM"),
        text(
            "server_name",
            "name",
            "\"app.internal\"",
            "The name that is asked for (SNI) and must be in the certificate; the endpoint's host unless given",
        ),
        text("cert", "path", "\"edge.pem\"", "Certificate to show to endpoints, PEM"),
        text("key", "path", "\"edge.key\"", "Its private key, PEM, not encrypted"),
        flag("verify", true, "Check endpoints' certificates; without, anyone between can read and change everything"),
    ],
};

/// `max_streams` of a pool.
pub(super) const MAX_STREAMS: Key = count("max_streams", 100, 1, 10_000, "Requests at a time on one HTTP/2 connection");
