//! `edge reload` and `edge status`: what is asked of a running edge.
use super::{Remote, complain, exit, fail, show};
use crate::{
    admin::{
        client::{self, Addr},
        view::{Outcome, Reload, Status},
    },
    config, serve,
};
use std::{fmt::Write as _, process::ExitCode, time::Duration};

/// Longer than the edge waits for its shards.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn reload(args: &Remote) -> ExitCode {
    let (_, body) = match ask(args, "POST", "/api/v2/config/reload") {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let Ok(reload) = serde_json::from_str::<Reload>(&body) else { return not_an_edge(&body) };
    if args.json {
        show(&body);
    }
    reload.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}\n")));
    match reload.outcome {
        Outcome::Applied => {
            if !args.json {
                show(&format!("configuration {} applied: {}\n", reload.version, reload.detail));
            }
            ExitCode::SUCCESS
        }
        Outcome::Invalid => {
            complain(&reload.detail);
            ExitCode::from(exit::INVALID)
        }
        Outcome::Timeout => fail(exit::RUNTIME, &format!("{}: {}", reload.title, reload.detail)),
        Outcome::BindFailed | Outcome::ConfigPressure | Outcome::Busy | Outcome::Draining => {
            fail(exit::REFUSED, &format!("{}: {}", reload.title, reload.detail))
        }
    }
}

pub(super) fn status(args: &Remote) -> ExitCode {
    let (_, body) = match ask(args, "GET", "/api/v2/status") {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let Ok(status) = serde_json::from_str::<Status>(&body) else { return not_an_edge(&body) };
    if args.json {
        show(&body)
    } else {
        show(&describe(&status))
    }
    ExitCode::SUCCESS
}

/// Asks the first address that answers.
fn ask(args: &Remote, method: &str, path: &str) -> Result<(u16, String), ExitCode> {
    let addresses = addresses(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| fail(exit::RUNTIME, &e.to_string()))?;
    let mut failures = String::new();
    for addr in &addresses {
        let answer = async { tokio::time::timeout(TIMEOUT, client::request(addr, method, path)).await };
        let why = match runtime.block_on(answer) {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("no answer in {} s", TIMEOUT.as_secs()),
        };
        let _ = write!(failures, "\n  {addr}: {why}");
    }
    Err(fail(exit::UNREACHABLE, &format!("no edge answers; is it running?{failures}")))
}

fn addresses(args: &Remote) -> Result<Vec<Addr>, ExitCode> {
    if let Some(addr) = &args.admin {
        return Ok(vec![addr.clone()]);
    }
    if !args.config.exists() {
        let why =
            format!("{} is not there; --admin ADDRESS or --config FILE says where the edge is", args.config.display());
        return Err(fail(exit::UNREACHABLE, &why));
    }
    let config = config::load(&args.config).map_err(|report| {
        complain(&report.to_string());
        ExitCode::from(exit::INVALID)
    })?;
    Ok(config.server.admin.iter().filter_map(serve::admin_addr).collect())
}

fn not_an_edge(body: &str) -> ExitCode {
    let start: String = body.chars().take(200).collect();
    fail(exit::UNREACHABLE, &format!("what answers there is no edge of this version: {start:?}"))
}

fn describe(s: &Status) -> String {
    let mut out = String::new();
    let state = match (s.ready, s.draining) {
        (_, true) => "draining",
        (true, false) => "ready",
        (false, false) => "not ready",
    };
    let sha = s.config.sha256.get(..12).unwrap_or(&s.config.sha256);
    // Writing into a `String` cannot fail.
    let _ = writeln!(out, "edge {} (pid {}), {state}, up {}", s.edge_version, s.pid, duration(s.uptime_seconds));
    let _ = writeln!(
        out,
        "configuration {} from {} (sha256 {sha}…), routes: {}, pools: {}",
        s.config.version, s.config.source, s.config.routes, s.config.pools
    );
    for l in &s.listeners {
        let _ = writeln!(out, "listening on {} ({})", l.address.join(", "), l.name);
    }
    certificates(&mut out, s);
    names(&mut out, s);
    super::pools::describe(&mut out, s);
    let _ = writeln!(out, "admin on {}", s.admin.join(", "));
    let _ = writeln!(out, "shard  core  driver    config  connections     idle  in flight     accepts  silent");
    for shard in &s.shards {
        let _ = writeln!(
            out,
            "{:>5} {:>5}  {:<8} {:>7} {:>12} {:>8} {:>10} {:>11} {:>4} ms",
            shard.shard,
            shard.core.map_or("-".to_owned(), |c| c.to_string()),
            shard.driver.as_deref().unwrap_or("-"),
            shard.config_version,
            shard.connections,
            shard.connections_idle,
            shard.requests_in_flight,
            shard.accepts,
            shard.silence_ms
        );
    }
    for warning in &s.config.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    out
}

/// Certificates that a status shows: those that expire first.
const CERTIFICATES_SHOWN_MAX: usize = 20;

fn certificates(out: &mut String, s: &Status) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    for c in s.certificates.iter().take(CERTIFICATES_SHOWN_MAX) {
        let name = c.names.first().map_or("?", String::as_str);
        let more = match c.names.len().saturating_sub(1) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let days = c.not_after.saturating_sub(now).div_euclid(86_400);
        let left = if days < 0 { "EXPIRED".to_owned() } else { format!("{days} days left") };
        let due = if c.due { ", RENEW IT" } else { "" };
        // Writing into a `String` cannot fail.
        let _ = writeln!(out, "certificate {name}{more} ({}, {}): {left}{due}, {}", c.listener, c.key, c.source);
    }
    let hidden = s.certificates_total.saturating_sub(CERTIFICATES_SHOWN_MAX.min(s.certificates.len()));
    if hidden > 0 {
        let _ = writeln!(out, "and {hidden} certificates that expire later");
    }
    for c in s.certificates.iter().filter(|c| c.problem.is_some()) {
        let _ = writeln!(out, "warning: {}; the earlier certificate stays in use", c.problem.as_deref().unwrap_or(""));
    }
}

