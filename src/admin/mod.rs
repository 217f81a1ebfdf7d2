//! The admin listener: metrics, health, status and reload over HTTP/1.1, on a unix socket or a TCP port of its own.
//! Never on a data port. What it shows and does comes from a [`Backend`]; it knows nobody above it.
pub mod client;
mod server;
pub mod view;

pub use server::{Listener, serve};

use std::{future::Future, pin::Pin};
use view::{Reload, Status};

/// A future of the control thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// What the admin listener asks of the house.
pub trait Backend: 'static {
    /// All metrics, in Prometheus' text format.
    fn metrics(&self) -> String;
    /// Whether every shard turns; if not, which does not.
    fn health(&self) -> Result<(), String>;
    /// Whether to send clients here; if not, why.
    fn ready(&self) -> Result<(), String>;
    /// Everything `edge status` shows.
    fn status(&self) -> Status;
    /// Reads the configuration again and applies it. Ends when all shards have acknowledged, or some have not in time.
    fn reload(&self) -> LocalFuture<Reload>;
}
