//! TLS for QUIC, over rustls.
