//! HTTP/1.1: framing, what a query asks for, faults on the wire; and curl over every kind of socket.
use super::*;
use edge_loadtest::origin::{Address, script::Fault};
use std::{io::ErrorKind, process::Command, time::Instant};

/// What curl was answered: version, status, bytes. `None`: there is no curl.
fn curl(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("curl");
    command.args(["-sk", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download}"]);
    match command.args(arguments).output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(e) => {
            eprintln!("skipped: curl: {e}");
            None
        }
    }
}

#[test]
fn curl_is_answered_over_every_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("origin.sock");
    let listen = vec![Address::Ip(([127, 0, 0, 1], 0).into()), Address::Unix(path.clone())];
    let clear = Serve::start(Options { listen, ..Options::default() }).unwrap();
    let secure = secure(Script::default());
    let (http, https) = (format!("http://{}/?size=3k", addr(&clear)), format!("https://{}/?size=5", addr(&secure)));
    let Some(answer) = curl(&[&http]) else { return };
    assert_eq!(answer, "1.1 200 3072");
    assert_eq!(curl(&["--http2-prior-knowledge", &http]).unwrap(), "2 200 3072");
    assert_eq!(curl(&[&https]).unwrap(), "2 200 5");
    assert_eq!(curl(&["--http1.1", &https]).unwrap(), "1.1 200 5");
    let socket = path.to_str().unwrap();
    assert_eq!(curl(&["--unix-socket", socket, "http://x/?status=404"]).unwrap(), "1.1 404 1024");
    assert_eq!(curl(&["-d", "@/proc/self/environ", &http]).unwrap(), "1.1 200 3072");
    assert_eq!(clear.stats().requests, 4);
    drop(clear);
    assert!(!path.exists());
}

#[test]
fn answers_are_framed_as_their_kind_is() {
    let origin = plain();
    let sized = get(&origin, "/?size=3");
    assert!(sized.starts_with("HTTP/1.1 200 OK\r\n") && sized.contains("content-length: 3\r\n"), "{sized}");
    assert!(sized.ends_with("\r\n\r\nxxx"));
    let chunked = get(&origin, "/?size=10&chunk=4&chunk-delay=1ms");
    assert!(chunked.contains("transfer-encoding: chunked\r\n"), "{chunked}");
    assert!(chunked.ends_with("\r\n\r\n4\r\nxxxx\r\n4\r\nxxxx\r\n2\r\nxx\r\n0\r\n\r\n"), "{chunked}");
    let large = get(&origin, "/?size=300k&chunk=100k");
    assert_eq!(large.split("\r\n19000\r\n").count(), 4, "three pieces stay three");
    assert!(get(&origin, "/?status=204").ends_with("\r\n\r\n"));
    let mistake = get(&origin, "/?size=lots");
    assert!(mistake.starts_with("HTTP/1.1 400") && mistake.contains("size: expected a whole number"), "{mistake}");
    assert!(get(&origin, "/ws").starts_with("HTTP/1.1 426"));
    let many = serve(Script { headers: 20, ..Script::default() });
    assert_eq!(get(&many, "/").matches("x-filler-").count(), 20);
}

#[test]
fn pipelined_requests_and_those_without_a_body_keep_their_order() {
    let origin = plain();
    let mut stream = connect(&origin);
    let requests = "HEAD /?size=9 HTTP/1.1\r\nHost: x\r\n\r\nGET /?status=304 HTTP/1.1\r\nHost: x\r\n\r\n\
                    POST /?size=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyGET /?size=1&delay=20ms HTTP/1.1\r\n\
                    Host: x\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let answers: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(answers.len(), 4, "{answer}");
    assert!(answers[0].contains("content-length: 9\r\n") && answers[0].ends_with("\r\n\r\n"));
    assert!(answers[1].starts_with("304") && answers[1].ends_with("\r\n\r\n"));
    assert!(answers[2].ends_with("\r\n\r\nxx") && answers[3].ends_with("\r\n\r\nx"));
}

#[test]
fn each_fault_is_what_it_says_on_the_wire() {
    let origin = plain();
    let ask = |fault: &str| {
        let mut stream = connect(&origin);
        write!(stream, "GET /?size=100&fault={fault} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).map_err(|e| e.kind());
        (String::from_utf8_lossy(&answer).into_owned(), end.err())
    };
    assert_eq!(ask("close"), (String::new(), None));
    assert_eq!(ask("reset"), (String::new(), Some(ErrorKind::ConnectionReset)));
    let (cut, end) = ask("truncate");
    assert!(cut.contains("content-length: 100\r\n") && cut.ends_with(&format!("\r\n\r\n{}", "x".repeat(50))), "{cut}");
    assert_eq!(end, None);
    let (garbage, _) = ask("garbage");
    assert!(!garbage.is_empty() && !garbage.contains("HTTP"), "{garbage}");
    let mut stream = connect(&origin);
    stream.write_all(b"GET /?fault=stall HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(Fault::ALL.iter().all(|fault| origin.stats().fault(*fault) == 1), "{:?}", origin.stats());
}

#[test]
fn a_fault_over_tls_ends_the_connection_too() {
    let origin = secure(Script::default());
    for (fault, says) in [("close", "52"), ("reset", "56"), ("truncate", "18"), ("garbage", "1")] {
        let url = format!("https://{}/?fault={fault}", addr(&origin));
        let run = Command::new("curl").args(["-sk", "--http1.1", "--max-time", "20", "-o", "/dev/null", &url]).status();
        let Ok(status) = run else { return eprintln!("skipped: there is no curl") };
        let code = status.code().unwrap().to_string();
        // A reset may meet curl in its TLS library (35), and an end without close_notify is an error of receiving (56).
        assert!(code == says || ["56", "35"].contains(&code.as_str()), "{fault}: {code}");
    }
}

#[test]
fn events_come_in_time_and_say_when_they_were_sent() {
    let origin = plain();
    let begun = Instant::now();
    let answer = get(&origin, "/events?interval=20ms&count=5");
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(answer.contains("content-type: text/event-stream\r\n"), "{answer}");
    let events: Vec<(u64, u64)> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("data: ")?.split_once(' '))
        .map(|(at, n)| (at.parse().unwrap(), n.parse().unwrap()))
        .collect();
    assert_eq!(events.iter().map(|e| e.1).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let span = events[4].0 - events[0].0;
    assert!((60_000..1_000_000).contains(&span), "{span}");
    assert_eq!(origin.stats().events, 5);
}
