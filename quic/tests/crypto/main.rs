//! TLS for QUIC: whole connections between two of quinn-proto's endpoints in memory.
mod certificates;
mod early;
mod hostile;
mod info;
mod keys;
mod net;
mod pki;
mod tokens;
mod updates;
