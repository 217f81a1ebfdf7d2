//! Smuggling: hostile and odd messages through the edge, judged by what a recording origin and a recording client got.
use crate::harness::{
    Addr, Driver, Message, Origin, Setup,
    message::{self, Kind},
    origin::answer,
    programs,
    wire::Wire,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    process::{Child, Stdio},
    sync::Arc,
    time::Duration,
};

crate::suite!("framing";
    each_driver:
        request_vectors,
        response_vectors;
    once:
        other_proxies_with_the_same_requests,
);

/// One case of `tests/vectors/http1.toml`; the file's head says what the keys mean.
#[derive(Clone, Debug, Deserialize)]
struct Case {
    name: String,
    role: String,
    raw: String,
    expect: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    fault: String,
    #[serde(default)]
    messages: usize,
    #[serde(default)]
    bodies: Vec<String>,
    #[serde(default)]
    methods: Vec<String>,
    #[serde(default)]
    upgrade: bool,
}

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

fn cases(role: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/http1.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let all: Cases = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let repeat = regex::Regex::new(r"\{([^{}]*)\*([0-9]+)\}").expect("a regular expression");
    let expand = |text: &str| {
        let times = |c: &regex::Captures<'_>| c[1].repeat(c[2].parse().expect("a number"));
        repeat.replace_all(text, times).into_owned()
    };
    let expanded = |mut c: Case| {
        c.raw = expand(&c.raw);
        c.bodies = c.bodies.iter().map(|b| expand(b)).collect();
        c
    };
    let cases: Vec<Case> = all.case.into_iter().filter(|c| c.role == role).map(expanded).collect();
    assert!(cases.len() >= 100, "only {} {role} vectors", cases.len());
    cases
}

/// What came of a request vector.
#[derive(Debug)]
struct Outcome {
    /// The client's answers, and what was wrong with the next one.
    answers: Vec<Message>,
    trouble: Option<String>,
    /// Complete requests at the origin, and bytes of an incomplete one.
    requests: Vec<Message>,
    rest: Vec<u8>,
    /// Why a strict reader cannot follow what the origin got.
    unreadable: Option<String>,
}

/// How much of each of the origin's connections has been judged.
#[derive(Default)]
struct Judged(Vec<usize>);

impl Judged {
    /// The bytes since the last call, one piece for each connection that got any.
    fn news(&mut self, origin: &Origin) -> Vec<Vec<u8>> {
        let all = origin.received();
        self.0.resize(all.len(), 0);
        let news =
            all.iter().zip(&self.0).map(|(bytes, seen)| bytes[*seen..].to_vec()).filter(|b| !b.is_empty()).collect();
        self.0 = all.iter().map(Vec::len).collect();
        news
    }
}

/// Sends a vector over one connection and waits until all is over, or the peer has been silent for `patience`.
fn play(case: &Case, to: &Addr, origin: &Origin, judged: &mut Judged, patience: Duration) -> Outcome {
    let mut client = Wire::connect(to);
    client.patience(patience);
    // The peer may refuse and close while the rest is on its way.
    let _ = client.try_send(&case.raw);
    if case.fault == "Truncated" {
        client.finish();
    }
    let kind = if case.raw.starts_with("HEAD ") { Kind::ResponseToHead } else { Kind::Response };
    let (mut answers, mut trouble) = (Vec::new(), None);
    // What is to be refused is read to the end of the connection, so that nothing behind the refusal is missed.
    let wanted = if case.expect == "accept" { case.messages } else { usize::MAX };
    while answers.len() < wanted {
        match client.message(kind) {
            Ok(Some(m)) if m.status() < 200 => {}
            Ok(Some(m)) => answers.push(m),
            Ok(None) => break,
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break,
            Err(e) => {
                trouble = Some(e.to_string());
                break;
            }
        }
    }
    drop(client);
    let mut outcome = Outcome { answers, trouble, requests: Vec::new(), rest: Vec::new(), unreadable: None };
    for bytes in judged.news(origin) {
        match message::every(&bytes, Kind::Request) {
            Ok((mut requests, rest)) => {
                outcome.requests.append(&mut requests);
                outcome.rest.extend(rest);
            }
            Err(e) => outcome.unreadable = Some(format!("{e}: {:?}", String::from_utf8_lossy(&bytes))),
        }
    }
    outcome
}

