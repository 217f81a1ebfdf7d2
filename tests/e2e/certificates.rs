//! Certificates of a running edge: loaded, renewed, refused, shown; and who is sent to `https://`.
use crate::harness::{
    Driver, Edge, Origin, PATIENCE, Setup, edge, eventually,
    message::{Kind, Message, whole},
    wire::Wire,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

crate::suite!("certificates";
    each_driver:
        hosts_with_a_certificate_are_sent_to_https,
        a_renewed_certificate_is_shown_and_connections_stay,
        renewals_under_load_lose_nothing,
        sessions_are_resumed_whichever_shard_answers,
        requests_for_other_hosts_are_misdirected,
        policies_decide_who_needs_a_certificate;
    once:
        renewed_files_are_used_at_once,
        links_that_are_swapped_are_followed,
        a_pair_that_cannot_be_used_changes_nothing,
        a_pair_that_was_never_good_is_refused,
        sighup_and_reload_read_certificates_again,
);

/// Writes `NAME.pem` and `NAME.key` for `host` into `dir`; answers the serial number as status shows it.
fn write(dir: &Path, name: &str, host: &str, serial: u64) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.serial_number = Some(serial.into());
    let cert = params.self_signed(&key).unwrap();
    put(dir, &format!("{name}.key"), &key.serialize_pem());
    put(dir, &format!("{name}.pem"), &cert.pem());
    format!("{serial:02x}")
}

/// Writes a file as tools do it: nobody ever sees half of it.
fn put(dir: &Path, name: &str, text: &str) {
    let new = dir.join(format!(".{name}.new"));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, dir.join(name)).unwrap();
}

fn tls(certificates: &str) -> String {
    format!(
        "[[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:0\"\n[listener.tls]\ncertificates = [{certificates}]\n\
         [[route]]\nrespond = {{ body = \"here\" }}\n"
    )
}

const ONE: &str = "{ cert = \"a.pem\", key = \"a.key\" }";

fn certificate(edge: &Edge) -> Value {
    edge.status()["certificates"][0].clone()
}

/// Waits until the certificate with this serial number is in use.
fn wait_for(edge: &Edge, serial: &str) -> Value {
    eventually(&format!("serial {serial}"), || Some(certificate(edge)).filter(|c| c["serial"] == serial))
}

fn failures(edge: &Edge) -> f64 {
    edge.metrics().sum("edge_cert_reload_failures_total", &[])
}

fn renewed_files_are_used_at_once() {
    let setup = Setup::new(Driver::ALL[0]);
    let first = write(setup.dir(), "a", "a.example", 0x11);
    let edge = setup.text(&tls(ONE)).start();
    let shown = certificate(&edge);
    assert_eq!((shown["serial"].as_str(), shown["listener"].as_str()), (Some(&*first), Some("secure")));
    assert_eq!(shown["names"][0], "a.example");
    let expires = edge.metrics().sum("edge_cert_not_after_seconds", &[("name", "a.example")]);
    assert_eq!(Some(expires), shown["not_after"].as_f64());
    let second = write(edge.dir(), "a", "a.example", 0x12);
    wait_for(&edge, &second);
    assert_eq!(edge.version(), 1, "it is no other configuration");
    edge.wait_stderr("a word about it", |line| line.contains("renewed a.example"));
    let out = edge::cli(&["status", "--admin", &edge.admin()]);
    assert!(out.stdout.contains("certificate a.example (secure, ecdsa): "), "{out:?}");
}

/// As secrets are mounted into containers: the files are links into a directory that is a link, which is swapped.
fn links_that_are_swapped_are_followed() {
    let setup = Setup::new(Driver::ALL[0]);
    let dir = setup.dir().to_owned();
    for (version, serial) in [("..v1", 0x21), ("..v2", 0x22), ("..v3", 0x23)] {
        fs::create_dir(dir.join(version)).unwrap();
        write(&dir.join(version), "tls", "a.example", serial);
    }
    let swap = |to: &str| {
        symlink(to, dir.join("..new")).unwrap();
        fs::rename(dir.join("..new"), dir.join("..data")).unwrap();
    };
    swap("..v1");
    symlink("..data/tls.pem", dir.join("a.pem")).unwrap();
    symlink("..data/tls.key", dir.join("a.key")).unwrap();
    let edge = setup.text(&tls(ONE)).start();
    wait_for(&edge, "21");
    for (version, serial) in [("..v2", "22"), ("..v3", "23")] {
        swap(version);
        wait_for(&edge, serial);
    }
    // And into the directory that the links lead to now.
    write(&dir.join("..v3"), "tls", "a.example", 0x24);
    wait_for(&edge, "24");
}

