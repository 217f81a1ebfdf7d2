//! From what was asked to a plan: everything is read, checked and resolved, and every mistake is told, not the first one.
use super::{
    Exchange, Expect, Load, Mistakes, Options, Origin, Plan, Protocol, Request, Tls, bounds, fields,
    mistake::{grouped, quoted},
    options::{
        self, ANSWER_MAX, BODY_FILE_MAX, BODY_MAX, Body, CONNECT_TIMEOUT, DURATION, DURATION_MAX, DURATION_MIN,
        DURATION_OF_COUNTED, KEPT_ANSWER_MAX, KEPT_ANSWERS_MAX, KEPT_BODY_MAX, MESSAGE, MESSAGE_MAX, STATUS, TIMEOUT,
        TIMEOUT_MAX, TIMEOUT_MIN, WARMUP, WARMUP_MAX,
    },
    targets::{self, read_bounded},
    url::{Url, authority_fault},
};
use bytes::Bytes;
use edge_io::http1::is_authority;
use std::{path::Path, time::Duration};

/// Largest program that `--expect-body` may compile to, bytes.
const PATTERN_MAX: usize = 1 << 20;
/// Largest file of authorities, bytes.
const CA_FILE_MAX: u64 = 16 << 20;

/// Builds the plan.
///
/// # Errors
/// All mistakes, each a sentence.
pub fn build(options: &Options) -> Result<Plan, Mistakes> {
    let mut mistakes = Mistakes::default();
    let urls = targets::urls(options, &mut mistakes);
    let exchange = exchange(options, &urls, &mut mistakes);
    let protocol = protocol(options, &exchange, &urls, &mut mistakes);
    names(options, &urls, &mut mistakes);
    let origins = origins(options, &urls, &mut mistakes);
    let load = load(options, &mut mistakes);
    let tls = tls(options, &mut mistakes);
    let expect = expect(options, &mut mistakes);
    let size = bounds::size(options, protocol, origins.len(), &mut mistakes);
    let times = times(options, &mut mistakes);
    let mut at_least_one = |name, n: Option<u64>| n.and_then(|n| mistakes.check(bounds::at_least_one(name, n)));
    let requests = at_least_one("-n", options.requests);
    let requests_per_connection = at_least_one("--requests-per-conn", options.requests_per_connection);
    let plan = Plan {
        origins,
        protocol,
        load,
        connections: size.connections,
        streams: size.streams,
        requests_per_connection,
        connect_rate: options.connect_rate.and_then(|rate| mistakes.check(bounds::rate("--conn-rate", rate))),
        duration: times.duration,
        warmup: times.warmup,
        requests,
        timeout: times.timeout,
        connect_timeout: times.connect_timeout,
        tls,
        cores: size.cores,
        exchange,
        body_max: body_max(options, &expect, size.connections as u64 * size.streams as u64, &mut mistakes),
        expect,
        seed: options.seed.unwrap_or(options::SEED),
        server_pid: options.server_pid.and_then(|pid| mistakes.check(server(pid))),
    };
    if mistakes.is_empty() { Ok(plan) } else { Err(mistakes) }
}

fn exchange(options: &Options, urls: &[Url], mistakes: &mut Mistakes) -> Exchange {
    let websocket = options.websocket;
    if websocket && options.events {
        mistakes.add("--ws and --sse: a connection carries one of them; leave one out");
    }
    if !websocket && urls.iter().any(|url| url.websocket) {
        mistakes.add("a URL begins with ws:// or wss://: add --ws to measure echoes, or write http:// or https://");
    }
    if !websocket && options.message_size.is_some() {
        mistakes.add("--ws-size: it is the size of a WebSocket's messages; add --ws, or leave it out");
    }
    if websocket || options.events {
        let flag = if websocket { "--ws" } else { "--sse" };
        if options.body != Body::None || options.method.is_some() {
            mistakes.add(format!("{flag}: its request is a GET without a body; leave out --method and --body"));
        }
        if options.expect_body.is_some() {
            mistakes.add(format!("--expect-body: with {flag} there is no answer's body to look into; leave it out"));
        }
        if options.expect_status.is_some() {
            mistakes.add(format!("--expect-status: with {flag} one answer grants it, or it is a fault; leave it out"));
        }
        if options.events && options.streams.is_some_and(|streams| streams > 1) {
            mistakes.add("-m: with --sse a connection carries one event stream; use -c for more");
        }
        if options.events {
            events_are_not_asked_for(options, mistakes);
        }
    }
    match (websocket, options.events) {
        (true, _) => {
            let size = options.message_size.unwrap_or(MESSAGE);
            Exchange::WebSocket { size: mistakes.check(bounds::within("--ws-size", size, 0, MESSAGE_MAX)).unwrap_or(0) }
        }
        (false, true) => Exchange::Events,
        (false, false) => Exchange::Requests,
    }
}

