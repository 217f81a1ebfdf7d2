//! Pools in the text of `edge status`: how many endpoints may be used, and which not, why and since when; and circuits that
//! are not closed.
use super::remote::duration;
use crate::admin::view::{Endpoint, Pool, Status};
use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

/// Pools that a status shows: those with trouble first.
const POOLS_SHOWN_MAX: usize = 20;
/// Circuits that it shows.
const CIRCUITS_SHOWN_MAX: usize = 20;
/// Endpoints of one of them.
const ENDPOINTS_SHOWN_MAX: usize = 20;

pub(super) fn describe(out: &mut String, status: &Status) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    describe_at(out, status, now);
}

// Writing into a `String` cannot fail.
fn describe_at(out: &mut String, status: &Status, now: u64) {
    for pool in status.pools.iter().take(POOLS_SHOWN_MAX) {
        let _ = writeln!(out, "pool {}: {} of {} endpoints usable{}", pool.name, pool.usable, pool.total, note(pool));
        let notable = |e: &&Endpoint| e.state != "usable" || e.share_permille < 1000;
        for endpoint in pool.endpoints.iter().filter(notable).take(ENDPOINTS_SHOWN_MAX) {
            let _ = writeln!(out, "  {}", line(endpoint, now));
        }
        let hidden = pool.endpoints.iter().filter(notable).count().saturating_sub(ENDPOINTS_SHOWN_MAX);
        if hidden > 0 {
            let _ = writeln!(out, "  and {hidden} more");
        }
    }
    let hidden = status.pools_total.saturating_sub(POOLS_SHOWN_MAX.min(status.pools.len()));
    if hidden > 0 {
        let _ = writeln!(out, "and {hidden} more pools");
    }
    for c in status.circuits.iter().take(CIRCUITS_SHOWN_MAX) {
        let state = c.state.replace('_', " ").to_uppercase();
        let _ = writeln!(
            out,
            "route {}: its circuit to pool {} is {state} (opened {} times so far)",
            c.route, c.pool, c.trips
        );
    }
    let hidden = status.circuits.len().saturating_sub(CIRCUITS_SHOWN_MAX);
    if hidden > 0 {
        let _ = writeln!(out, "and {hidden} more circuits that are not closed");
    }
}

fn note(pool: &Pool) -> String {
    match (pool.usable, pool.failed_open) {
        (0, n) if pool.total > 0 => match pool.panic.as_str() {
            "spread" => format!(", ALL ARE USED ALL THE SAME ({n} requests)"),
            _ => format!(", ONE REQUEST A SECOND PASSES ({n} so far)"),
        },
        _ => String::new(),
    }
}

fn line(e: &Endpoint, now: u64) -> String {
    let since = e.since.map(|since| format!(" for {}", duration(now.saturating_sub(since) as f64)));
    let since = since.unwrap_or_default();
    let until = e.until.map(|until| format!(", {} more", duration(until.saturating_sub(now) as f64)));
    let until = until.unwrap_or_default();
    let times = if e.ejections > 1 { format!(" ({} times so far)", e.ejections) } else { String::new() };
    match e.state.as_str() {
        "usable" => format!("{} starts slowly, at {} % of its share{since}", e.name, e.share_permille / 10),
        "ejected" => {
            format!("{} LEFT OUT{since}{until}{times}: {}", e.name, e.reason.as_deref().unwrap_or("no reason known"))
        }
        state => {
            let last = e.last_check.as_ref().filter(|last| Some(*last) != e.reason.as_ref());
            let last = last.map(|last| format!("; now {last}")).unwrap_or_default();
            format!("{} {}{since}: {}{last}", e.name, state.to_uppercase(), e.reason.as_deref().unwrap_or("?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::Circuit;

    #[test]
    fn it_says_which_is_out_why_and_since_when() {
        let endpoint = |name: &str, state: &str| Endpoint {
            name: name.to_owned(),
            state: state.to_owned(),
            share_permille: 1000,
            weight: 1,
            ..Endpoint::default()
        };
        let unhealthy = Endpoint {
            since: Some(880),
            reason: Some("503 in 2 ms".to_owned()),
            last_check: Some("200 in 1 ms".to_owned()),
            ..endpoint("http://a", "unhealthy")
        };
        let ejected = Endpoint {
            since: Some(990),
            until: Some(1050),
            reason: Some("5 failures in a row".to_owned()),
            ejections: 2,
            ..endpoint("http://b", "ejected")
        };
        let slow = Endpoint { since: Some(995), share_permille: 250, ..endpoint("http://c", "usable") };
        let all = vec![unhealthy, ejected, slow, endpoint("http://d", "usable")];
        let pool = Pool { name: "app".to_owned(), usable: 2, total: 4, endpoints: all.clone(), ..Pool::default() };
        let down =
            Pool { name: "down".to_owned(), total: 1, panic: "trickle".to_owned(), failed_open: 7, ..Pool::default() };
        let circuit =
            Circuit { route: "all".to_owned(), pool: "app".to_owned(), state: "half_open".to_owned(), trips: 2 };
        let status = Status { pools: vec![down, pool], pools_total: 5, circuits: vec![circuit], ..Status::default() };
        let mut text = String::new();
        describe_at(&mut text, &status, 1000);
        assert_eq!(
            text,
            "pool down: 0 of 1 endpoints usable, ONE REQUEST A SECOND PASSES (7 so far)\n\
             pool app: 2 of 4 endpoints usable\n  \
             http://a UNHEALTHY for 2 min 0 s: 503 in 2 ms; now 200 in 1 ms\n  \
             http://b LEFT OUT for 10 s, 50 s more (2 times so far): 5 failures in a row\n  \
             http://c starts slowly, at 25 % of its share for 5 s\n\
             and 3 more pools\n\
             route all: its circuit to pool app is HALF OPEN (opened 2 times so far)\n"
        );
    }
}