fn a_pair_that_cannot_be_used_changes_nothing() {
    let setup = Setup::new(Driver::ALL[0]);
    let first = write(setup.dir(), "a", "a.example", 0x31);
    let edge = setup.text(&tls(ONE)).start();
    let key = fs::read_to_string(edge.dir().join("a.key")).unwrap();
    put(edge.dir(), "a.pem", &key);
    let problem = eventually("the problem in status", || certificate(&edge)["problem"].as_str().map(str::to_owned));
    assert!(problem.contains("a.pem: holds a private key, but no certificate"), "{problem}");
    assert_eq!(certificate(&edge)["serial"], *first);
    eventually("the failure in the metrics", || (failures(&edge) == 1.0).then_some(()));
    let out = edge::cli(&["status", "--admin", &edge.admin()]);
    assert!(out.stdout.contains("the earlier certificate stays in use"), "{out:?}");
    // A reload of the configuration goes on with it as well, and says so.
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains("the earlier certificate stays in use"), "{out:?}");
    assert_eq!((edge.version(), failures(&edge)), (2, 1.0));
    let second = write(edge.dir(), "a", "a.example", 0x32);
    assert_eq!(wait_for(&edge, &second)["problem"], Value::Null);
    let secret = key.lines().nth(1).unwrap();
    let said = edge.stderr().join("\n") + &edge.status().to_string();
    assert!(!said.contains(&secret[..16]), "a private key must not be shown");
}

fn a_pair_that_was_never_good_is_refused() {
    let setup = Setup::new(Driver::ALL[0]).text(&tls(ONE));
    write(setup.dir(), "a", "a.example", 0x41);
    write(setup.dir(), "b", "b.example", 0x42);
    fs::copy(setup.dir().join("b.key"), setup.dir().join("a.key")).unwrap();
    let mut command = Command::new(edge::BINARY);
    command.args(["run", "--config"]).arg(setup.write());
    let out = edge::run(command);
    assert_eq!(out.code, 3, "{out:?}");
    assert!(out.stderr.contains("a.key: the private key does not match"), "{out:?}");

    write(setup.dir(), "a", "a.example", 0x43);
    let edge = setup.start();
    edge.rewrite(&tls(&format!("{ONE}, {{ cert = \"b.pem\", key = \"a.key\" }}")));
    let out = edge.reload();
    assert_eq!(out.code, 3, "{out:?}");
    assert!(out.stderr.contains("the private key does not match"), "{out:?}");
    assert_eq!((edge.version(), failures(&edge)), (1, 0.0));
    edge.rewrite(&tls(&format!("{ONE}, {{ cert = \"b.pem\", key = \"b.key\" }}")));
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stdout.contains("certificates: +b.example"), "{out:?}");
    assert_eq!(edge.status()["certificates_total"], 2);
}

fn sighup_and_reload_read_certificates_again() {
    let setup = Setup::new(Driver::ALL[0]);
    write(setup.dir(), "a", "a.example", 0x51);
    let edge = setup.text(&tls(ONE)).start();
    let second = write(edge.dir(), "a", "a.example", 0x52);
    assert_eq!(edge.reload().code, 0);
    assert_eq!(certificate(&edge)["serial"], *second, "a reload has read it when it returns");
    let third = write(edge.dir(), "a", "a.example", 0x53);
    edge.signal(Signal::HUP);
    eventually("version 3", || (edge.version() == 3).then_some(()));
    assert_eq!(certificate(&edge)["serial"], *third);
}

