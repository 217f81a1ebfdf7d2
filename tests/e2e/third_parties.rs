//! Programs that are not ours on either side of the edge: curl, h2load, nghttp, the `h3` crate, Python's clients and
//! Chromium as clients, nginx as an origin.
use crate::harness::{
    Ask, Client, Driver, Origin, Pair, Protocol, Reply, Setup, Wire,
    edge::{listener_text, run},
    eventually, h3_crate,
    http2::Engine,
    pattern, programs,
    tls::{self, EDGE_NAME, pki},
};
use std::{
    path::Path,
    process::{Child, Stdio},
};

crate::suite!("third_parties";
    once:
        curl_speaks_to_it,
        h2load_gets_every_answer,
        nghttp_asks_for_several_at_once,
        h3_crate_speaks_to_it,
        libcurl_speaks_http3_to_it,
        aioquic_speaks_to_it,
        curl_cffi_speaks_http3_to_it,
        niquests_speaks_http3_to_it,
        chromium_shows_a_page_over_http3,
        nginx_is_an_origin,
);

fn pair(down: Protocol, up: Protocol) -> Pair {
    Pair { driver: Driver::IoUring, down, up }
}

fn curl_speaks_to_it() {
    let Some(curl) = programs::find("curl") else { return };
    for (flag, down, version) in [
        ("--http1.1", Protocol::H1Tls, "1.1"),
        ("--http2", Protocol::H2, "2"),
        ("--http2-prior-knowledge", Protocol::H2c, "2"),
    ] {
        let origin = Origin::replying(Protocol::H2, |r| Reply::new(200, &r.body).field("X-Seen", r.target()));
        let edge = Setup::pair(pair(down, Protocol::H2), &origin).start();
        let port = edge.addr().tcp().port();
        let mut command = programs::command(&curl);
        command.args(["--silent", "--show-error", "--noproxy", "*", flag, "--cacert"]).arg(edge.dir().join("ca.pem"));
        command.args(["--resolve", &format!("{EDGE_NAME}:{port}:127.0.0.1"), "--data", "from curl"]);
        command.args(["--write-out", " %{http_version} %{response_code}"]);
        command.arg(format!("{}://{EDGE_NAME}:{port}/p?q", down.scheme()));
        let out = run(command);
        assert_eq!(out.stdout, format!("from curl {version} 200"), "{flag}: {out:?}");
    }
}

fn h2load_gets_every_answer() {
    let Some(h2load) = programs::find("h2load") else { return };
    let body = pattern(3_000);
    for (down, up) in [(Protocol::H2, Protocol::H2c), (Protocol::H2c, Protocol::H1), (Protocol::H1Tls, Protocol::H2)] {
        let answer = body.clone();
        let origin = Origin::replying(up, move |_| Reply::new(200, &answer));
        let edge = Setup::pair(pair(down, up), &origin).shards(2).start();
        let mut command = programs::command(&h2load);
        command.args(["-n", "1000", "-c", "5", "-m", "20", "--connect-to", &edge.addr().to_string()]);
        if !down.http2() {
            command.arg("--h1");
        }
        command.arg(format!("{}://{EDGE_NAME}:{}/p", down.scheme(), edge.addr().tcp().port()));
        let out = run(command);
        assert!(out.stdout.contains("1000 succeeded, 0 failed, 0 errored"), "{down} {up}: {out:?}");
        assert!(out.stdout.contains("1000 2xx"), "{down} {up}: {out:?}");
    }
}

fn nghttp_asks_for_several_at_once() {
    let Some(nghttp) = programs::find("nghttp") else { return };
    let origin = Origin::replying(Protocol::H2, |r| Reply::new(200, format!("[{}]", r.target())).trailer("X-Sum", "1"));
    for down in [Protocol::H2, Protocol::H2c] {
        let edge = Setup::pair(pair(down, Protocol::H2), &origin).start();
        let mut command = programs::command(&nghttp);
        command.args(["--no-dep", "-H", ":authority: test"]);
        command.args((0..5).map(|i| format!("{}://{}/{i}", down.scheme(), edge.addr())));
        let out = run(command);
        assert!((0..5).all(|i| out.stdout.contains(&format!("[/{i}]"))), "{down}: {out:?}");
    }
}

