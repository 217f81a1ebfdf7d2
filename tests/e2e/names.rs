//! Endpoints by names, with dnsmasq as the name server: answers that change, that never come, and that stop.
use crate::harness::{
    Driver, Edge, Metrics, Origin, Setup,
    edge::{cli, listener_text},
    eventually,
    origin::answer,
    pair::Protocol,
    programs, tls,
};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

crate::suite!("names";
    each_driver:
        traffic_follows_the_answer,
        a_name_that_is_dead_at_the_start_comes_to_life,
        the_last_good_answer_stays_when_the_server_dies,
        both_families_are_endpoints,
        services_say_ports_weights_and_priorities,
        a_silent_server_holds_up_no_start,
        the_name_is_what_certificates_are_checked_against;
    once:
        the_file_of_hosts_comes_first;
);

/// The least TTL of these tests: what dnsmasq says itself is 0.
const TTL: Duration = Duration::from_secs(1);

/// A dnsmasq that knows what a file of hosts says, and answers that there is no other name in `test`.
struct NameServer {
    program: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl NameServer {
    /// `None`, with a note for the end of the run, where it is not installed.
    fn start(hosts: &str, more: &[String]) -> Option<NameServer> {
        let program = programs::find("dnsmasq")?;
        let dir = tempfile::Builder::new().prefix("edge-dns").tempdir().expect("a temporary directory");
        fs::write(dir.path().join("hosts"), hosts).expect("the directory takes files");
        for _ in 0..10 {
            // Another may take the port before dnsmasq does; then it ends, and another port is tried.
            let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a free port").port();
            let mut child = launch(&program, dir.path(), port, more);
            if answers(&mut child, port) {
                return Some(NameServer { program, dir, port, child });
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("dnsmasq does not start");
    }

    /// Says something else from now on.
    fn says(&self, hosts: &str) {
        fs::write(self.dir.path().join("hosts"), hosts).expect("the directory takes files");
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::HUP).expect("it runs");
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again on the same port.
    fn again(&mut self, hosts: &str, more: &[String]) {
        fs::write(self.dir.path().join("hosts"), hosts).expect("the directory takes files");
        self.child = launch(&self.program, self.dir.path(), self.port, more);
        assert!(answers(&mut self.child, self.port), "it starts again");
    }

    /// `[server]`'s key that has it asked.
    fn resolver(&self) -> String {
        resolver(self.port)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn resolver(port: u16) -> String {
    let ttl = TTL.as_secs();
    format!("{{ servers = \"127.0.0.1:{port}\", ttl_min = \"{ttl}s\", timeout = \"500ms\" }}")
}

fn launch(program: &Path, dir: &Path, port: u16, more: &[String]) -> Child {
    let mut command = programs::command(program);
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--local=/test/"]);
    command.args(["--bind-interfaces", "--listen-address=127.0.0.1"]).arg(format!("--port={port}"));
    command.arg(format!("--addn-hosts={}", dir.join("hosts").display()));
    command.arg(format!("--pid-file={}", dir.join("pid").display()));
    if geteuid().is_root() {
        command.arg("--user=root"); // it would lose the right to read our file
    }
    command.args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was found")
}

/// Whether it answers before it ends.
fn answers(child: &mut Child, port: u16) -> bool {
    // A question for the A records of "up.test".
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02up\x04test\x00\x00\x01\x00\x01";
    let begun = Instant::now();
    while begun.elapsed() < crate::harness::PATIENCE && matches!(child.try_wait(), Ok(None)) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time");
        socket.connect(("127.0.0.1", port)).expect("an address");
        let mut buf = [0; 512];
        if socket.send(question).is_ok() && socket.recv(&mut buf).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Origins at these addresses and one port, each of which answers with its number.
fn origins(addresses: &[&str]) -> (Vec<Origin>, u16) {
    for _ in 0..50 {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let at = |(i, ip): (usize, &&str)| {
            let addr = SocketAddr::new(ip.parse().expect("an address"), port);
            Origin::try_answering_at(addr, move |_| answer(200, &i.to_string()))
        };
        if let Some(all) = addresses.iter().enumerate().map(at).collect::<Option<Vec<_>>>() {
            return (all, port);
        }
    }
    panic!("no port is free at {addresses:?}");
}

fn text(endpoint: &str, pool: &str) -> String {
    listener_text("web", Protocol::H1, "")
        + &format!(
            "[pool.app]\nendpoints = [\"{endpoint}\"]\nbalance = \"round_robin\"\n{pool}\n\
             [[route]]\nid = \"all\"\npool = \"app\"\n"
        )
}

fn start(driver: Driver, resolver: &str, endpoint: &str, pool: &str) -> Edge {
    Setup::new(driver).shards(2).server("resolver", resolver).text(&text(endpoint, pool)).start()
}

fn counted(edge: &Edge, result: &str) -> f64 {
    edge.metrics().sum("edge_dns_resolutions_total", &[("result", result)])
}

/// Waits until names were looked up so often more with this result.
fn wait_counted(edge: &Edge, result: &str, more: f64) {
    let before = counted(edge, result);
    eventually(&format!("{more} times {result}"), || (counted(edge, result) >= before + more).then_some(()));
}

fn traffic_follows_the_answer(driver: Driver) {
    let Some(server) = NameServer::start("127.0.0.2 app.test\n", &[]) else { return };
    let (_origins, port) = origins(&["127.0.0.2", "127.0.0.3"]);
    let edge = start(driver, &server.resolver(), &format!("http://app.test:{port}"), "");
    let mut clients: Vec<_> = (0..4).map(|_| edge.connect()).collect();
    assert!(clients.iter_mut().all(|client| client.get("/").text() == "0"));
    for (to, ip) in [("1", "127.0.0.3"), ("0", "127.0.0.2"), ("1", "127.0.0.3")] {
        server.says(&format!("{ip} app.test\n"));
        let changed = Instant::now();
        // Every shard, and no failure on the way.
        while !clients.iter_mut().all(|client| {
            let got = client.get("/");
            assert_eq!(got.status(), 200, "{got:?}");
            got.text() == to
        }) {
            assert!(changed.elapsed() < crate::harness::PATIENCE, "nothing moves");
        }
        let took = changed.elapsed();
        println!("traffic moved after {took:?} with a TTL of {TTL:?}");
        // A second for the file, the question and the shards; the other one is for a busy machine.
        assert!(took < TTL + Duration::from_secs(2), "traffic moved after {took:?}");
    }
    assert_eq!(edge.version(), 1, "no reload");
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("edge_dns_adoptions_total", &[]), 3.0);
    assert_eq!(metrics.sum("edge_dns_endpoints", &[("name", "app.test")]), 1.0);
    assert!(metrics.sum("edge_dns_answer_age_seconds", &[("name", "app.test")]) < 20.0);
    let status = edge.status();
    assert_eq!(status["names"][0]["addresses"][0], "127.0.0.3", "{status}");
    let labels = metrics.values("edge_upstream_requests_total", "endpoint");
    assert!(labels.contains(&format!("http://app.test:{port} [127.0.0.2]")), "{labels:?}");
    faultless(&metrics);
}

fn faultless(metrics: &Metrics) {
    assert_eq!(metrics.sum("edge_errors_total", &[]), 0.0);
}

fn a_name_that_is_dead_at_the_start_comes_to_life(driver: Driver) {
    let Some(server) = NameServer::start("", &[]) else { return };
    let (_origins, port) = origins(&["127.0.0.2"]);
    let edge = start(driver, &server.resolver(), &format!("http://app.test:{port}"), "");
    let got = edge.connect().get("/dead");
    assert_eq!(got.status(), 503, "{got:?}");
    assert_eq!(edge.wait_log_path("/dead")["category"], "no_healthy_endpoint");
    assert!(counted(&edge, "no_such_name") >= 1.0);
    let status = edge.status();
    assert_eq!(status["names"][0]["problem"], "no such name", "{status}");
    server.says("127.0.0.2 app.test\n");
    eventually("an endpoint", || (edge.connect().get("/").status() == 200).then_some(()));
    // And when it goes again, its address stays.
    server.says("");
    wait_counted(&edge, "no_such_name", 2.0);
    assert_eq!(edge.connect().get("/").status(), 200);
}

fn the_last_good_answer_stays_when_the_server_dies(driver: Driver) {
    let Some(mut server) = NameServer::start("127.0.0.2 app.test\n", &[]) else { return };
    let (_origins, port) = origins(&["127.0.0.2", "127.0.0.3"]);
    let endpoint = format!("http://app.test:{port}");
    let edge = start(driver, &server.resolver(), &endpoint, "");
    assert_eq!(edge.connect().get("/").text(), "0");
    server.stop();
    let failed = |edge: &Edge| counted(edge, "timeout") + counted(edge, "failed");
    eventually("lookups that fail", || (failed(&edge) >= 2.0).then_some(()));
    assert_eq!(edge.connect().get("/").text(), "0");
    // A reload begins with what is known.
    edge.rewrite(&text(&endpoint, "keepalive = 3\n"));
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
    assert_eq!(edge.connect().get("/").text(), "0");
    server.again("127.0.0.3 app.test\n", &[]);
    eventually("the other address", || (edge.connect().get("/").text() == "1").then_some(()));
    faultless(&edge.metrics());
}

fn both_families_are_endpoints(driver: Driver) {
    let Some(server) = NameServer::start("127.0.0.2 app.test\n::1 app.test\n", &[]) else { return };
    if TcpListener::bind("[::1]:0").is_err() {
        return crate::harness::not_run("names over IPv6: the loopback interface has none");
    }
    let (origins, port) = origins(&["127.0.0.2", "::1"]);
    let edge = start(driver, &server.resolver(), &format!("http://app.test:{port}"), "");
    let mut client = edge.connect();
    for _ in 0..8 {
        assert_eq!(client.get("/").status(), 200);
    }
    // Two shards may have had their turns apart from each other; one of them had all of this connection.
    assert!(origins.iter().all(|origin| origin.requests().len() == 4), "each in turn");
    assert_eq!(edge.metrics().sum("edge_dns_endpoints", &[("name", "app.test")]), 2.0);
    // One family alone goes on.
    server.says("::1 app.test\n");
    eventually("one address", || {
        (edge.metrics().sum("edge_dns_endpoints", &[("name", "app.test")]) == 1.0).then_some(())
    });
    eventually("the other address alone", || (0..4).all(|_| client.get("/").text() == "1").then_some(()));
}

fn services_say_ports_weights_and_priorities(driver: Driver) {
    let origin = |i: usize| Origin::answering(move |_| answer(200, &i.to_string()));
    let origins: Vec<Origin> = (0..3).map(origin).collect();
    let port = |i: usize| origins[i].addr().to_string().rsplit_once(':').expect("a port").1.to_owned();
    let srv = |i: usize, host: &str, priority: u16, weight: u16| {
        format!("--srv-host=_http._tcp.app.test,{host}.test,{},{priority},{weight}", port(i))
    };
    let first = [srv(0, "a", 10, 30), srv(1, "a", 10, 10), srv(2, "b", 20, 10)];
    let hosts = "127.0.0.1 a.test\n127.0.0.1 b.test\n";
    let Some(mut server) = NameServer::start(hosts, &first) else { return };
    let edge = start(driver, &server.resolver(), "srv+http://_http._tcp.app.test", "");
    let mut client = edge.connect();
    let got: Vec<String> = (0..40).map(|_| client.get("/").text()).collect();
    let count = |number: &str| got.iter().filter(|text| *text == number).count();
    assert_eq!((count("0"), count("1"), count("2")), (30, 10, 0), "{got:?}");
    // The hosts of the first priority have no address: the next one takes over.
    server.stop();
    server.again("127.0.0.1 b.test\n", &[srv(0, "gone", 10, 30), srv(2, "b", 20, 10)]);
    eventually("the next priority", || (client.get("/").text() == "2").then_some(()));
    faultless(&edge.metrics());
}

fn a_silent_server_holds_up_no_start(driver: Driver) {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let begun = Instant::now();
    let edge = start(driver, &resolver(port), "http://app.test:1", "");
    // A second of patience for names; the rest is for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let got = edge.connect().get("/");
    assert_eq!(got.status(), 503, "{got:?}");
    eventually("it was noticed", || (counted(&edge, "timeout") >= 1.0).then_some(()));
}

fn the_name_is_what_certificates_are_checked_against(driver: Driver) {
    let name = tls::ORIGIN_NAME;
    let Some(server) = NameServer::start(&format!("127.0.0.1 {name}\n127.0.0.1 other.test\n"), &[]) else { return };
    let origin = Origin::fine(Protocol::H1Tls);
    let port = origin.addr().to_string().rsplit_once(':').expect("a port").1.to_owned();
    let pool = "tls = { ca = \"@DIR@/ca.pem\" }\ntimeouts = { connect = \"20s\" }\n";
    let edge = start(driver, &server.resolver(), &format!("https://{name}:{port}"), pool);
    assert_eq!(edge.connect().get("/").status(), 200);
    edge.rewrite(&text(&format!("https://other.test:{port}"), pool));
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
    assert_eq!(edge.connect().get("/wrong").status(), 502);
    assert_eq!(edge.wait_log_path("/wrong")["category"], "upstream_tls");
}

fn the_file_of_hosts_comes_first() {
    // With its final dot it is a name as any other one; there is no machine that does not know it.
    let origin = Origin::ok();
    let port = origin.addr().to_string().rsplit_once(':').expect("a port").1.to_owned();
    let known = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let is_known =
        |line: &str| line.starts_with("127.0.0.1") && line.split_whitespace().any(|word| word == "localhost");
    if !known.lines().any(is_known) {
        return crate::harness::not_run("names of /etc/hosts: it has no localhost");
    }
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let nobody = resolver(silent.local_addr().expect("it is bound").port());
    let edge = start(Driver::Epoll, &nobody, &format!("http://localhost.:{port}"), "");
    assert_eq!(edge.connect().get("/").status(), 200);
    let text = cli(&["status", "--admin", &edge.admin()]);
    assert!(text.stdout.contains("name localhost.: 127.0.0.1"), "{text:?}");
}