/// Names of endpoints that a status shows; those with a problem come first.
const NAMES_SHOWN_MAX: usize = 20;

fn names(out: &mut String, s: &Status) {
    let (wrong, fine): (Vec<_>, Vec<_>) = s.names.iter().partition(|name| name.problem.is_some());
    for name in wrong.iter().chain(&fine).take(NAMES_SHOWN_MAX) {
        let addresses = match &name.addresses[..] {
            [] => "no address".to_owned(),
            all => all.join(", "),
        };
        let age = name.age_seconds.map_or("never answered".to_owned(), |age| format!("{} ago", duration(age)));
        let problem = name.problem.as_ref().map(|why| format!("; NOW {why}")).unwrap_or_default();
        // Writing into a `String` cannot fail.
        let _ = writeln!(out, "name {}: {addresses} ({age}{problem})", name.name);
    }
    let hidden = s.names.len().saturating_sub(NAMES_SHOWN_MAX);
    if hidden > 0 {
        let _ = writeln!(out, "and {hidden} more names");
    }
}

/// In the two largest units.
pub(super) fn duration(seconds: f64) -> String {
    let s = seconds as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view;

    #[test]
    fn a_status_reads_well() {
        let status = Status {
            edge_version: "1.2.3".to_owned(),
            pid: 7,
            uptime_seconds: 3725.0,
            ready: true,
            config: view::Config {
                version: 2,
                sha256: "ab".repeat(32),
                source: "edge.toml".to_owned(),
                routes: 3,
                ..Default::default()
            },
            listeners: vec![view::Listener { name: "web".to_owned(), address: vec!["127.0.0.1:80".to_owned()] }],
            certificates: vec![view::Certificate {
                listener: "web".to_owned(),
                names: vec!["a.example".to_owned(), "b.example".to_owned()],
                key: "ecdsa".to_owned(),
                source: "a.pem".to_owned(),
                due: true,
                problem: Some("a.pem: is not well-formed PEM".to_owned()),
                ..Default::default()
            }],
            certificates_total: 3,
            names: vec![
                view::Name {
                    name: "app.internal".to_owned(),
                    addresses: vec!["10.0.0.3".to_owned(), "10.0.0.4".to_owned()],
                    age_seconds: Some(3.0),
                    ..Default::default()
                },
                view::Name {
                    name: "SRV _http._tcp.b".to_owned(),
                    problem: Some("no such name".to_owned()),
                    ..Default::default()
                },
            ],
            admin: vec!["127.0.0.1:9090".to_owned()],
            shards: vec![view::Shard {
                core: Some(1),
                driver: Some("epoll".to_owned()),
                connections: 12,
                ..Default::default()
            }],
            ..Status::default()
        };
        let text = describe(&status);
        assert!(text.starts_with("edge 1.2.3 (pid 7), ready, up 1 h 2 min\n"), "{text}");
        assert!(text.contains("listening on 127.0.0.1:80 (web)\n"), "{text}");
        assert!(text.contains("certificate a.example and 1 more (web, ecdsa): EXPIRED, RENEW IT, a.pem\n"), "{text}");
        assert!(
            text.contains("and 2 certificates that expire later\nwarning: a.pem: is not well-formed PEM"),
            "{text}"
        );
        assert!(text.contains(
            "name SRV _http._tcp.b: no address (never answered; NOW no such name)\n\
             name app.internal: 10.0.0.3, 10.0.0.4 (3 s ago)\n"
        ));
        assert!(text.contains("sha256 abababababab…"), "{text}");
        let widths: Vec<usize> =
            text.lines().filter(|l| l.starts_with("shard") || l.ends_with(" ms")).map(str::len).collect();
        assert_eq!(widths.len(), 2);
    }
}
