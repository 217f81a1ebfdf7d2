//! Servers of others: what was sent is what they saw, and what they answered is what is reported.
use super::{
    Ran, bench, command, patient,
    servers::{BODY, Server, Speaks},
};
use crate::harness::{
    Driver, Origin, Wire, eventually,
    origin::answer,
    pattern, programs,
    tls::{self, pki},
};
use std::{
    path::Path,
    process::{Child, Stdio},
};

crate::suite!("bench_others";
    each_driver:
        every_request_arrives_once,
        a_body_from_a_file_arrives_whole,
        nginx_counts_the_same,
        a_unix_socket;
    once:
        urls_are_taken_in_turn,
        one_request_for_each_connection,
        connections_at_a_rate,
        sessions_are_resumed_unless_that_is_not_wanted,
        certificates_are_verified_unless_that_is_not_wanted,
);

fn words<'a>(speaks: Speaks, url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [speaks.flags(), more, &[url]].concat()
}

fn every_request_arrives_once(driver: Driver) {
    for speaks in Speaks::ALL {
        let server = Server::start(speaks);
        let url = server.url("/p?q=1");
        let many = if speaks.many() { "8" } else { "1" };
        let ran = patient(driver, &words(speaks, &url, &["-n", "500", "-c", "4", "-m", many, "-H", "x-word: said"]));
        ran.assert_all(500);
        assert_eq!(ran.count("body_bytes"), 500 * BODY, "{speaks:?}: {ran:?}");
        assert_eq!(ran.json["asked"]["protocol"], serde_json::json!([speaks.name()]), "{speaks:?}");
        assert_eq!(ran.json["times"]["response"]["count"], 500, "{speaks:?}");
        assert_eq!((ran.count("connections"), server.connections()), (4, 4), "{speaks:?}: {ran:?}");
        assert_eq!(ran.count("closed"), 4, "{speaks:?}: {ran:?}");
        let seen = server.seen();
        assert_eq!(seen.len(), 500, "{speaks:?}: {ran:?}");
        for one in seen {
            let got = (one.method.as_str(), one.path.as_str(), one.word.as_deref(), one.body.len());
            assert_eq!(got, ("GET", "/p?q=1", Some("said"), 0), "{speaks:?}");
        }
    }
}

fn a_body_from_a_file_arrives_whole(driver: Driver) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, body) = (dir.path().join("body"), pattern(300_000));
    std::fs::write(&file, &body).expect("the temporary directory takes files");
    let file = file.to_str().expect("a plain path");
    for speaks in Speaks::ALL {
        let server = Server::start(speaks);
        let url = server.url("/upload");
        let many = if speaks.many() { "3" } else { "1" };
        let ran = patient(driver, &words(speaks, &url, &["-n", "20", "-c", "2", "-m", many, "--body", file]));
        ran.assert_all(20);
        assert!(ran.count("bytes_out") > 20 * 300_000, "{speaks:?}: {ran:?}");
        let seen = server.seen();
        assert_eq!(seen.len(), 20, "{speaks:?}");
        assert!(seen.iter().all(|one| one.method == "POST" && one.body == body), "{speaks:?}");
    }
}

fn urls_are_taken_in_turn() {
    let server = Server::start(Speaks::H1);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let list = dir.path().join("urls");
    std::fs::write(&list, format!("# the third\n\n{}\n", server.url("/c")))
        .expect("the temporary directory takes files");
    let (a, b, list) = (server.url("/a"), server.url("/b"), list.to_str().expect("a plain path"));
    let ran = patient(Driver::IoUring, &["-n", "300", "-c", "2", "--urls", list, &a, &b]);
    ran.assert_all(300);
    assert_eq!(ran.json["asked"]["urls"], 3, "{ran:?}");
    for path in ["/a", "/b", "/c"] {
        let n = server.seen().iter().filter(|one| one.path == path).count();
        // Each thread of the generator goes round for itself.
        assert!(n.abs_diff(100) <= 4, "{path}: {n} of 300");
    }
}

