//! Certificates from files to handshakes.
mod checks;
mod clients;
mod listeners;
mod many;
mod quic;
mod upstreams;
