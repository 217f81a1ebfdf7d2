//! The scripted origin: `edge bench serve`, and what tests, documentation and the demo send requests to.
//!
//! | room | what it holds |
//! |---|---|
//! | `script` | what each request is answered, and when (pure) |
//! | `desk` | what one thread works with: the script, chance, the clock, counts |
//! | `alarm` | waiting to the microsecond |
//! | `serve` | sockets and threads, from start to end |
//! | `connection`, `wire`, `orders` | one connection over TCP or a unix socket, and what the script does to it as a whole |
//! | `http`, `payload` | one request over HTTP/1.1 or HTTP/2, over hyper |
//! | `http3` | the same over the project's own QUIC endpoint |
//! | `websocket` | the echo |
//! | `echo` | a preset that tells what it was asked |
//!
//! *Never trusted with anything but tests: it does what a query asks for.*
mod alarm;
mod connection;
mod counts;
mod desk;
mod echo;
mod http;
mod http3;
mod orders;
mod payload;
pub mod script;
mod serve;
mod tls;
mod websocket;
mod wire;

pub use counts::Stats;
pub use echo::Origin;
pub use script::Script;
pub use serve::{Address, Options, Running, Serve};
pub use tls::Tls;

/// Between two events, where nothing else is said, µs.
const EVENTS_EVERY_US: u64 = 100_000;