fn a_unix_socket(driver: Driver) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("socket");
    let path = path.to_str().expect("a plain path");
    let abstract_name = format!("@edge-bench-{}-{driver}", std::process::id());
    for at in [path, &abstract_name] {
        let origin = Origin::answering_unix(at, |request| answer(200, request.get("host").unwrap_or_default()));
        let ran = patient(driver, &["-n", "50", "-c", "2", "--unix", at, "http://name.test/"]);
        ran.assert_all(50);
        assert_eq!(ran.count("body_bytes"), 50 * "name.test".len() as u64, "{at}: {ran:?}");
        assert_eq!((origin.requests().len(), origin.connections()), (50, 2), "{at}");
    }
}

fn one_request_for_each_connection() {
    for speaks in Speaks::ALL {
        let server = Server::start(speaks);
        let url = server.url("/");
        let ran = patient(Driver::IoUring, &words(speaks, &url, &["-n", "40", "-c", "2", "--requests-per-conn", "1"]));
        ran.assert_all(40);
        assert_eq!((ran.count("connections"), server.connections()), (40, 40), "{speaks:?}: {ran:?}");
        assert_eq!((ran.count("closed"), server.seen().len()), (40, 40), "{speaks:?}: {ran:?}");
        assert_eq!(ran.json["times"]["connect"]["count"], 40, "{speaks:?}");
        // Over QUIC connecting is the handshake.
        let handshakes = if speaks.tls() { serde_json::json!(40) } else { serde_json::Value::Null };
        assert_eq!(ran.json["times"]["tls"]["count"], handshakes, "{speaks:?}");
    }
}

fn connections_at_a_rate() {
    let server = Server::start(Speaks::H1);
    let url = server.url("/");
    let rate = ["--requests-per-conn", "1", "--connect-rate", "40", "-c", "4", "-d", "1s", "--warmup", "0"];
    // Unused time is not made up for: a busy machine makes fewer, and is asked again.
    eventually("connections at the rate", || {
        let before = server.connections();
        let ran = patient(Driver::IoUring, &words(Speaks::H1, &url, &rate));
        assert!(ran.faults().is_empty(), "{ran:?}");
        let made = ran.count("connections");
        assert!(made <= 44 && server.connections() >= before + made, "{ran:?}");
        (made >= 30).then_some(())
    });
}

fn sessions_are_resumed_unless_that_is_not_wanted() {
    for speaks in [Speaks::H1Tls, Speaks::H2, Speaks::H3] {
        let server = Server::start(speaks);
        let url = server.url("/");
        let churn = ["-n", "30", "-c", "1", "--requests-per-conn", "1"];
        let ran = patient(Driver::IoUring, &words(speaks, &url, &churn));
        ran.assert_all(30);
        assert_eq!((ran.count("connections"), ran.count("resumed")), (30, 29), "{speaks:?}: {ran:?}");
        let full = patient(Driver::IoUring, &[&words(speaks, &url, &churn)[..], &["--no-resume"]].concat());
        full.assert_all(30);
        assert_eq!((full.count("connections"), full.count("resumed")), (30, 0), "{speaks:?}: {full:?}");
    }
}

fn certificates_are_verified_unless_that_is_not_wanted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    tls::write_defaults(dir.path());
    let ca = dir.path().join("ca.pem");
    let ca = ca.to_str().expect("a plain path");
    for (speaks, version) in [(Speaks::H1Tls, "--h1"), (Speaks::H2, "--h2"), (Speaks::H3, "--h3")] {
        let server = Server::start(speaks);
        let url = server.url("/");
        let some = ["-n", "4", "-c", "1", version, &url];
        let ran = patient(Driver::IoUring, &[&some[..], &["--ca", ca]].concat());
        ran.assert_all(4);
        for wrong in [&["--ca", ca, "--sni", "other.test"][..], &[]] {
            let ran = refused(&[&some[..], wrong].concat());
            assert_eq!((ran.faults(), ran.code), (vec!["handshake"], 4), "{speaks:?} {wrong:?}: {ran:?}");
            assert_eq!(ran.count("sent"), 0, "{speaks:?} {wrong:?}: {ran:?}");
        }
        assert_eq!(server.seen().len(), 4, "{speaks:?}");
    }
}

