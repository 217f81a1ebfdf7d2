//! Tells the counter what it was built with: counts hold for that alone.
use std::{env, path::Path, process::Command};

fn main() {
    let var = |name: &str| env::var(name).unwrap_or_default();
    let rustc = Command::new(var("RUSTC")).arg("--version").output();
    let rustc = rustc.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    // …/target/PROFILE/build/edge-bench-HASH/out: cargo has no other word for the profile's name.
    let out = var("OUT_DIR");
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name).unwrap_or_default();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=BUILT_RUSTC={rustc}");
    println!("cargo::rustc-env=BUILT_PROFILE={}", profile.display());
    println!("cargo::rustc-env=BUILT_TARGET={}", var("TARGET"));
    println!("cargo::rustc-env=BUILT_FLAGS={}", var("CARGO_ENCODED_RUSTFLAGS").replace('\x1f', " "));
}
