//! Whole runs: the ends of the measured time, both loops, stopping.
use super::run;
use crate::{
    client::testing::{Server, head, plan},
    plan::{Arrivals, Load},
    record::Fault,
};
use std::{
    io::Write,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[test]
fn a_closed_loop_measures_for_its_time_and_seconds_add_up() {
    let server = Server::answering(OK);
    let mut plan = plan(server.address);
    (plan.connections, plan.duration, plan.warmup) = (4, Duration::from_millis(1_300), Duration::from_millis(100));
    let mut told = 0;
    let outcome = run(plan, &mut |progress| told += usize::from(progress.total > 0.0), &Arc::default()).unwrap();
    assert!(told >= 3);
    assert!((outcome.seconds - 1.3).abs() < 1e-6, "{}", outcome.seconds);
    assert!(outcome.counts.answered > 0 && outcome.counts.sent == outcome.counts.answered, "{:?}", outcome.counts);
    assert_eq!(outcome.series.iter().map(|s| s.counts.answered).sum::<u64>(), outcome.counts.answered);
    assert_eq!(outcome.series.len(), 2);
    assert_eq!(outcome.times.response.count, outcome.counts.answered);
    assert!(outcome.times.service.is_none() && outcome.times.connect.is_some());
    assert_eq!((outcome.asked.protocol.join(","), outcome.asked.rate), ("h1".to_owned(), None));
    assert!(outcome.generator[0].cpu_us > 0);
}

#[test]
fn an_open_loop_sends_by_its_schedule_and_loses_nothing() {
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let server = Server::answering(OK);
        let mut plan = plan(server.address);
        (plan.connections, plan.duration) = (4, Duration::from_secs(1));
        plan.load = Load::Open { rate: 500.0, arrivals };
        let outcome = run(plan, &mut |_| (), &Arc::default()).unwrap();
        let all = outcome.counts.answered + outcome.counts.unsent;
        match arrivals {
            Arrivals::Constant => assert_eq!(all, 500, "{:?}", outcome.counts),
            Arrivals::Poisson => assert!((400..600).contains(&all), "{all}"),
        }
        assert_eq!(outcome.times.response.count, all);
        assert!(outcome.times.service.is_some());
    }
}

/// The server stops for 500 ms in the middle of a second: whoever should have been served then has waited, as if there
/// had been a user for each.
#[test]
fn a_stall_shows_in_the_response_times_of_all_who_came_in_it() {
    let stalls = Arc::new(AtomicBool::new(false));
    let until = stalls.clone();
    let begun = Instant::now();
    let server = Server::new(move |mut socket, _| {
        while head(&mut socket).is_some() {
            let at = begun.elapsed().as_millis() as u64;
            if (500..1_000).contains(&at) {
                until.store(true, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1_000 - at)); // what is tested, not a wait for something
            }
            if socket.write_all(OK.as_bytes()).is_err() {
                return;
            }
        }
    });
    let mut plan = plan(server.address);
    (plan.connections, plan.duration) = (2, Duration::from_secs(2));
    plan.load = Load::Open { rate: 400.0, arrivals: Arrivals::Constant };
    let outcome = run(plan, &mut |_| (), &Arc::default()).unwrap();
    assert!(stalls.load(Ordering::Relaxed));
    assert_eq!(outcome.counts.answered + outcome.counts.unsent, 800);
    let response = outcome.times.response;
    // A quarter of the requests came in the stall, evenly: 25 % waited, one in eight above 250 ms.
    assert!((200_000..=400_000).contains(&response.p90), "{response:?}");
    assert!((440_000..=700_000).contains(&response.p99), "{response:?}");
    assert!(outcome.times.service.unwrap().p90 < 200_000);
}

#[test]
fn what_was_due_and_never_sent_is_counted_with_its_time() {
    let server = Server::new(|mut socket, number| {
        // Answers the first request and no other.
        if number == 0 && head(&mut socket).is_some() {
            let _ = socket.write_all(OK.as_bytes());
        }
        while head(&mut socket).is_some() {}
    });
    let mut plan = plan(server.address);
    plan.duration = Duration::from_millis(500);
    plan.load = Load::Open { rate: 100.0, arrivals: Arrivals::Constant };
    let outcome = run(plan, &mut |_| (), &Arc::default()).unwrap();
    let counts = &outcome.counts;
    // One is in flight at the end; the others were due, and there was no place.
    assert_eq!((counts.answered, counts.sent, counts.unsent), (1, 2, 48), "{counts:?}");
    assert_eq!(outcome.times.response.count, 50);
    assert!(outcome.times.response.max >= 2_000_000, "the one in flight was waited for: {:?}", outcome.times.response);
    assert!((200_000..300_000).contains(&outcome.times.response.p50), "{:?}", outcome.times.response);
}

#[test]
fn arrivals_that_waited_too_long_are_timeouts() {
    let server = Server::new(|mut socket, _| while head(&mut socket).is_some() {});
    let mut plan = plan(server.address);
    (plan.duration, plan.timeout) = (Duration::from_millis(600), Duration::from_millis(100));
    plan.load = Load::Open { rate: 100.0, arrivals: Arrivals::Constant };
    let outcome = run(plan, &mut |_| (), &Arc::default()).unwrap();
    let timeouts = outcome.counts.faults.get(&Fault::Timeout).copied().unwrap_or(0);
    assert_eq!(outcome.times.response.count, 60);
    // The last one may be in flight at the end.
    assert!(timeouts + outcome.counts.unsent >= 59 && timeouts >= 30, "{:?}", outcome.counts);
}

