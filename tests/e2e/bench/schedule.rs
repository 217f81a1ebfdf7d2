//! The schedule: what an open loop shows of a server that stands still, and the limit that a search finds.
use super::{Ran, bench, command, origin::Served};
use crate::harness::{Driver, edge::run, eventually, not_run};

crate::suite!("bench_schedule";
    once:
        an_open_loop_shows_a_stall_as_it_is,
        a_rate_is_kept_and_what_is_not_sent_is_told,
        a_search_finds_the_limit,
);

/// Of a run of so many seconds at an even rate, in which nothing is answered for `stall` seconds and everything at once
/// else: the response time, µs, that a share of the requests does not exceed. The requests meant for the stall wait for its
/// end, the first of them all of it.
fn theory(rate: f64, seconds: f64, stall: f64, share: f64) -> f64 {
    let (all, above) = (rate * seconds, rate * seconds * (1.0 - share));
    let waiting = rate * stall;
    assert!(above < waiting && waiting < all, "the percentile is one of requests that waited");
    (stall - above / rate) * 1e6
}

/// Each of these times is within 5 % of what theory has.
fn is_near(ran: &Ran, points: &[(&str, f64)], theory: impl Fn(f64) -> f64) -> bool {
    let response = &ran.json["times"]["response"];
    let got = |point: &str| response[point].as_f64().expect("a figure");
    points.iter().all(|(point, share)| (got(point) / theory(*share) - 1.0).abs() < 0.05)
}

fn an_open_loop_shows_a_stall_as_it_is() {
    const SECONDS: f64 = 5.0;
    /// A busy machine adds stalls of its own, and the run then says that it is not valid.
    const TRIES: usize = 4;
    let words = ["-d", "5s", "--warmup", "0", "-c", "8"];
    let open = || {
        for tries in 1..=TRIES {
            let served = Served::start(&["--size", "10", "--stall-at", "2s,1s"]);
            let ran = bench(Driver::IoUring, &[&words[..], &["-r", "400", &served.url()]].concat());
            assert!(ran.faults().is_empty(), "{ran:?}");
            assert_eq!(ran.count("sent") + ran.count("unsent"), (400.0 * SECONDS) as u64, "{ran:?}");
            let near = is_near(&ran, &[("p95", 0.95), ("p99", 0.99), ("p999", 0.999)], |share| {
                theory(400.0, SECONDS, 1.0, share)
            });
            if !near && ran.json["verdict"]["valid"] == false && tries < TRIES {
                continue;
            }
            assert!(near, "{}: {ran:?}", ran.json["times"]);
            // From sending only those that were sent already waited: as many as there are connections.
            let service = &ran.json["times"]["service"];
            assert!(service["p99"].as_u64().is_some_and(|us| us < 500_000), "{service}");
            assert!(service["max"].as_u64().is_some_and(|us| us > 900_000), "{service}");
            return;
        }
    };
    let closed = || {
        let served = Served::start(&["--size", "10", "--delay", "2ms", "--stall-at", "2s,1s"]);
        let ran = bench(Driver::IoUring, &[&words[..], &[&served.url()]].concat());
        let response = &ran.json["times"]["response"];
        assert!(response["p99"].as_u64().is_some_and(|us| us < 500_000), "it does not ask meanwhile: {response}");
        assert!(response["max"].as_u64().is_some_and(|us| us > 900_000), "{response}");
    };
    closed();
    open();
}

fn a_rate_is_kept_and_what_is_not_sent_is_told() {
    let served = Served::start(&["--size", "10"]);
    let url = served.url();
    for arrivals in ["constant", "poisson"] {
        let words = ["-r", "500", "-d", "1s", "--warmup", "0", "-c", "16", "--arrivals", arrivals, &url];
        let ran = bench(Driver::IoUring, &words);
        assert!(ran.faults().is_empty(), "{arrivals}: {ran:?}");
        let planned = ran.count("sent") + ran.count("unsent");
        match arrivals {
            "constant" => assert_eq!(planned, 500, "{ran:?}"),
            // Five deviations.
            _ => assert!(planned.abs_diff(500) < 112, "{ran:?}"),
        }
    }
    // One connection, 20 ms for each answer: a tenth of the rate.
    let slow = Served::start(&["--size", "10", "--delay", "20ms"]);
    let url = slow.url();
    let ran = bench(Driver::IoUring, &["-r", "500", "-d", "1s", "--warmup", "0", "-c", "1", &url]);
    assert_eq!(ran.count("sent") + ran.count("unsent"), 500, "{ran:?}");
    assert!((380..=490).contains(&ran.count("unsent")), "{ran:?}");
    // Each counts with the time that it waited.
    assert_eq!(ran.json["times"]["response"]["count"], 500, "{ran:?}");
    assert!(ran.json["times"]["response"]["p50"].as_u64().is_some_and(|us| us > 300_000), "{ran:?}");
}

fn a_search_finds_the_limit() {
    let served = Served::start(&["--size", "10", "--capacity", "800/s"]);
    let url = served.url();
    let words = ["search", "--slo", "p99<50ms,err<0.1%", "--from", "500", "--step", "1s", "--confirm", "2s"];
    let mut tries = 0;
    let found = eventually("a search in which the generator keeps up", || {
        tries += 1;
        let more = ["--warmup", "100ms", "-c", "16", "--json", "-", "-q", &url];
        let out = run(command(&[&words[..], &more].concat()));
        assert!(!out.stderr.contains("panicked"), "{out:?}");
        let found: serde_json::Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
        match out.code {
            0 => Some(Some(found)),
            6 if tries < 2 => None,
            6 => Some(None),
            _ => panic!("{out:?}"),
        }
    });
    let Some(found) = found else {
        return not_run("the search of a limit: this machine was too busy for the generator to keep up");
    };
    let limit = found["limit"].as_f64().expect("a limit");
    assert!((limit / 800.0 - 1.0).abs() < 0.03, "{limit}: {found}");
    assert_eq!(found["ended"], "found", "{found}");
    assert!(found["steps"].as_array().is_some_and(|s| s.len() <= 16 && s.last().is_some_and(|l| l["met"] == true)));
}
