//! The comparison driver's own tests, which are Python: what it judges, reads, renders and draws.
use std::process::{Command, Stdio};

#[test]
fn what_the_driver_is_made_of_holds() {
    let mut python = Command::new("python3");
    python.args(["-B", "-m", "unittest", "discover", "-s", "bench/compare/tests", "-t", "bench/compare"]);
    let out = match python.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output() {
        Ok(out) => out,
        Err(why) => {
            let required = std::env::var("EDGE_TEST_REQUIRE").as_deref() == Ok("all");
            assert!(!required, "EDGE_TEST_REQUIRE=all, and no python3: {why}");
            println!("not run: the comparison driver's tests: {why}");
            return;
        }
    };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