/// A server sends events when it likes: nothing schedules them, and none is a request that could be counted off.
fn events_are_not_asked_for(options: &Options, mistakes: &mut Mistakes) {
    let asked = [
        ("-r", options.rate.is_some()),
        ("-n", options.requests.is_some()),
        ("--requests-per-conn", options.requests_per_connection.is_some()),
    ];
    for (flag, _) in asked.iter().filter(|(_, given)| *given) {
        mistakes
            .add(format!("{flag}: with --sse the server says when events come; leave it out, and use -d for the end"));
    }
}

fn protocol(options: &Options, exchange: &Exchange, urls: &[Url], mistakes: &mut Mistakes) -> Protocol {
    let asked = [(options.h1, Protocol::H1), (options.h2, Protocol::H2), (options.h3, Protocol::H3)];
    let mut asked = asked.into_iter().filter(|(on, _)| *on).map(|(_, protocol)| protocol);
    let protocol = asked.next();
    if asked.next().is_some() {
        mistakes.add("--h1, --h2, --h3: a run speaks one of them; leave all out for what the server chooses");
    }
    if *exchange != Exchange::Requests && protocol == Some(Protocol::H3) {
        mistakes.add("--ws and --sse go over HTTP/1.1 and HTTP/2: leave out --h3");
    }
    if protocol == Some(Protocol::H3) {
        if let Some(url) = urls.iter().find(|url| !url.secure) {
            mistakes.add(format!("--h3: HTTP/3 is never without TLS; write https://{}", url.authority));
        }
        if options.unix.is_some() {
            mistakes.add("--unix: HTTP/3 goes over UDP, which a unix socket is not; leave out --h3 or --unix");
        }
    }
    match protocol {
        // Its upgrade is what every server knows; extended CONNECT has to be asked for.
        None if matches!(exchange, Exchange::WebSocket { .. }) => Protocol::H1,
        None => Protocol::Auto,
        Some(protocol) => protocol,
    }
}

fn names(options: &Options, urls: &[Url], mistakes: &mut Mistakes) {
    if let Some(host) = &options.host
        && !is_authority(host.as_bytes())
    {
        mistakes.add(format!("--host: {}", authority_fault(host)));
    }
    let Some(sni) = &options.sni else { return };
    if rustls::pki_types::ServerName::try_from(sni.as_str()).is_err() {
        mistakes.add(format!("--sni {}: it is no host name or address, without port and brackets", quoted(sni)));
    }
    if !urls.is_empty() && urls.iter().all(|url| !url.secure) {
        mistakes.add("--sni: no URL is https, so that no name is sent; leave it out");
    }
}

fn origins(options: &Options, urls: &[Url], mistakes: &mut Mistakes) -> Vec<Origin> {
    let fields = fields::parse_all(&options.fields, mistakes);
    let body = match &options.body {
        Body::None => Bytes::new(),
        Body::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        Body::File(path) => mistakes.check(read_bounded(path, BODY_FILE_MAX)).map(Bytes::from).unwrap_or_default(),
    };
    let method = match &options.method {
        Some(method) => mistakes.check(fields::method(method)).unwrap_or_default(),
        None if options.body == Body::None => "GET".into(),
        None => "POST".into(),
    };
    if method == "TRACE" && !body.is_empty() {
        mistakes.add("--method TRACE: it has no body (RFC 9110, section 9.3.8); leave out --body");
    }
    let mut origins = targets::group(urls, options, mistakes, |url| Request {
        method: method.clone(),
        target: url.target.clone(),
        fields: fields.clone(),
        body: body.clone(),
    });
    // Names cost time: with other mistakes nothing runs anyway, but those of one server are worth telling at once.
    if mistakes.is_empty() || origins.len() == 1 {
        targets::resolve(&mut origins, options, mistakes);
    }
    origins
}

