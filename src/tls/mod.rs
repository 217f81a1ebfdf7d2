//! TLS: certificates and keys from files, which one a client gets, session tickets, and both roles' settings for rustls.
//!
//! Nothing here touches a socket: the handshake is `edge_io`'s. Nothing here is on the way of a request either, but
//! [`ListenerTls::covers`].
mod certificate;
mod client_auth;
mod config;
mod files;
mod listener;
mod names;
mod provider;
mod quic;
mod resolver;
mod secret;
mod self_signed;
mod store;
mod tickets;
mod upstream;

pub use certificate::{Certificate, KeyKind, subject};
pub use config::{ClientAuth, ListenerConfig, MinVersion, Pair, Place, Problem, Secret, UpstreamConfig};
pub use listener::ListenerTls;
pub use names::NameTable;
pub use provider::{CIPHERS, CURVES, versions};
pub use store::{Made, Refreshed, Store, Unusable};
pub use upstream::UpstreamTls;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
