//! Exit codes, assertions, wrong command lines, and signals.
use super::{bench, command, origin::Served, valid};
use crate::harness::{
    Driver,
    edge::{Process, run},
};
use rustix::process::Signal;
use std::time::{Duration, Instant};

crate::suite!("bench_exits";
    each_driver:
        an_interrupt_prints_what_there_is,
        a_second_interrupt_ends_it_at_once;
    once:
        assertions_are_met_or_not,
        a_frozen_generator_is_not_valid,
        every_mistake_of_a_command_line_is_told,
        a_result_that_cannot_be_written_is_told_before_the_run,
        a_comparison_of_the_same_finds_no_difference_and_one_of_slower_does,
);

/// A load that any generator keeps up with.
const EASY: [&str; 10] = ["-r", "200", "-c", "2", "-d", "300ms", "--warmup", "100ms", "--timeout", "5s"];

fn assertions_are_met_or_not() {
    let served = Served::start(&["--size", "10"]);
    let url = served.url();
    for (more, code, told) in [
        (&["--assert", "p50<5s", "errors==0"][..], 0, &["met     p50<5s", "met     errors==0"][..]),
        (&["--assert", "p50<5s", "rps>1000000"], 1, &["met     p50<5s", "NOT MET rps>1000000"]),
        (&["--expect-status", "500", "--assert", "err<1%"], 1, &["NOT MET err<1%"]),
    ] {
        let Some(ran) = valid(Driver::IoUring, &[&EASY[..], &[&url], more].concat()) else { continue };
        assert_eq!((ran.code, ran.stderr.lines().count()), (code, told.len()), "{more:?}: {ran:?}");
        assert!(told.iter().all(|line| ran.stderr.contains(line)), "{more:?}: {ran:?}");
        assert!(ran.count("answered") > 0, "{more:?}: {ran:?}");
    }
}

fn an_interrupt_prints_what_there_is(driver: Driver) {
    let served = Served::start(&["--size", "10"]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("result.json");
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = command(&["-d", "60s", "--warmup", "0", "-c", "2", "-r", "300", &served.url()]);
        command.arg("--json").arg(&file);
        let process = Process::start(command, driver);
        std::thread::sleep(Duration::from_millis(400)); // some of the run
        process.signal(signal);
        let begun = Instant::now();
        let code = process.wait_exit();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let (stdout, stderr) = process.outputs();
        let json = std::fs::read(&file).expect("it is written");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["interrupted"], true, "{stdout} {stderr}");
        assert_eq!(code, if json["verdict"]["valid"] == true { 0 } else { 6 }, "{stdout} {stderr}");
        assert!(json["counts"]["answered"].as_u64().is_some_and(|n| (20..500).contains(&n)), "{json}");
        // What was on its way is no fault of the server.
        assert_eq!(json["counts"]["faults"], serde_json::json!({}), "{json}");
        assert!(json["seconds"].as_f64().is_some_and(|s| (0.1..5.0).contains(&s)), "{json}");
        assert!(stdout.to_lowercase().contains("interrupted"), "{stdout}");
    }
}

fn a_second_interrupt_ends_it_at_once(driver: Driver) {
    // Nobody answers, and the answer is waited for: the first interrupt alone ends it soon, two end it now.
    let served = Served::start(&["--stall", "100%"]);
    let process = Process::start(command(&["-d", "60s", "--timeout", "60s", "-c", "2", &served.url()]), driver);
    std::thread::sleep(Duration::from_millis(300)); // some of the run
    // Held still, so that both are there before it can end by the first.
    process.signal(Signal::STOP);
    process.signal(Signal::INT);
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    let begun = Instant::now();
    let code = process.wait_exit();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!([130, 143].contains(&code), "{code}");
}