fn load(options: &Options, mistakes: &mut Mistakes) -> Load {
    match options.rate {
        Some(rate) => {
            let rate = mistakes.check(bounds::rate("-r", rate)).unwrap_or(1.0);
            Load::Open { rate, arrivals: options.arrivals.unwrap_or(super::Arrivals::Constant) }
        }
        None => {
            if options.arrivals.is_some() {
                mistakes.add("--arrivals: without -r nothing is scheduled; add -r RATE, or leave it out");
            }
            Load::Closed
        }
    }
}

fn tls(options: &Options, mistakes: &mut Mistakes) -> Tls {
    if options.insecure && options.ca.is_some() {
        mistakes.add("-k and --ca: with -k no certificate is judged; leave one out");
    }
    if let Some(path) = &options.ca {
        mistakes.check(authorities(path));
    }
    Tls { insecure: options.insecure, ca: options.ca.clone(), no_resume: options.no_resume }
}

fn authorities(path: &Path) -> Result<(), String> {
    let bytes = read_bounded(path, CA_FILE_MAX).map_err(|mistake| format!("--ca {mistake}"))?;
    let begin = b"-----BEGIN CERTIFICATE-----";
    if bytes.windows(begin.len()).any(|part| part == begin) {
        return Ok(());
    }
    Err(format!("--ca {}: there is no certificate in it; expected PEM (BEGIN CERTIFICATE)", path.display()))
}

fn expect(options: &Options, mistakes: &mut Mistakes) -> Expect {
    let status = options.expect_status.as_deref().and_then(|text| mistakes.check(bounds::statuses(text)));
    let body = options.expect_body.as_deref().and_then(|text| {
        let pattern = regex::bytes::RegexBuilder::new(text).size_limit(PATTERN_MAX).build();
        mistakes.check(pattern.map_err(|e| format!("--expect-body {}: {e}", quoted(text))))
    });
    Expect { status: status.unwrap_or(STATUS), body }
}

fn body_max(options: &Options, expect: &Expect, places: u64, mistakes: &mut Mistakes) -> u64 {
    let each = KEPT_ANSWERS_MAX / places.max(1);
    let (default, most) = match expect.body {
        Some(_) => (KEPT_BODY_MAX.min(each), KEPT_ANSWER_MAX),
        None => (BODY_MAX, ANSWER_MAX),
    };
    let asked = options.body_max.unwrap_or(default);
    if expect.body.is_some() && asked > each {
        mistakes.add(format!(
            "--body-max {asked}: with --expect-body answers are kept, {} at once here, {} bytes in all; expected {each} at \
             most, or fewer connections and streams",
            grouped(places),
            grouped(KEPT_ANSWERS_MAX),
        ));
    }
    mistakes.check(bounds::within("--body-max", asked, 0, most)).unwrap_or(default)
}

fn server(pid: u32) -> Result<u32, String> {
    if Path::new("/proc").join(pid.to_string()).exists() {
        return Ok(pid);
    }
    Err(format!("--server-pid {pid}: there is no such process; expected the server's, on this machine"))
}

struct Times {
    duration: Duration,
    warmup: Duration,
    timeout: Duration,
    connect_timeout: Duration,
}

fn times(options: &Options, mistakes: &mut Mistakes) -> Times {
    let counted = options.requests.is_some();
    let mut time = |name, asked: Option<Duration>, default, min, max| {
        let asked = asked.unwrap_or(default);
        mistakes.check(bounds::time(name, asked, min, max)).unwrap_or(default)
    };
    let (duration, warmup) = if counted { (DURATION_OF_COUNTED, Duration::ZERO) } else { (DURATION, WARMUP) };
    Times {
        duration: time("-d", options.duration, duration, DURATION_MIN, DURATION_MAX),
        warmup: time("--warmup", options.warmup, warmup, Duration::ZERO, WARMUP_MAX),
        timeout: time("--timeout", options.timeout, TIMEOUT, TIMEOUT_MIN, TIMEOUT_MAX),
        connect_timeout: time("--connect-timeout", options.connect_timeout, CONNECT_TIMEOUT, TIMEOUT_MIN, TIMEOUT_MAX),
    }
}