fn hosts_with_a_certificate_are_sent_to_https(driver: Driver) {
    let origin = Origin::ok();
    let endpoint = origin.endpoint();
    let listener =
        |name: &str, more: &str| format!("[[listener]]\nname = {name:?}\naddress = \"127.0.0.1:0\"\n{more}\n");
    let text = [
        listener("web", ""),
        listener("open", "https_redirect = false"),
        listener("behind", "trusted_proxies = [\"127.0.0.1\"]"),
        listener("secure", "tls = { certificates = [{ cert = \"a.pem\", key = \"a.key\" }] }"),
        format!("[pool.app]\nendpoints = [{endpoint}]\n"),
        "[[route]]\nid = \"all\"\nmatch = \"/x\"\npool = \"app\"\n".to_owned(),
        "[[route]]\nid = \"acme\"\nmatch = \"/.well-known/\"\npool = \"app\"\n".to_owned(),
        "[[route]]\nid = \"plain\"\nmatch = \"/plain\"\npool = \"app\"\nallow_http = true\n".to_owned(),
    ]
    .concat();
    let setup = Setup::new(driver);
    write(setup.dir(), "a", "*.a.example", 1);
    let edge = setup.text(&text).start();
    let port = edge.listener("secure")[0].tcp().port();
    let ask = |listener: &str, method: &str, host: &str, target: &str, more: &str| {
        let mut wire = Wire::connect(&edge.listener(listener)[0]);
        wire.ask(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"))
    };
    for (host, target) in [
        ("www.a.example", "/x/y?q=1"),
        ("WWW.a.example:8080", "/x"),
        ("www.a.example", "/nowhere"),
        ("www.a.example", "/plainly"),
        ("www.a.example", "/.well-known/other"),
    ] {
        let answer = ask("web", "GET", host, target, "");
        assert_eq!(answer.status(), 308, "{host}{target}: {answer:?}");
        let bare = host.split(':').next().unwrap();
        assert_eq!(answer.get("location"), Some(&*format!("https://{bare}:{port}{target}")));
    }
    let posted = ask("web", "POST", "www.a.example", "/x", "Content-Length: 0\r\n");
    assert_eq!(posted.status(), 308, "{posted:?}");
    for (listener, host, target, more) in [
        ("web", "www.b.example", "/x", ""),
        ("web", "a.example", "/x", ""),
        ("web", "x.www.a.example", "/x", ""),
        ("web", "www.a.example", "/plain", ""),
        ("web", "www.a.example", "/.well-known/acme-challenge/token", ""),
        ("open", "www.a.example", "/x", ""),
        ("behind", "www.a.example", "/x", "X-Forwarded-Proto: https\r\n"),
    ] {
        let answer = ask(listener, "GET", host, target, more);
        assert_eq!(answer.status(), 200, "{listener} {host}{target}: {answer:?}");
    }
    // Only a trusted proxy is believed, and what it says must be https.
    assert_eq!(ask("web", "GET", "www.a.example", "/x", "X-Forwarded-Proto: https\r\n").status(), 308);
    assert_eq!(ask("behind", "GET", "www.a.example", "/x", "X-Forwarded-Proto: http\r\n").status(), 308);
    let line = edge.wait_log("a redirect", |line| line["path"] == "/x/y");
    assert_eq!((line["status"].as_u64(), line["route"].as_str()), (Some(308), None));
}

/// A connection with TLS, speaking HTTP/1.1.
struct Secure(StreamOwned<ClientConnection, TcpStream>);

/// A client that trusts the certificates in these files of `dir`, and shows `identity`.
fn client(dir: &Path, trusted: &[&str], identity: Option<(String, String)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for name in trusted {
        roots.add(CertificateDer::from_pem_file(dir.join(name)).unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut client = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(client)
}

impl Secure {
    fn connect(to: SocketAddr, client: &Arc<ClientConfig>, name: &str) -> Secure {
        let tcp = TcpStream::connect(to).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Secure(StreamOwned::new(ClientConnection::new(client.clone(), name).unwrap(), tcp))
    }

    fn ask(&mut self, host: &str, target: &str, more: &str) -> Message {
        write!(self.0, "GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n").unwrap();
        let (mut bytes, mut room) = (Vec::new(), [0; 4096]);
        loop {
            let n =
                self.0.read(&mut room).unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&bytes)));
            bytes.extend_from_slice(&room[..n]);
            if let Ok(Some((message, _))) = whole(&bytes, Kind::Response, n == 0) {
                return message;
            }
            assert!(n > 0, "it ended after {:?}", String::from_utf8_lossy(&bytes));
        }
    }

    /// The serial number of the certificate that was shown.
    fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

fn secure_addr(edge: &Edge) -> SocketAddr {
    edge.listener("secure")[0].tcp()
}

fn a_renewed_certificate_is_shown_and_connections_stay(driver: Driver) {
    let setup = Setup::new(driver).shards(2);
    write(setup.dir(), "a", "a.example", 0x61);
    let edge = setup.text(&tls(ONE)).start();
    let mut first = Secure::connect(secure_addr(&edge), &client(edge.dir(), &["a.pem"], None), "a.example");
    assert_eq!(first.ask("a.example", "/1", "").text(), "here");
    let second = write(edge.dir(), "a", "a.example", 0x62);
    wait_for(&edge, &second);
    // Every shard shows the new one from now on; which of them takes a connection is chance.
    let trusting = client(edge.dir(), &["a.pem"], None);
    for _ in 0..8 {
        let mut other = Secure::connect(secure_addr(&edge), &trusting, "a.example");
        assert_eq!(other.ask("a.example", "/2", "").text(), "here");
        assert_ne!(other.shown(), first.shown());
    }
    assert_eq!(first.ask("a.example", "/3", "").text(), "here", "an open connection goes on");
    let line = edge.wait_log("the first request", |line| line["path"] == "/1");
    assert_eq!((line["tls_version"].as_str(), line["sni"].as_str()), (Some("1.3"), Some("a.example")));
    assert_eq!((line["tls_group"].as_str(), line["scheme"].as_str()), (Some("X25519MLKEM768"), Some("https")));
    let labels = [("result", "ok"), ("version", "1.3"), ("group", "X25519MLKEM768")];
    assert_eq!(edge.metrics().sum("edge_tls_handshakes_total", &labels), 9.0);
}

/// New connections come all the time while the certificate is renewed again and again: none fails, and each is shown one
/// of them whole.
fn renewals_under_load_lose_nothing(driver: Driver) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let renew = |dir: &Path, serial: u64| {
        let (key, mut params) =
            (KeyPair::generate().unwrap(), CertificateParams::new(vec!["a.example".to_owned()]).unwrap());
        params.serial_number = Some(serial.into());
        let cert = params.signed_by(&key, &ca).unwrap();
        put(dir, "a.key", &key.serialize_pem());
        put(dir, "a.pem", &cert.pem());
    };
    let setup = Setup::new(driver).shards(2);
    renew(setup.dir(), 0x70);
    put(setup.dir(), "own-ca.pem", &ca.pem());
    let edge = setup.text(&tls(ONE)).start();
    let (trusting, addr, done) =
        (client(edge.dir(), &["own-ca.pem"], None), secure_addr(&edge), AtomicBool::new(false));
    let served: usize = thread::scope(|scope| {
        let clients = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut served = 0;
                while !done.load(Ordering::Relaxed) {
                    let mut connection = Secure::connect(addr, &trusting, "a.example");
                    assert_eq!(connection.ask("a.example", "/", "").text(), "here");
                    served += 1;
                }
                served
            })
        });
        for serial in 0x71..0x75 {
            renew(edge.dir(), serial);
            wait_for(&edge, &format!("{serial:02x}"));
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(served > 0);
    let metrics = edge.metrics();
    assert_eq!(
        metrics.sum("edge_tls_handshakes_total", &[]),
        metrics.sum("edge_tls_handshakes_total", &[("result", "ok")])
    );
}