fn a_frozen_generator_is_not_valid() {
    let served = Served::start(&["--size", "10"]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("result.json");
    let mut command = command(&["-d", "1500ms", "--warmup", "0", "-c", "2", &served.url(), "--assert", "errors==0"]);
    command.arg("--json").arg(&file);
    let process = Process::start(command, Driver::IoUring);
    // A fifth of a core.
    while process.ended().is_none() {
        process.signal(Signal::STOP);
        std::thread::sleep(Duration::from_millis(80));
        process.signal(Signal::CONT);
        std::thread::sleep(Duration::from_millis(20));
    }
    let (said, _) = process.outputs();
    assert_eq!(process.wait_exit(), 6, "{said}");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("JSON");
    assert_eq!(json["verdict"]["valid"], false, "{said}");
    let reasons = json["verdict"]["reasons"].to_string();
    assert!(reasons.contains("clock") && reasons.contains("ran late"), "{reasons}");
    assert!(said.contains("INVALID") && said.contains("ran late"), "{said}");
}

fn every_mistake_of_a_command_line_is_told() {
    for (words, parts) in [
        (&["ftp://x/", "-H", "no colon", "--cores", "x"][..], &["ftp://x/", "no colon", "--cores"][..]),
        (
            &["http://127.0.0.1:1/", "--expect-body", "(", "--body", "/no/such/file"],
            &["--expect-body", "/no/such/file"],
        ),
        (&["http://127.0.0.1:1/", "--assert", "errors==0", "p99<fast"], &["p99<fast"]),
        (&["http://127.0.0.1:1/", "--h1", "--h2"], &["cannot be used with"]),
        (&["http://127.0.0.1:1/", "-d", "soon"], &["soon"]),
        (&[], &["URL"]),
        (&["search", "http://127.0.0.1:1/"], &["--slo"]),
        (&["search", "http://127.0.0.1:1/", "--slo", "p99"], &["p99"]),
        (&["compare", "/no/such/a.json", "/no/such/b.json"], &["/no/such/a.json"]),
    ] {
        let out = run(command(words));
        assert_eq!((out.code, out.stdout.as_str()), (2, ""), "{words:?}: {out:?}");
        for part in parts {
            assert!(out.stderr.contains(part), "{part} is not in: {words:?}: {out:?}");
        }
    }
}

fn a_result_that_cannot_be_written_is_told_before_the_run() {
    for form in ["--json", "--csv", "--html"] {
        let begun = Instant::now();
        let out = run(command(&["http://127.0.0.1:1/", "-d", "60s", form, "/no/such/folder/file"]));
        assert_eq!(out.code, 2, "{form}: {out:?}");
        assert!(out.stderr.contains("/no/such/folder/file"), "{form}: {out:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{form}");
    }
    let out = run(command(&["http://127.0.0.1:1/", "--json", "-", "--csv", "-"]));
    assert_eq!(out.code, 2, "{out:?}");
    assert!(out.stderr.contains("standard output"), "{out:?}");
}

/// A result with so many seconds like its first one, each a little different, and all times so much longer.
fn stretched(of: &serde_json::Value, slower: f64) -> serde_json::Value {
    const SECONDS: usize = 30;
    let mut result = of.clone();
    let first = of["series"][0].clone();
    let second = |i: usize| {
        let mut second = first.clone();
        // ±2 %, the same on both sides but for the order.
        let noise = 1.0 + 0.02 * (((i * 7 + 3) % 11) as f64 / 5.0 - 1.0);
        (second["at"], second["length"]) = (serde_json::json!(i + 1), serde_json::json!(1.0));
        for (name, us) in [("min", 300.0), ("p50", 1000.0), ("p75", 1500.0), ("p90", 2000.0), ("p95", 2500.0)] {
            second["response"][name] = serde_json::json!((us * noise * slower).round() as u64);
        }
        for (name, us) in [("p99", 4000.0), ("p999", 8000.0), ("p9999", 9000.0), ("max", 9500.0)] {
            second["response"][name] = serde_json::json!((us * noise * slower).round() as u64);
        }
        second["response"]["mean"] = serde_json::json!(1200.0 * noise * slower);
        second["response"]["count"] = serde_json::json!(1000);
        second["counts"]["answered"] = serde_json::json!(1000);
        second["counts"]["sent"] = serde_json::json!(1000);
        second
    };
    result["series"] = (0..SECONDS).map(second).collect();
    result["seconds"] = serde_json::json!(SECONDS as f64);
    result["verdict"] = serde_json::json!({ "valid": true, "reasons": [] });
    result
}

fn a_comparison_of_the_same_finds_no_difference_and_one_of_slower_does() {
    let served = Served::start(&["--size", "10"]);
    let url = served.url();
    let ran = bench(Driver::IoUring, &[&EASY[..], &[&url]].concat());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, slower: f64| {
        let path = dir.path().join(name);
        std::fs::write(&path, stretched(&ran.json, slower).to_string()).expect("the temporary directory takes files");
        path.to_str().expect("a plain path").to_owned()
    };
    let (a, b) = (write("a.json", 1.0), write("b.json", 1.2));
    let same = run(command(&["compare", &a, &a]));
    assert_eq!(same.code, 0, "{same:?}");
    assert!(same.stdout.to_lowercase().contains("no difference"), "{same:?}");
    let slower = run(command(&["compare", &a, &b]));
    assert_eq!(slower.code, 1, "{slower:?}");
    assert!(slower.stdout.contains("20"), "{slower:?}");
    let allowed = run(command(&["compare", &a, &b, "--threshold", "30%"]));
    assert_eq!(allowed.code, 0, "{allowed:?}");
    let faster = run(command(&["compare", "--json", &b, &a]));
    let json: serde_json::Value = serde_json::from_str(&faster.stdout).expect("JSON");
    assert_eq!(faster.code, 0, "{faster:?}");
    assert!(json["rows"].as_array().is_some_and(|rows| rows.iter().any(|r| r["decision"] == "better")), "{json}");
    std::fs::write(&b, "{}").expect("the temporary directory takes files");
    let out = run(command(&["compare", &a, &b]));
    assert_eq!(out.code, 2, "{out:?}");
    assert!(out.stderr.contains(&b), "{out:?}");
}