/// What is wrong with an outcome, if anything.
fn judge(case: &Case, o: &Outcome) -> Result<(), String> {
    if let Some(why) = &o.unreadable {
        return Err(format!("DESYNC, the origin got {why}"));
    }
    let bodies: Vec<String> = o.requests.iter().map(Message::text).collect();
    if o.requests.len() != case.messages
        || !case.bodies.is_empty() && bodies != case.bodies[..case.bodies.len().min(bodies.len())]
    {
        return Err(format!("DESYNC, {} requests with bodies {bodies:?} at the origin", o.requests.len()));
    }
    let statuses: Vec<u16> = o.answers.iter().map(Message::status).collect();
    let mut expected = vec![200; case.messages];
    if case.expect == "reject" && case.fault != "Truncated" {
        expected.push(case.status);
    }
    let cut = case.fault == "Truncated" && statuses.starts_with(&expected);
    if o.trouble.is_some() || (statuses != expected && !cut) {
        return Err(format!("statuses {statuses:?} instead of {expected:?}, {:?}", o.trouble));
    }
    if case.expect == "accept" && !o.rest.is_empty() {
        return Err(format!("DESYNC, surplus at the origin: {:?}", String::from_utf8_lossy(&o.rest)));
    }
    Ok(())
}

fn verdict(faults: Vec<String>, of: usize) {
    assert!(faults.is_empty(), "{} of {of} vectors:\n{}", faults.len(), faults.join("\n"));
}

fn request_vectors(driver: Driver) {
    let origin = Origin::ok();
    let text = crate::harness::edge::proxy_text(&origin, &crate::harness::edge::Extra::default());
    let text = text.replace("match = { path_prefix = \"/\" }\n", "");
    let edge = Setup::new(driver).text(&text).start();
    let (cases, to, mut judged) = (cases("request"), edge.addr(), Judged::default());
    let mut faults = Vec::new();
    for case in &cases {
        let outcome = play(case, &to, &origin, &mut judged, Duration::from_secs(5));
        if let Err(why) = judge(case, &outcome) {
            faults.push(format!("{}: {why}", case.name));
        }
    }
    assert_eq!(edge.ended(), None, "still running");
    assert_eq!(edge.metrics().sum("edge_panics_total", &[]), 0.0);
    verdict(faults, cases.len());
}

/// Sends `/v/N` to get vector N, anything else to get a plain answer.
fn response_origin(cases: &[Case]) -> Origin {
    let raws: Arc<[String]> = cases.iter().map(|c| c.raw.clone()).collect();
    Origin::scripted(move |wire, _| {
        while let Some(request) = wire.request()? {
            match request.target().strip_prefix("/v/").and_then(|n| n.parse::<usize>().ok()) {
                Some(n) => return wire.try_send(&raws[n]),
                None => wire.try_send(answer(200, "probe"))?,
            }
        }
        Ok(())
    })
}

fn response_vectors(driver: Driver) {
    let cases = cases("response");
    let origin = response_origin(&cases);
    let edge = Setup::proxy(driver, &origin).start();
    let to = edge.addr();
    let mut faults = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        if let Err(why) = play_response(case, n, &to) {
            faults.push(format!("{}: {why}", case.name));
        }
    }
    assert_eq!(edge.ended(), None, "still running");
    assert_eq!(edge.metrics().sum("edge_panics_total", &[]), 0.0);
    verdict(faults, cases.len());
}