fn sessions_are_resumed_whichever_shard_answers(driver: Driver) {
    const CONNECTIONS: usize = 100;
    let setup = Setup::new(driver).shards(3);
    write(setup.dir(), "a", "a.example", 1);
    let edge = setup.text(&tls(ONE)).start();
    let client = client(edge.dir(), &["a.pem"], None);
    for _ in 0..CONNECTIONS {
        let mut connection = Secure::connect(secure_addr(&edge), &client, "a.example");
        assert_eq!(connection.ask("a.example", "/", "Connection: close\r\n").text(), "here");
    }
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("edge_tls_handshakes_total", &[("resumed", "no")]), 1.0);
    assert_eq!(metrics.sum("edge_tls_handshakes_total", &[("resumed", "yes")]), CONNECTIONS as f64 - 1.0);
    let busy = metrics.values("edge_shard_accepts_total", "shard");
    let took = |shard: &String| metrics.sum("edge_shard_accepts_total", &[("shard", shard)]) > 0.0;
    assert!(busy.iter().filter(|shard| took(shard)).count() > 1, "one shard took all connections");
}

fn requests_for_other_hosts_are_misdirected(driver: Driver) {
    let setup = Setup::new(driver);
    write(setup.dir(), "a", "a.example", 1);
    write(setup.dir(), "b", "b.example", 2);
    write(setup.dir(), "ip", "127.0.0.1", 3);
    let pairs = ["ip", "a", "b"].map(|name| format!("{{ cert = \"{name}.pem\", key = \"{name}.key\" }}")).join(", ");
    let edge = setup.text(&tls(&pairs)).start();
    let client = client(edge.dir(), &["a.pem", "b.pem", "ip.pem"], None);
    let ask = |name: &str, host: &str| Secure::connect(secure_addr(&edge), &client, name).ask(host, "/", "");
    for (name, host, status) in [
        ("a.example", "a.example", 200),
        ("a.example", "A.EXAMPLE:443", 200),
        ("b.example", "b.example", 200),
        ("a.example", "b.example", 421),
        ("a.example", "nowhere.example", 421),
        ("127.0.0.1", "b.example", 200), // no name was asked for
    ] {
        let answer = ask(name, host);
        assert_eq!(answer.status(), status, "{name} {host}: {answer:?}");
    }
    let line = edge.wait_log("a misdirected request", |line| line["status"] == 421);
    assert_eq!(line["category"], "misdirected");
}

