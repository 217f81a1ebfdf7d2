//! The command line: validate, exit codes, starting without a file.
use crate::harness::{
    Driver, Origin, Setup,
    edge::{BINARY, Process, cli, proxy_text, run},
    eventually, programs,
    wire::{Addr, Wire},
};
use rustix::process::Signal;
use std::{net::TcpListener, process::Command};

crate::suite!("cli";
    each_driver:
        proxy_without_a_file,
        demo_serves_and_says_what_to_try;
    once:
        validate_is_silent_when_valid,
        validate_numbers_every_mistake,
        validate_binds_nothing,
        exit_codes,
        help_and_version,
        run_refuses_an_invalid_file,
        run_refuses_a_taken_port,
        config_comes_from_the_environment_too,
        example_configs_are_valid,
        bench_serve_says_what_to_try_and_what_it_saw,
        curl_as_a_client,
);

fn valid() -> (Origin, Setup) {
    let origin = Origin::ok();
    let setup = Setup::proxy(Driver::IoUring, &origin);
    (origin, setup)
}

fn path_of(setup: &Setup) -> String {
    setup.write().to_str().expect("a plain path").to_owned()
}

fn validate_is_silent_when_valid() {
    let (_origin, setup) = valid();
    let out = cli(&["validate", "--config", &path_of(&setup)]);
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (0, "", ""));
}

fn validate_numbers_every_mistake() {
    let text = "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:99999\"]\ntimeout = { header = \"1s\" }\n\n\
                [pool.app]\nendpoints = [\"http://127.0.0.1:1\"]\nballance = \"p2c\"\n\n\
                [[route]]\nid = \"a\"\nmatch = { path_regex = \"(\" }\npool = \"ap\"\n";
    let setup = Setup::new(Driver::IoUring).text(text);
    let path = path_of(&setup);
    let out = cli(&["validate", "--config", &path]);
    assert_eq!((out.code, out.stdout.as_str()), (3, ""), "{out:?}");
    let lines = std::fs::read_to_string(&path).expect("the file just written");
    for (word, help) in
        [("99999", ""), ("timeout = {", "timeouts"), ("ballance", "balance"), ("path_regex", ""), ("\"ap\"", "app")]
    {
        let number = 1 + lines.lines().position(|l| l.contains(word)).expect("a line of the file");
        assert!(out.stderr.contains(&format!("edge.toml:{number}:")), "line {number} ({word}) in:\n{}", out.stderr);
        assert!(out.stderr.contains(help), "{help} in:\n{}", out.stderr);
    }
    assert!(out.stderr.contains('^'), "a caret under the place:\n{}", out.stderr);
    for number in 1..=5 {
        assert!(out.stderr.contains(&number.to_string()), "numbered reasons:\n{}", out.stderr);
    }
}

fn validate_binds_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let text = format!(
        "[[listener]]\nname = \"web\"\naddress = [\"{}\"]\n[[route]]\nid = \"a\"\nmatch = {{ path = \"/\" }}\nrespond = {{}}\n",
        taken.local_addr().expect("an address")
    );
    let setup = Setup::new(Driver::IoUring).text(&text);
    let out = cli(&["validate", "--config", &path_of(&setup)]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(!setup.dir().join("admin.sock").exists() && !setup.dir().join("access.log").exists(), "nothing is opened");
}

fn exit_codes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let missing = dir.path().join("missing.toml");
    let missing = missing.to_str().expect("a plain path");
    let nobody = format!("unix:{}", dir.path().join("nobody.sock").display());
    for (args, code) in [
        (vec!["frobnicate"], 2),
        (vec!["run", "--no-such-flag"], 2),
        (vec!["validate", "--config", missing], 3),
        (vec!["run", "--config", missing], 3),
        (vec!["status", "--admin", &nobody], 4),
        (vec!["reload", "--admin", &nobody], 4),
    ] {
        let out = cli(&args);
        assert_eq!(out.code, code, "{args:?}: {out:?}");
        assert!(!out.stderr.is_empty() && out.stdout.is_empty(), "{args:?}: messages go to stderr: {out:?}");
        assert!(!out.stderr.contains("panicked"), "{args:?}: {out:?}");
    }
}

fn help_and_version() {
    for flag in ["--help", "-h"] {
        let out = cli(&[flag]);
        assert_eq!(out.code, 0, "{out:?}");
        for verb in ["run", "validate", "reload", "status", "demo", "bench"] {
            assert!(out.stdout.contains(verb), "{verb} in {out:?}");
        }
    }
    let out = cli(&["--version"]);
    assert_eq!((out.code, out.stdout.trim()), (0, concat!("edge ", env!("CARGO_PKG_VERSION"))));
}

fn run_refuses_an_invalid_file() {
    let setup = Setup::new(Driver::IoUring).text("[[listener]]\nnam = \"web\"\n");
    let out = cli(&["run", "--config", &path_of(&setup)]);
    assert_eq!(out.code, 3, "{out:?}");
    assert!(out.stderr.contains("nam") && out.stderr.contains("edge.toml:"), "{out:?}");
}

fn run_refuses_a_taken_port() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("an address");
    let (_origin, setup) = valid();
    let text = std::fs::read_to_string(setup.write())
        .expect("the file just written")
        .replace("127.0.0.1:0\"", &format!("{addr}\""));
    let path = setup.dir().join("taken.toml");
    std::fs::write(&path, text).expect("the temporary directory takes files");
    let out = cli(&["run", "--config", path.to_str().expect("a plain path")]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stderr.contains(&addr.to_string()), "it says which address: {out:?}");
}

