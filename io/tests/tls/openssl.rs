//! OpenSSL's programs as peers, where they are installed.
use super::{
    pki,
    pki::Authority,
    shard::{self, read, read_exact, read_to_end, write_all},
};
use edge_io::{
    listen, tcp,
    tls::{self, Info},
};
use std::{
    future::poll_fn,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
};

fn openssl() -> Option<Command> {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Some(Command::new("openssl")),
        _ => {
            eprintln!("note: openssl is not installed; not run");
            None
        }
    }
}

/// A child that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What our server knows after `s_client` with these arguments connected, was echoed a line, and did what the line
/// `command` tells it to (R: renegotiate, K: update keys).
fn client_says(args: &[&str], command: &'static str, asking: bool) -> Option<(Info, String)> {
    let mut program = openssl()?;
    let ca = Authority::new();
    let dir = tempfile::tempdir().expect("directory");
    let who = ca.issue("someone");
    std::fs::write(dir.path().join("ca.pem"), &ca.pem).expect("file");
    std::fs::write(dir.path().join("cert.pem"), &who.pem).expect("file");
    std::fs::write(dir.path().join("key.pem"), who.key_pair.serialize_pem()).expect("file");
    let mut config = if asking { ca.asking_server(pki::ALL) } else { ca.server(pki::ALL) };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let fd = listen::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).expect("listener");
    let port = socket2::SockRef::from(&fd).local_addr().expect("address").as_socket().expect("TCP").port();
    let (tell, told) = mpsc::channel();
    let server = std::thread::spawn(move || {
        shard::run(move |local| async move {
            let listener = tcp::Listener::from_fd(&local.reactor, fd).expect("listener");
            let (fd, _) = poll_fn(|cx| listener.poll_accept(cx)).await.expect("accept");
            assert!(fd.as_raw_fd() >= 0);
            let tcp = tcp::Stream::from_fd(&local.reactor, fd).expect("stream");
            let s = tls::accept(tcp, config).await.expect("handshake");
            tell.send(s.tls().expect("TLS").clone()).expect("told");
            let mut room = [0; 100];
            loop {
                match read(&s, &mut room).await {
                    Ok(0) => break s.shutdown_write(),
                    Ok(n) => write_all(&s, &room[..n]).await.expect("write"),
                    Err(_) => break,
                }
            }
        });
    });
    let mut child = Running(
        program
            .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-CAfile", "ca.pem", "-verify_return_error"])
            .args(args)
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl"),
    );
    let info = told.recv_timeout(shard::PATIENCE).expect("a handshake");
    let mut to = child.0.stdin.take().expect("stdin");
    let mut from = BufReader::new(child.0.stdout.take().expect("stdout"));
    let mut seen = String::new();
    let mut until = |word: &str, seen: &mut String| {
        let mut line = String::new();
        while from.read_line(&mut line).expect("output") > 0 {
            seen.push_str(&line);
            if line.contains(word) {
                return true;
            }
            line.clear();
        }
        false
    };
    to.write_all(b"one echo\n").expect("write");
    assert!(until("one echo", &mut seen), "{seen}");
    let mut said = String::new();
    let mut errors = BufReader::new(child.0.stderr.take().expect("stderr"));
    if !command.is_empty() {
        to.write_all(format!("{command}\n").as_bytes()).expect("write");
        // A command is what a read begins with: the next line waits until it is understood.
        while !said.contains("KEYUPDATE") && !said.contains("RENEGOTIATING") {
            assert!(errors.read_line(&mut said).expect("stderr") > 0, "{said}");
        }
        let _ = to.write_all(b"another echo\n");
        until("another echo", &mut seen);
    }
    drop(to);
    server.join().expect("server");
    errors.read_to_string(&mut said).expect("stderr");
    Some((info, seen + &said))
}

#[test]
fn s_client_in_both_versions() {
    for (flag, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let args = [flag, "-servername", "LocalHost", "-alpn", "http/1.1,h2", "-verify_hostname", "localhost"];
        let Some((info, seen)) = client_says(&args, "", false) else { return };
        assert_eq!((info.version, info.server_name.as_deref()), (version, Some("localhost")), "{seen}");
        assert_eq!(info.alpn, tls::Alpn::H2, "the server's order counts");
        assert!(seen.contains("Verify return code: 0"), "{seen}");
    }
}

#[test]
fn s_client_shows_its_certificate() {
    for flag in ["-tls1_3", "-tls1_2"] {
        let Some((info, _)) = client_says(&[flag, "-cert", "cert.pem", "-key", "key.pem"], "", true) else { return };
        assert!(info.client_certificate.is_some());
    }
}

#[test]
fn s_client_updates_its_keys() {
    let Some((_, seen)) = client_says(&["-tls1_3"], "K", false) else { return };
    assert!(seen.contains("another echo"), "{seen}");
}

#[test]
fn s_client_is_not_given_a_renegotiation() {
    let Some((_, seen)) = client_says(&["-tls1_2"], "R", false) else { return };
    assert!(!seen.contains("another echo") && seen.contains("no renegotiation"), "{seen}");
}

#[test]
fn s_server_in_both_versions() {
    for (flag, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let Some(mut program) = openssl() else { return };
        let ca = Authority::new();
        let dir = tempfile::tempdir().expect("directory");
        let who = ca.issue("localhost");
        std::fs::write(dir.path().join("cert.pem"), &who.pem).expect("file");
        std::fs::write(dir.path().join("key.pem"), who.key_pair.serialize_pem()).expect("file");
        let mut child = Running(
            program
                .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem", "-rev", flag])
                .current_dir(dir.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("openssl"),
        );
        let mut lines = BufReader::new(child.0.stdout.take().expect("stdout")).lines();
        let address: SocketAddr = loop {
            let line = lines.next().expect("an address").expect("a line");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.parse().expect("an address");
            }
        };
        let config = Arc::new(ca.client(pki::ALL));
        let infos = shard::run(move |local| async move {
            let mut infos = Vec::new();
            for _ in 0..2 {
                let tcp = tcp::Stream::connect(&local.reactor, &address.into()).await.expect("connect");
                let s = tls::connect(tcp, config.clone(), pki::localhost()).await.expect("handshake");
                write_all(&s, b"abcdef\n").await.expect("write");
                assert_eq!(read_exact(&s, 7).await, b"fedcba\n");
                s.shutdown_write();
                let (_, end) = read_to_end(&s).await;
                end.expect("an orderly end");
                infos.push(s.tls().expect("TLS").clone());
            }
            infos
        });
        assert_eq!(
            infos.iter().map(|i| (i.version, i.resumed)).collect::<Vec<_>>(),
            [(version, false), (version, true)]
        );
    }
}
