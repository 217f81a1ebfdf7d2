//! Over a path with a long round trip, the edge sends about as fast as quinn's own server does.
use crate::{
    client::{Client, config, run},
    harness::{Driver, tls},
    relay::{Relay, Weather, socket},
    site::{Body, MIB, Site, udp_addr},
    suite,
};
use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use std::{
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

suite! {
    "pace";
    each_driver: as_fast_as_quinn;
    once: as_fast_as_quinn_with_loss;
}

const LENGTH: usize = 20 * MIB;
/// The least share of quinn's speed. Far below what is seen: machines are busy.
const SHARE: f64 = 0.5;

fn as_fast_as_quinn(driver: Driver) {
    compare(driver, Weather { delay: Duration::from_millis(10), ..Weather::fair() }, LENGTH);
}

fn as_fast_as_quinn_with_loss() {
    let weather = Weather { seed: 5, loss: 5, delay: Duration::from_millis(10), ..Weather::fair() };
    compare(Driver::IoUring, weather, 2 * MIB);
}

/// Several times, for others use this machine too.
fn compare(driver: Driver, weather: Weather, length: usize) {
    let quinn = Quinn::start();
    let site = Site::new();
    // As much on the way as quinn allows itself: it is the pace that is compared, not a bound.
    let text = site.text("127.0.0.1:0", "http3 = { send_buffer = \"10000000B\" }\n", "");
    let edge = site.setup(driver, 1, "auto").text(&text).start();
    let speed = |seconds: f64| length as f64 / MIB as f64 / seconds;
    let shares = (0..3).map(|_| {
        let (theirs, ours) = (seconds(quinn.addr, weather, length), seconds(udp_addr(&edge), weather, length));
        let share = theirs / ours;
        let (theirs, ours) = (speed(theirs), speed(ours));
        println!("{} MiB: quinn {theirs:.1} MiB/s, edge {ours:.1} MiB/s, ratio {share:.2}", length / MIB);
        share
    });
    let shares: Vec<f64> = shares.collect();
    assert!(shares.iter().any(|share| *share >= SHARE), "shares of quinn's speed: {shares:?}");
}

/// How long a download takes on a connection that is there.
fn seconds(to: SocketAddr, weather: Weather, length: usize) -> f64 {
    let relay = Relay::start(to, weather);
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window((16 * MIB as u32).into());
    let mut config = config();
    config.transport_config(Arc::new(transport));
    run(async {
        let client = Client::connect_with(relay.addr(), config).await;
        client.download(1000).await;
        let begun = Instant::now();
        client.download(length).await;
        begun.elapsed().as_secs_f64()
    })
}

/// A server of quinn's and h3's that answers `/bytes/N`, until dropped.
struct Quinn {
    addr: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Quinn {
    fn start() -> Quinn {
        let socket = socket(std::net::Ipv4Addr::LOCALHOST.into());
        let addr = socket.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(socket) => {}
                    _ = stopped => {}
                }
            });
        });
        Quinn { addr, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Quinn {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(socket: std::net::UdpSocket) {
    let tls = tls::pki().edge.server(&["h3"]);
    let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 is among the versions");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint =
        quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(config), socket, runtime).expect("an endpoint");
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = h3_quinn::Connection::new(incoming.await.ok()?);
            let mut connection = h3::server::Connection::<_, Bytes>::new(connection).await.ok()?;
            while let Ok(Some(resolver)) = connection.accept().await {
                tokio::spawn(async move {
                    let (request, mut stream) = resolver.resolve_request().await.ok()?;
                    let length = request.uri().path().rsplit('/').next()?.parse().ok()?;
                    stream.send_response(http::Response::new(())).await.ok()?;
                    let mut body = Body::new(length);
                    while let Some(piece) = body.next() {
                        stream.send_data(Bytes::copy_from_slice(piece)).await.ok()?;
                    }
                    stream.finish().await.ok()
                });
            }
            Some(())
        });
    }
}