/// Asks for vector `n` and then, on the same connection, for something harmless.
fn play_response(case: &Case, n: usize, to: &Addr) -> Result<(), String> {
    let method = case.methods.first().map_or("GET", String::as_str);
    let upgrade = if case.upgrade { "Connection: Upgrade\r\nUpgrade: websocket\r\n" } else { "" };
    let mut client = Wire::connect(to);
    client.patience(Duration::from_secs(5));
    client.send(format!("{method} /v/{n} HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n{upgrade}\r\n"));
    let kind = if method == "HEAD" { Kind::ResponseToHead } else { Kind::Response };
    let got = client.message(kind);
    let good = case.messages > 0;
    match got {
        Ok(Some(got)) if good && got.status() == 101 => {
            let frames = client.read_to_close();
            let expected = case.bodies.first().map_or("", String::as_str);
            return if frames == expected.as_bytes() { Ok(()) } else { Err(format!("tunnel brought {frames:?}")) };
        }
        Ok(Some(got)) if good => {
            if got.status() == 502 || case.bodies.first().is_some_and(|b| *b != got.text()) {
                return Err(format!("the client got {got:?}"));
            }
        }
        Ok(Some(got)) if got.status() != 502 => return Err(format!("DESYNC, a broken answer looks whole: {got:?}")),
        Ok(Some(_)) => {}
        // A body that turns out to be broken behind its head can only be cut, even if the head had not gone out yet.
        Ok(None) if !good => return Ok(()),
        Err(e) if !good && matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Ok(());
        }
        other => return Err(format!("the client got {other:?}")),
    }
    client.send("GET /probe HTTP/1.1\r\nHost: a\r\n\r\n");
    match client.message(Kind::Response) {
        Ok(Some(probe)) if probe.status() == 200 && probe.text() == "probe" => Ok(()),
        other => Err(format!("DESYNC, the next request got {other:?}")),
    }
}

/// Another proxy as a child process.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_peer(name: &str, dir: &Path, origin: &Origin) -> Option<(Peer, Addr)> {
    let program = programs::find(name)?;
    let socket = dir.join(format!("{name}.sock"));
    let (at, to) = (socket.display(), origin.addr().tcp());
    let config = match name {
        "nginx" => format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log stderr crit; events {{}}\n\
             http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0};\n\
             uwsgi_temp_path {0}; scgi_temp_path {0}; upstream o {{ server {to}; keepalive 8; }}\n\
             server {{ listen unix:{at}; location / {{ proxy_pass http://o; proxy_http_version 1.1;\n\
             proxy_set_header Host $host; proxy_set_header Connection \"\"; proxy_request_buffering off; }} }} }}\n",
            dir.display()
        ),
        _ => format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
             frontend f\n bind unix@{at}\n default_backend b\nbackend b\n server o {to}\n"
        ),
    };
    let file = dir.join(format!("{name}.conf"));
    std::fs::write(&file, config).expect("the temporary directory takes files");
    let mut command = programs::command(&program);
    match name {
        "nginx" => command.arg("-p").arg(dir).arg("-c").arg(&file),
        _ => command.args(["-db", "-f"]).arg(&file),
    };
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let peer = Peer(child);
    let addr = Addr::Unix(socket);
    crate::harness::eventually(name, || Wire::try_connect(&addr).ok());
    Some((peer, addr))
}

/// The same vectors through nginx and HAProxy, for comparison: a table, and no failure on their account.
fn other_proxies_with_the_same_requests() {
    let cases = cases("request");
    let mut table = BTreeMap::new();
    for name in ["nginx", "haproxy"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let origin = Origin::ok();
        let Some((_peer, to)) = start_peer(name, dir.path(), &origin) else { continue };
        let (mut judged, mut lenient, mut strict, mut unreadable) = (Judged::default(), 0, 0, 0);
        for case in &cases {
            let o = play(
                case,
                &to,
                &origin,
                &mut judged,
                Duration::from_millis(if case.expect == "accept" { 500 } else { 50 }),
            );
            unreadable += usize::from(o.unreadable.is_some());
            lenient += usize::from(case.expect == "reject" && o.requests.len() > case.messages);
            strict += usize::from(case.expect == "accept" && o.requests.len() < case.messages);
        }
        table.insert(name, (lenient, unreadable, strict));
    }
    println!("{} request vectors through other proxies:", cases.len());
    println!(
        "  {:10} {:>24} {:>26} {:>18}",
        "", "passed, to be refused", "unreadable at the origin", "refused, is legal"
    );
    for (name, (lenient, unreadable, strict)) in table {
        println!("  {name:10} {lenient:>24} {unreadable:>26} {strict:>18}");
    }
}