/// Runs for a time in which something comes about: no request is ever sent whose number could end the run.
fn refused(words: &[&str]) -> Ran {
    eventually("a connection", || {
        Some(bench(Driver::IoUring, &[words, &["-d", "500ms"]].concat())).filter(|ran| !ran.faults().is_empty())
    })
}

/// A program that ends with this value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx with its files in `dir`, and its ports: in clear, over TLS, over TLS with HTTP/2.
fn nginx(program: &Path, dir: &Path) -> (Program, [std::net::SocketAddr; 3]) {
    pki().origin.write(dir, "origin");
    std::fs::write(dir.join("file"), pattern(2000)).expect("the temporary directory takes files");
    // Ports that were free a moment ago; whoever else gets one in between makes nginx fail, and the next try succeed.
    eventually("nginx to start", || {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let ports = [free(), free(), free()];
        let config = format!(
            "daemon off; master_process off; pid {0}/pid; error_log stderr crit; events {{}}\n\
             http {{ log_format own '$server_protocol $status $connection'; access_log {0}/log own;\n\
             client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0};\n\
             scgi_temp_path {0}; root {0}; keepalive_requests 100000; ssl_protocols TLSv1.3;\n\
             ssl_certificate {0}/origin.pem; ssl_certificate_key {0}/origin.key;\n\
             server {{ listen {1}; }} server {{ listen {2} ssl; }} server {{ listen {3} ssl http2; }} }}\n",
            dir.display(),
            ports[0],
            ports[1],
            ports[2]
        );
        let file = dir.join("nginx.conf");
        std::fs::write(&file, config).expect("the temporary directory takes files");
        let mut command = programs::command(program);
        command.arg("-p").arg(dir).arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let mut program = Program(command.spawn().ok()?);
        loop {
            let up = |at| Wire::try_connect(&crate::harness::Addr::Tcp(at)).is_ok();
            if program.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            if ports.into_iter().all(up) {
                return Some((program, ports));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    })
}

fn nginx_counts_the_same(driver: Driver) {
    let Some(program) = programs::find("nginx") else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_program, [clear, secure, both]) = nginx(&program, dir.path());
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    for (url, flags, line) in [
        (format!("http://{clear}/file"), &[][..], "HTTP/1.1 200 "),
        (format!("https://{secure}/file"), &["-k"], "HTTP/1.1 200 "),
        (format!("https://{both}/file"), &["-k", "--h1"], "HTTP/1.1 200 "),
        (format!("https://{both}/file"), &["-k", "-m", "10"], "HTTP/2.0 200 "),
    ] {
        let before = log().lines().count();
        let ran = patient(driver, &[&["-n", "500", "-c", "4"], flags, &[&url]].concat());
        ran.assert_all(500);
        assert_eq!(ran.count("body_bytes"), 500 * 2000, "{url} {flags:?}");
        // It writes the line of an answer a little after the answer.
        let lines = eventually("nginx's log", || {
            let new: Vec<String> = log().lines().skip(before).map(str::to_owned).collect();
            (new.len() >= 500).then_some(new)
        });
        assert_eq!(lines.len(), 500, "{url} {flags:?}");
        assert!(lines.iter().all(|l| l.starts_with(line)), "{url} {flags:?}: {:?}", lines.first());
    }
    let url = format!("http://{clear}/missing");
    let ran = patient(driver, &["-n", "30", "-c", "1", &url]);
    assert_eq!((ran.fault("status"), ran.count("answered")), (30, 30), "{ran:?}");
    assert_eq!(ran.json["counts"]["status"], serde_json::json!({ "404": 30 }), "{ran:?}");
    // For a time instead of a number: in the middle of an answer is no fault.
    let url = format!("http://{clear}/file");
    let out = crate::harness::edge::run(command(&["-d", "300ms", "--warmup", "100ms", "-c", "2", "-q", &url]));
    assert!([0, 6].contains(&out.code) && out.stdout.is_empty(), "{out:?}");
}
