//! Cipher suites and key exchange groups: what is offered, by the names that people write.
use super::config::MinVersion;
use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{self, cipher_suite, kx_group},
    },
    version::{TLS12, TLS13},
};
use std::sync::Arc;

/// Cipher suites by their IANA names, best first. Each is authenticated encryption with forward secrecy.
pub static CIPHERS: [(&str, SupportedCipherSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Key exchange groups by the names in use, best first: the hybrid one also withstands a quantum computer.
pub static CURVES: [(&str, &dyn SupportedKxGroup); 4] = [
    ("X25519MLKEM768", kx_group::X25519MLKEM768),
    ("X25519", kx_group::X25519),
    ("P-256", kx_group::SECP256R1),
    ("P-384", kx_group::SECP384R1),
];

/// The provider with `ciphers` and `curves` only, in this order; empty = all.
pub(super) fn provider(ciphers: &[&str], curves: &[&str]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let wanted = |name: &&str| CIPHERS.iter().find(|(known, _)| known == name).map(|(_, suite)| *suite);
    provider.cipher_suites = match ciphers {
        [] => CIPHERS.iter().map(|(_, suite)| *suite).collect(),
        some => some.iter().filter_map(wanted).collect(),
    };
    let wanted = |name: &&str| CURVES.iter().find(|(known, _)| known == name).map(|(_, group)| *group);
    provider.kx_groups = match curves {
        [] => CURVES.iter().map(|(_, group)| *group).collect(),
        some => some.iter().filter_map(wanted).collect(),
    };
    provider
}

/// Everything that is safe.
pub(super) fn default_provider() -> Arc<CryptoProvider> {
    Arc::new(provider(&[], &[]))
}

/// The versions from `min` on for which `ciphers` (empty = all) has a suite; empty when there are none.
pub fn versions(min: MinVersion, ciphers: &[&str]) -> Vec<&'static SupportedProtocolVersion> {
    let has = |tls13: bool| {
        let suite = |name: &&str| CIPHERS.iter().any(|(n, suite)| n == name && suite.tls13().is_some() == tls13);
        ciphers.is_empty() || ciphers.iter().any(suite)
    };
    let tls13 = has(true).then_some(&TLS13);
    let tls12 = (min == MinVersion::Tls12 && has(false)).then_some(&TLS12);
    tls13.into_iter().chain(tls12).collect()
}