/// `/file` is a download, anything else an echo.
fn files_and_echoes() -> Origin {
    Origin::replying(Protocol::H2, |r| match r.target() {
        "/file" => Reply::new(200, pattern(300_000)),
        _ => Reply::new(200, &r.body),
    })
}

fn h3_crate_speaks_to_it() {
    use http_body_util::{BodyExt, Full};
    let origin = files_and_echoes();
    let edge = Setup::pair(pair(Protocol::H3, Protocol::H2), &origin).shards(2).start();
    let (addr, sent) = (edge.addr(), bytes::Bytes::from(pattern(200_000)));
    let engine = Engine::start();
    let work = engine.spawn(async move {
        let sender = h3_crate::connect(&addr).await.expect("a connection");
        for (path, body, expected) in
            [("file", bytes::Bytes::new(), pattern(300_000)), ("echo", sent.clone(), sent.to_vec())]
        {
            let request = http::Request::post(format!("https://test/{path}")).body(Full::new(body)).expect("a request");
            let answer = h3_crate::call(sender.clone(), request).await.expect("an answer");
            assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_3));
            let got = answer.into_body().collect().await.expect("all of it").to_bytes();
            assert!(got == expected, "{path}: {} bytes", got.len());
        }
    });
    engine.wait(work).expect("in time").expect("no panic");
}

/// Has a client of `http3_clients.py` ask twice.
fn python_client(name: &str) {
    let Some(python) = programs::python_clients() else { return };
    let origin = files_and_echoes();
    let setup = Setup::pair(pair(Protocol::H3, Protocol::H2), &origin).shards(2);
    // A certificate without wildcards of a single label, which one of them does not take.
    pki().authority.issue(&["localhost"]).write(setup.dir(), "edge");
    let edge = setup.start();
    let mut command = programs::command(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/http3_clients.py"));
    command.args([name, &edge.addr().tcp().port().to_string()]).arg(edge.dir().join("ca.pem"));
    let out = run(command);
    assert_eq!(out.stdout.trim(), "[[30, 200, 300000, true], [30, 200, 200000, true]]", "{name}: {out:?}");
    assert!(edge.log().iter().all(|l| l["protocol"] == "3"), "{:?}", edge.log());
}

fn libcurl_speaks_http3_to_it() {
    python_client("pycurl");
}

fn aioquic_speaks_to_it() {
    python_client("aioquic");
}

fn curl_cffi_speaks_http3_to_it() {
    python_client("curl_cffi");
}

fn niquests_speaks_http3_to_it() {
    python_client("niquests");
}

/// Says at its end by which protocol it came, and sends something back.
const PAGE: &str = "<!doctype html><body><script>
    fetch('/echo', {method: 'POST', body: 'x'.repeat(100000)}).then(r => r.text()).then(text => {
        const by = performance.getEntriesByType('navigation')[0].nextHopProtocol;
        document.body.append('came by ' + by + ', went back ' + text.length);
    });</script></body>";

fn chromium_shows_a_page_over_http3() {
    let Some(chromium) = programs::find("chromium") else { return };
    let origin = Origin::replying(Protocol::H2, |r| match r.target() {
        "/page" => Reply::new(200, PAGE).field("Content-Type", "text/html"),
        "/echo" => Reply::new(200, &r.body),
        _ => Reply::new(404, ""),
    });
    let edge = Setup::pair(pair(Protocol::H3, Protocol::H2), &origin).start();
    let home = tempfile::tempdir().expect("a temporary directory");
    let authority = format!("{EDGE_NAME}:{}", edge.addr().tcp().port());
    let mut command = programs::command(&chromium);
    command.env("HOME", home.path()).env("TMPDIR", home.path()).args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ]);
    command.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
    command.arg(format!("--user-data-dir={}", home.path().join("data").display()));
    command.arg(format!("--host-resolver-rules=MAP {EDGE_NAME} 127.0.0.1"));
    command.arg(format!("--origin-to-force-quic-on={authority}"));
    command.arg(format!("--ignore-certificate-errors-spki-list={}", pki().edge.spki_hash()));
    command.args(["--virtual-time-budget=10000", "--dump-dom"]).arg(format!("https://{authority}/page"));
    let out = run(command);
    assert!(out.stdout.contains("came by h3, went back 100000"), "{out:?}");
    assert_eq!(edge.wait_log_path("/page")["protocol"], "3");
}