#[test]
fn a_refusing_server_leaves_the_schedule_unsent() {
    let address = Server::answering(OK).address;
    let mut plan = plan(address);
    plan.duration = Duration::from_millis(300);
    plan.load = Load::Open { rate: 100.0, arrivals: Arrivals::Constant };
    let outcome = run(plan, &mut |_| (), &Arc::default()).unwrap();
    assert_eq!((outcome.counts.unsent, outcome.times.response.count), (30, 30));
    assert!(outcome.counts.faults.contains_key(&Fault::ConnectRefused));
}

#[test]
fn runs_leave_the_users_flag_alone() {
    let server = Server::answering(OK);
    let stop = Arc::default();
    for _ in 0..20 {
        let mut plan = plan(server.address);
        (plan.connections, plan.duration) = (1, Duration::from_millis(10));
        let outcome = run(plan, &mut |_| (), &stop).unwrap();
        assert!(!outcome.interrupted && !stop.load(Ordering::Relaxed));
    }
}

#[test]
fn stopping_ends_it_with_what_it_has() {
    let server = Server::answering(OK);
    let stop = Arc::new(AtomicBool::new(false));
    let mut plan = plan(server.address);
    plan.duration = Duration::from_secs(600);
    let begun = Instant::now();
    let told = stop.clone();
    let outcome = run(
        plan,
        &mut |progress| {
            if progress.elapsed > 0.3 {
                told.store(true, Ordering::Relaxed);
            }
        },
        &stop,
    )
    .unwrap();
    assert!(outcome.interrupted && outcome.counts.answered > 0);
    assert!(outcome.seconds > 0.2 && begun.elapsed() < Duration::from_secs(60), "{}", outcome.seconds);
}

#[test]
fn a_number_of_requests_is_shared_among_shards_and_ends_the_run() {
    let server = Server::answering(OK);
    let mut plan = plan(server.address);
    (plan.connections, plan.cores, plan.requests) = (3, vec![0, 0], NonZeroU64::new(101));
    let outcome = run(plan, &mut |_| (), &Arc::default()).unwrap();
    assert_eq!((outcome.counts.sent, outcome.counts.answered), (101, 101));
    assert!(outcome.seconds < 15.0 && !outcome.interrupted);
    assert_eq!(outcome.generator.len(), 2);
}

#[test]
fn too_few_connections_for_the_servers_are_refused_with_a_word() {
    let mut plan = plan("127.0.0.1:1".parse().unwrap());
    plan.origins.push(plan.origins[0].clone());
    let error = run(plan, &mut |_| (), &Arc::default()).unwrap_err();
    assert!(error.to_string().contains("raise -c"), "{error}");
}

/// The schedule goes on while the last answers are awaited: what it holds after them was never asked for.
#[test]
fn a_counted_open_loop_asks_for_no_more_than_its_number() {
    let server = Server::new(|mut socket, _| {
        while head(&mut socket).is_some() {
            std::thread::sleep(Duration::from_millis(30)); // what is tested: answers that take a while
            if socket.write_all(OK.as_bytes()).is_err() {
                return;
            }
        }
    });
    let mut plan = plan(server.address);
    (plan.connections, plan.requests) = (20, NonZeroU64::new(10));
    plan.load = Load::Open { rate: 1_000.0, arrivals: Arrivals::Constant };
    let outcome = run(plan, &mut |_| (), &Arc::default()).unwrap();
    assert_eq!((outcome.counts.answered, outcome.counts.unsent), (10, 0), "{:?}", outcome.counts);
    assert_eq!(outcome.times.response.count, 10);
}

#[test]
fn the_log_has_every_response_time_in_its_second() {
    let server = Server::answering(OK);
    let mut plan = plan(server.address);
    plan.duration = Duration::from_millis(2_050);
    plan.load = Load::Open { rate: 200.0, arrivals: Arrivals::Constant };
    let mut seconds = Vec::new();
    let mut log = |second: &super::LoggedSecond<'_>| {
        seconds.push((second.from, second.from + second.length, second.response.len(), second.started));
    };
    let outcome = super::run_logged(plan, &mut |_| (), &Arc::default(), Some(&mut log)).unwrap();
    assert_eq!(seconds.len(), outcome.series.len(), "{seconds:?}");
    assert_eq!(seconds.iter().map(|(.., n, _)| n).sum::<u64>(), outcome.times.response.count);
    for (second, (_, until, n, _)) in outcome.series.iter().zip(&seconds) {
        assert_eq!((second.at, second.response.count), (until.as_secs_f64(), *n));
    }
    assert!(seconds.windows(2).all(|two| two[0].1 == two[1].0) && seconds[0].0.is_zero(), "{seconds:?}");
    assert!(seconds.iter().all(|(.., started)| *started == seconds[0].3));
}

#[test]
fn a_counted_run_does_not_wait_for_a_server_that_is_not_there() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut plan = plan(address);
    (plan.requests, plan.connect_timeout) = (NonZeroU64::new(5), Duration::from_millis(100));
    let begun = Instant::now();
    let outcome = run(plan, &mut |_| (), &Arc::default()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "the plan's 20 s are not waited for");
    assert_eq!((outcome.counts.answered, outcome.interrupted), (0, false));
    assert!(outcome.counts.faults.contains_key(&Fault::ConnectRefused), "{:?}", outcome.counts);
}
