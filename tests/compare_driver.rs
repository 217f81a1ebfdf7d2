//! The own tests of the Python drivers in `bench`: what they judge, read, render and draw.
use std::process::{Command, Stdio};

fn tests_of(folder: &str) {
    let mut python = Command::new("python3");
    python.args(["-B", "-m", "unittest", "discover", "-s", &format!("{folder}/tests"), "-t", folder]);
    let out = match python.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output() {
        Ok(out) => out,
        Err(why) => {
            let required = std::env::var("EDGE_TEST_REQUIRE").as_deref() == Ok("all");
            assert!(!required, "EDGE_TEST_REQUIRE=all, and no python3: {why}");
            println!("not run: the tests of {folder}: {why}");
            return;
        }
    };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn what_the_comparison_is_made_of_holds() {
    tests_of("bench/compare");
}

#[test]
fn what_the_chaos_is_made_of_holds() {
    tests_of("bench/chaos");
}
