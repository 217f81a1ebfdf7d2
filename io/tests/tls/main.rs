//! TLS streams against each other, against rustls' buffered interface, and against OpenSSL's programs.
mod close;
mod errors;
mod handshakes;
mod openssl;
mod peer;
mod pki;
mod shard;
mod transfer;
