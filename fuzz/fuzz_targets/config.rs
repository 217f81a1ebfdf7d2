//! Any text is a configuration or a report that names a mistake, quickly; what is accepted compiles or is refused with
//! a report too.
#![no_main]
use edge::{config, observe::stats::StatsRegistry, snapshot, upstream::Registry};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    match config::parse(text, Path::new("fuzz.toml")) {
        Ok(config) => {
            let compiled = snapshot::compile(&config, &Registry::new(), &StatsRegistry::new(1), 1);
            let Ok(snapshot) = compiled else { return };
            assert_eq!(snapshot.routes.len(), config.routes.len());
            assert!(snapshot.listeners.iter().all(|listener| !listener.address.is_empty()));
            assert!(snapshot.pools.iter().all(|pool| !pool.endpoints.is_empty()));
        }
        Err(report) => {
            assert!(!report.mistakes().is_empty());
            assert!(report.to_string().starts_with("1. fuzz.toml"));
        }
    }
});
