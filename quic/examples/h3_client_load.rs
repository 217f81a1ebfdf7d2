//! What the HTTP/3 client costs by itself: a closed loop on one thread, without recording, and the CPU that it took.
//!
//! `h3_client_load CONNECTIONS STREAMS SECONDS CORE https://IP:PORT/PATH [table]`
use edge_io::{ring, runtime};
use edge_quic::{
    client::{Client, Event, Prepared, Settings},
    crypto::ClientCrypto,
    h3::{ErrorCode, RequestHead},
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Any certificate will do.
#[derive(Debug)]
struct Any(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn crypto() -> Arc<ClientCrypto> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Any(provider))).with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec()];
    Arc::new(ClientCrypto::new(Arc::new(config)).expect("a configuration for QUIC"))
}

#[derive(Default)]
struct Counts {
    answers: Cell<u64>,
    failures: Cell<u64>,
    body: Cell<u64>,
}

fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get() + n);
}

async fn connection(
    client: Rc<Client>,
    remote: std::net::SocketAddr,
    request: Rc<Prepared>,
    streams: usize,
    end: Instant,
    counts: Rc<Counts>,
) {
    let mut connection = client.connect(remote, "localhost").expect("a socket");
    if let Err(e) = connection.connected(Duration::from_secs(5)).await {
        return eprintln!("{e}");
    }
    poll_fn(|cx| {
        connection.turn(cx, &mut |_, event| match event {
            Event::Data(data) => add(&counts.body, data.len() as u64),
            Event::End => add(&counts.answers, 1),
            Event::Failed(_) => add(&counts.failures, 1),
            Event::Head(_) | Event::Trailers(_) => {}
        });
        let over = Instant::now() >= end || connection.lost().is_some();
        while !over && connection.requests() < streams && connection.open(&request).is_some() {}
        connection.flush(cx);
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    if let Some(lost) = connection.lost() {
        eprintln!("{lost}");
    }
    connection.close(ErrorCode::H3_NO_ERROR);
}

fn cpu() -> Duration {
    // SAFETY: all zeroes is a valid `rusage`, which the call fills in and which lives through it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|a| a.parse::<usize>().ok());
    let (Some(connections), Some(streams), Some(seconds), Some(core), Some(url)) =
        (number(0), number(1), number(2), number(3), args.get(4).cloned())
    else {
        return eprintln!("h3_client_load CONNECTIONS STREAMS SECONDS CORE https://IP:PORT/PATH [table]");
    };
    let table = args.get(5).is_some_and(|a| a == "table");
    let rest = url.strip_prefix("https://").expect("https");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (authority, path) = (authority.to_owned(), format!("/{path}"));
    let (driver, _) = ring::choose().expect("a driver");
    let thread = runtime::spawn_shard(0, Some(core), driver, move |local| async move {
        let mut settings = Settings::default();
        if table {
            (settings.h3.table_bytes, settings.h3.blocked_streams) = (4096, 16);
        }
        let client = Client::new(&local.reactor, &local.timers, crypto(), &settings).expect("a client");
        let head = RequestHead {
            method: b"GET",
            scheme: b"https",
            authority: authority.as_bytes(),
            path: path.as_bytes(),
            protocol: None,
        };
        let request = Rc::new(Prepared::new(&head, std::iter::empty(), &bytes::Bytes::new()));
        let counts = Rc::new(Counts::default());
        let (begin, before) = (Instant::now(), cpu());
        let end = begin + Duration::from_secs(seconds as u64);
        let remote = authority.parse().expect("IP:PORT");
        for _ in 0..connections {
            let task = connection(client.clone(), remote, request.clone(), streams, end, counts.clone());
            edge_io::tasks::spawn(task);
        }
        let timer = edge_io::timer::Timer::new(&local.timers);
        timer.set(Duration::from_secs(seconds as u64));
        timer.fired().await;
        let (took, cpu) = (begin.elapsed(), cpu() - before);
        println!(
            "{{\"requests\": {}, \"failures\": {}, \"body\": {}, \"secs\": {:.3}, \"cpu\": {:.3}, \"per_cpu_second\": {:.0}}}",
            counts.answers.get(),
            counts.failures.get(),
            counts.body.get(),
            took.as_secs_f64(),
            cpu.as_secs_f64(),
            counts.answers.get() as f64 / cpu.as_secs_f64(),
        );
    });
    let _ = thread.expect("a thread").join();
}
