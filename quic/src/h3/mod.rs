//! HTTP/3 without I/O, both roles (RFC 9114; extended CONNECT, RFC 9220; priorities, RFC 9218).
pub mod qpack;