/// A program that ends with this value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn nginx_is_an_origin() {
    let Some(nginx) = programs::find("nginx") else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    tls::write_defaults(dir.path());
    pki().origin.write(dir.path(), "origin");
    std::fs::write(dir.path().join("file"), pattern(300_000)).expect("the temporary directory takes files");
    // Ports that were free a moment ago; whoever else gets one in between makes nginx fail, and the next try succeed.
    let (_program, [plain, prior, secure]) = eventually("nginx to start", || {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let [plain, prior, secure] = [free(), free(), free()];
        let config = format!(
            "daemon off; master_process off; pid {0}/pid; error_log stderr crit; events {{}}\n\
             http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0};\n\
             uwsgi_temp_path {0}; scgi_temp_path {0}; root {0};\n\
             server {{ listen {plain}; location /hello {{ return 200 \"$server_protocol $http_x_word\"; }} }}\n\
             server {{ listen {prior} http2; location /hello {{ return 200 \"$server_protocol $http_x_word\"; }} }}\n\
             server {{ listen {secure} ssl http2; ssl_certificate {0}/origin.pem; ssl_certificate_key {0}/origin.key;\n\
             location /hello {{ return 200 \"$server_protocol $http_x_word\"; }} }} }}\n",
            dir.path().display()
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).expect("the temporary directory takes files");
        let mut command = programs::command(&nginx);
        command.arg("-p").arg(dir.path()).arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let mut program = Program(command.spawn().ok()?);
        loop {
            let up = |at| Wire::try_connect(&crate::harness::Addr::Tcp(at)).is_ok();
            if program.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            if [plain, prior, secure].into_iter().all(up) {
                return Some((program, [plain, prior, secure]));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
    let tls = format!("tls = {{ ca = \"@DIR@/ca.pem\", server_name = \"{}\" }}", tls::ORIGIN_NAME);
    for (endpoint, keys, version) in [
        (format!("http://{plain}"), String::new(), "HTTP/1.1"),
        (format!("h2c://{prior}"), String::new(), "HTTP/2.0"),
        (format!("https://{secure}"), tls.clone(), "HTTP/2.0"),
        (format!("https://{secure}"), tls + "\nprotocol = \"h1\"", "HTTP/1.1"),
    ] {
        let text = listener_text("web", Protocol::H2c, "")
            + &format!(
                "[pool.app]\nendpoints = [\"{endpoint}\"]\ntimeouts = {{ connect = \"20s\", tls = \"20s\" }}\n{keys}\n\
                 [[route]]\nid = \"all\"\nmatch = {{}}\npool = \"app\"\n"
            );
        let edge = Setup::over(pair(Protocol::H2c, Protocol::H1)).text(&text).start();
        for down in [Protocol::H1, Protocol::H2c] {
            let client = Client::connect(down, &edge.addr());
            for _ in 0..20 {
                let got = client.ask(Ask::get("/hello").field("X-Word", "said"));
                assert_eq!((got.status(), got.text()), (200, format!("{version} said")), "{endpoint}");
            }
            assert!(client.get("/file").body == pattern(300_000), "{endpoint}");
            assert_eq!(client.ask(Ask::new("HEAD", "/file")).get("content-length"), Some("300000"));
            assert_eq!(client.get("/missing").status(), 404);
        }
    }
}
