//! Ten thousand certificates.
use crate::tls::{
    ListenerConfig, Store,
    testing::{Files, params},
};
use rcgen::KeyPair;

const CERTIFICATES: usize = 10_000;

/// Seconds that this thread ran on a core: unlike the time of day, the same on a busy machine.
fn ran() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// All of them are read and checked in less than 3 s, and again in much less when nothing has changed.
#[test]
fn ten_thousand_load_in_time() {
    let files = Files::new();
    // The key is the same: what is measured is not how fast keys are made.
    let key = KeyPair::generate().unwrap();
    let certificates = (0..CERTIFICATES)
        .map(|n| {
            let cert = params(&[&format!("h{n}.example"), &format!("*.h{n}.example")]).self_signed(&key).unwrap();
            files.pair(&n.to_string(), &cert.pem(), &key)
        })
        .collect();
    let config = ListenerConfig { certificates, h1: true, max_handshakes: 1, ..ListenerConfig::default() };
    let store = Store::default();
    let start = ran();
    let (tls, warnings) = store.listener(&config).unwrap();
    let loaded = ran() - start;
    assert_eq!((tls.certificates().len(), warnings.len()), (CERTIFICATES, 0));
    for host in ["h0.example", "h9999.example", "www.h5000.example"] {
        assert!(tls.has(host), "{host}");
    }
    let start = ran();
    assert_eq!(store.refresh(&tls), Default::default());
    let again = ran() - start;
    println!("{CERTIFICATES} certificates: loaded in {loaded:.2} s, looked at again in {again:.2} s");
    assert!(loaded < 3.0, "{loaded:.2} s");
    assert!(again < loaded, "{again:.2} s after {loaded:.2} s");
}