fn config_comes_from_the_environment_too() {
    let (_origin, setup) = valid();
    let mut command = Command::new(BINARY);
    command.arg("validate").env("EDGE_CONFIG", setup.write());
    assert_eq!(run(command).code, 0);
    let broken = Setup::new(Driver::IoUring).text("nonsense = 1\n");
    let mut command = Command::new(BINARY);
    command.args(["validate", "--config", &path_of(&broken)]).env("EDGE_CONFIG", setup.write());
    assert_eq!(run(command).code, 3, "the flag wins");
}

fn example_configs_are_valid() {
    let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut seen = 0;
    for entry in std::fs::read_dir(&configs).expect("configs/").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let out = cli(&["validate", "--config", path.to_str().expect("a plain path")]);
            assert_eq!(out.code, 0, "{}: {out:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 0, "no examples in {}", configs.display());
}

/// The address in a line like `… http://127.0.0.1:43210/ …`.
fn address_in(line: &str) -> Option<Addr> {
    let rest = &line[line.find("127.0.0.1:")?..];
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).unwrap_or(rest.len());
    rest[..end].parse().ok().filter(|a: &std::net::SocketAddr| a.port() != 0).map(Addr::Tcp)
}

fn proxy_without_a_file(driver: Driver) {
    let origin = Origin::ok();
    // Port 0 is not asked for here: the line says what a user would type, so the port is found first.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let mut command = Command::new(BINARY);
    command.args(["run", "--proxy", &format!("127.0.0.1:{port}={}", origin.addr().endpoint())]);
    let edge = Process::start(command, driver);
    edge.wait_stderr("ready", |l| l.contains("ready"));
    let mut client = Wire::connect(&Addr::parse(&format!("127.0.0.1:{port}")));
    assert_eq!(client.get("/").text(), "ok");
    drop(client);
    edge.signal(Signal::INT);
    edge.signal(Signal::INT);
    edge.wait_exit();
}

fn demo_serves_and_says_what_to_try(driver: Driver) {
    let mut command = Command::new(BINARY);
    command.arg("demo");
    let edge = Process::start(command, driver);
    let said = || {
        let mut all = edge.stdout();
        all.extend(edge.stderr());
        all
    };
    let line = eventually("a curl command to try", || {
        said().into_iter().find(|l| l.contains("curl") && address_in(l).is_some())
    });
    let addr = address_in(&line).expect("just seen");
    let got = eventually("the demo to answer", || Wire::try_connect(&addr).ok()).get("/");
    assert_eq!(got.status(), 200, "{got:?}");
    eventually("the request to be shown", || {
        said().iter().any(|l| l.contains("GET") && l.contains("200")).then_some(())
    });
    edge.signal(Signal::INT);
    edge.signal(Signal::INT);
    edge.wait_exit();
}

fn bench_serve_says_what_to_try_and_what_it_saw() {
    let mut command = Command::new(BINARY);
    command.args(["bench", "serve", "127.0.0.1:0", "--size", "300", "--status", "404"]);
    let origin = Process::start(command, Driver::IoUring);
    let line = eventually("a curl command to try", || {
        origin.stdout().into_iter().find(|l| l.contains("curl") && address_in(l).is_some())
    });
    let addr = address_in(&line).expect("just seen");
    let mut wire = Wire::try_connect(&addr).expect("it serves before it says so");
    let got = wire.get("/");
    assert_eq!((got.status(), got.body.len()), (404, 300), "{got:?}");
    assert_eq!(wire.get("/?status=200&size=5").status(), 200);
    origin.signal(Signal::TERM);
    let said = origin.wait_stdout("what it saw", |l| l.contains("requests"));
    assert!(said.starts_with("2 requests on 1 connections in "), "{said}");
    assert_eq!(origin.wait_exit(), 0);
}

fn curl_as_a_client() {
    let Some(curl) = programs::find("curl") else { return };
    let origin = Origin::answering(|r| {
        let body = format!("{} {} {}", r.method(), r.target(), r.body.len());
        crate::harness::origin::answer(200, &body)
    });
    let edge = Setup::new(Driver::IoUring).text(&proxy_text(&origin, &crate::harness::edge::Extra::default())).start();
    let url = format!("http://{}", edge.addr());
    let upload = edge.dir().join("upload");
    std::fs::write(&upload, crate::harness::pattern(3_000_000)).expect("the temporary directory takes files");
    let upload = upload.to_str().expect("a plain path");
    let ask = |args: &[&str]| {
        let mut command = programs::command(&curl);
        command.args(["-sS", "--max-time", "15", "--noproxy", "*"]).args(args);
        let out = run(command);
        assert_eq!(out.code, 0, "{args:?}: {out:?}");
        out.stdout
    };
    assert_eq!(ask(&[&format!("{url}/a?b=1")]), "GET /a?b=1 0");
    assert_eq!(ask(&["--http1.0", &format!("{url}/old")]), "GET /old 0");
    assert_eq!(ask(&["-d", "a=1&b=2", &format!("{url}/form")]), "POST /form 7");
    assert_eq!(ask(&["-T", upload, &format!("{url}/put")]), "PUT /put 3000000", "with Expect: 100-continue");
    assert_eq!(
        ask(&["-T", upload, "-H", "Transfer-Encoding: chunked", &format!("{url}/chunks")]),
        "PUT /chunks 3000000"
    );
    assert!(ask(&["-I", &format!("{url}/head")]).starts_with("HTTP/1.1 200"));
    let (a, b) = (format!("{url}/one"), format!("{url}/two"));
    assert_eq!(ask(&[&a, &b]), "GET /one 0GET /two 0", "two on one connection");
}