fn policies_decide_who_needs_a_certificate(driver: Driver) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, "alice");
    let alice = params.signed_by(&key, &ca).unwrap();
    let origin = Origin::ok();
    let setup = Setup::new(driver);
    write(setup.dir(), "a", "a.example", 1);
    fs::write(setup.dir().join("own-ca.pem"), ca.pem()).unwrap();
    let edge = setup
        .text(&format!(
            "[[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:0\"\n\
             tls = {{ certificates = [{ONE}], client_auth = \"optional\", client_ca = \"own-ca.pem\" }}\n\
             [pool.app]\nendpoints = [{}]\n[policy.known]\nrequire_mtls = true\nclient_cert_header = true\n\
             [[route]]\nmatch = \"/known\"\npool = \"app\"\npolicy = \"known\"\n\
             [[route]]\nmatch = \"/all\"\npool = \"app\"\n",
            origin.endpoint()
        ))
        .start();
    let without = client(edge.dir(), &["a.pem"], None);
    let with = client(edge.dir(), &["a.pem"], Some((alice.pem(), key.serialize_pem())));
    let forged = "Client-Cert: :AAAA:\r\nclient-cert-chain: :AAAA:\r\n";
    let ask = |client: &Arc<ClientConfig>, target: &str| {
        Secure::connect(secure_addr(&edge), client, "a.example").ask("a.example", target, forged).status()
    };
    assert_eq!(ask(&without, "/known"), 403);
    assert_eq!(ask(&without, "/all"), 200);
    assert_eq!(ask(&with, "/known"), 200);
    assert_eq!(ask(&with, "/all"), 200);
    let line = edge.wait_log("the refused one", |line| line["status"] == 403);
    assert_eq!((line["category"].as_str(), line["mtls_subject"].as_str()), (Some("mtls_required"), None));
    let line = edge.wait_log("the known one", |line| line["path"] == "/known" && line["status"] == 200);
    assert_eq!(line["mtls_subject"], "CN=alice");
    let told: Vec<_> = origin.wait_requests(3);
    for request in &told {
        assert!(!request.has("client-cert-chain"), "{request:?}");
        let header = request.get("client-cert").map(|value| value.trim_matches(':').to_owned());
        let expected = (request.target() == "/known").then(|| {
            // What stands between the lines of PEM is the same base64.
            alice.pem().lines().filter(|line| !line.starts_with("---")).collect::<String>()
        });
        assert_eq!(header, expected);
    }
}
