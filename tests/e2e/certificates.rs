//! Certificates of a running edge: loaded, renewed, refused, shown; and who is sent to `https://`.
use crate::harness::{Driver, Edge, Origin, Setup, edge, eventually, wire::Wire};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

crate::suite!("certificates";
    each_driver:
        hosts_with_a_certificate_are_sent_to_https;
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
    for (suffix, text) in [("key", key.serialize_pem()), ("pem", cert.pem())] {
        // As tools do it: nobody ever sees half a file.
        let (path, new) = (dir.join(format!("{name}.{suffix}")), dir.join(format!(".{name}.{suffix}.new")));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, &path).unwrap();
    }
    format!("{serial:02x}")
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
    assert_eq!(failures(&edge), 0.0);
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
    fs::write(edge.dir().join("a.pem"), &key).unwrap();
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
