//! Faults of `edge bench serve`: what it says it did is what the generator says it saw.
use super::{bench, origin::Served};
use crate::harness::Driver;

crate::suite!("bench_faults";
    each_driver:
        shares_of_faults_are_counted_by_kind;
    once:
        statuses_and_bodies_that_are_not_expected,
        websockets_and_events,
);

/// Of the requests so many, each: of 1000 about 80 ± 9.
const SHARE: &str = "8%";

/// How often it did this, by its own words.
fn did(said: &str, what: &str) -> u64 {
    let count = said.split(", ").find_map(|part| part.strip_prefix(&format!("{what}: ")));
    count.map_or(0, |n| n.trim().parse().expect("a number"))
}

fn shares_of_faults_are_counted_by_kind(driver: Driver) {
    for (server, client) in [
        (&["--h1"][..], &["--h1"][..]),
        (&["--h1", "--tls"], &["--h1", "-k"]),
        (&["--h2"], &["--h2"]),
        (&["--h2", "--tls"], &["--h2", "-k"]),
        (&["--h3"], &["--h3", "-k"]),
    ] {
        let faults = ["--close", SHARE, "--reset", SHARE, "--truncate", SHARE, "--garbage", SHARE, "--stall", "2%"];
        let served = Served::start(&[server, &faults].concat());
        let secure = client.contains(&"-k");
        let url = if secure { served.secure_url() } else { served.url() };
        let ran = bench(driver, &[&["-n", "1000", "-c", "16", "--timeout", "500ms"], client, &[&url]].concat());
        let said = served.end();
        assert!([0, 6].contains(&ran.code), "{client:?}: {ran:?}");
        // Every request ended, in one way.
        let all: u64 =
            ran.json["counts"]["faults"].as_object().expect("counts").values().filter_map(|n| n.as_u64()).sum();
        assert_eq!((ran.count("sent"), ran.count("answered") + all), (1000, 1000), "{client:?}: {said}: {ran:?}");
        let h1 = client.contains(&"--h1");
        // A stream that is reset ends as one that is cut off does. Where the origin closes before all was read the
        // system may reset the connection instead.
        let streams = if h1 { 0 } else { did(&said, "reset") + did(&said, "truncate") };
        let (reset, cut) = if h1 { (did(&said, "reset"), did(&said, "truncate")) } else { (0, 0) };
        for (kind, wanted) in [
            ("stream_reset", streams),
            ("reset", reset),
            ("truncated", cut),
            ("closed", did(&said, "close")),
            ("protocol", did(&said, "garbage")),
            ("timeout", did(&said, "stall")),
        ] {
            let got = ran.fault(kind);
            assert!(got.abs_diff(wanted) <= 12, "{client:?} {kind}: {got}, not {wanted}: {said}: {ran:?}");
        }
        let shares: Vec<u64> = ["close", "reset", "truncate", "garbage"].map(|what| did(&said, what)).into();
        assert!(shares.iter().all(|n| (45..=120).contains(n)), "{client:?}: {said}");
    }
}

fn statuses_and_bodies_that_are_not_expected() {
    let served = Served::start(&["--status", "503=20%", "--size", "10"]);
    let url = served.url();
    let ran = bench(Driver::IoUring, &["-n", "500", "-c", "2", &url]);
    let refused = ran.json["counts"]["status"]["503"].as_u64().expect("some");
    assert_eq!((ran.fault("status"), ran.count("answered")), (refused, 500), "{ran:?}");
    assert!((60..=140).contains(&refused), "{ran:?}");
    let ran = bench(Driver::IoUring, &["-n", "100", "-c", "2", "--expect-status", "200-599", &url]);
    assert!(ran.faults().is_empty(), "{ran:?}");
    let status = format!("{url}?status=200");
    let ran = bench(Driver::IoUring, &["-n", "100", "-c", "2", "--expect-body", "^nothing like it$", &status]);
    assert_eq!((ran.faults(), ran.fault("body"), ran.count("answered")), (vec!["body"], 100, 100), "{ran:?}");
}

fn websockets_and_events() {
    let served = Served::start(&["--sse", "10ms"]);
    let url = served.url();
    let times = ["-d", "500ms", "--warmup", "0", "-c", "3"];
    let ran = bench(Driver::IoUring, &[&times[..], &["--ws", "--ws-size", "100", &url]].concat());
    assert!(ran.faults().is_empty() && ran.count("answered") > 10, "{ran:?}");
    assert_eq!((ran.json["asked"]["exchange"].as_str(), ran.count("connections")), (Some("websocket"), 3), "{ran:?}");
    let ran = bench(Driver::IoUring, &[&times[..], &["--sse", &url]].concat());
    assert!(ran.faults().is_empty(), "{ran:?}");
    // Three streams of 100 events a second.
    assert!((30..=180).contains(&ran.count("answered")), "{ran:?}");
    assert_eq!(ran.json["asked"]["exchange"], "events", "{ran:?}");
}
