//! The other end: rustls' buffered interface, blocking, on a thread of its own.
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData, StreamOwned};
use std::{
    io::{self, Read, Write},
    ops::{Deref, DerefMut},
    os::unix::net::UnixStream,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// A small deterministic generator (xorshift).
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 1 to `most`, small numbers as likely as large ones.
    pub fn up_to(&mut self, most: usize) -> usize {
        let most = 1 + (self.next() as usize % most.max(1));
        1 + self.next() as usize % most
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }
}

/// A socket whose reads and writes are cut at random places.
pub struct Ragged {
    pub inner: UnixStream,
    dice: Dice,
    most: usize,
}

impl Ragged {
    pub fn new(inner: UnixStream, seed: u64, most: usize) -> Ragged {
        inner.set_read_timeout(Some(super::shard::PATIENCE)).expect("timeout");
        inner.set_write_timeout(Some(super::shard::PATIENCE)).expect("timeout");
        Ragged { inner, dice: Dice::new(seed), most }
    }
}

impl Read for Ragged {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.dice.up_to(self.most).min(buf.len());
        self.inner.read(&mut buf[..n])
    }
}

impl Write for Ragged {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.dice.up_to(self.most).min(buf.len());
        self.inner.write(&buf[..n])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub type Server = StreamOwned<ServerConnection, Ragged>;
pub type Client = StreamOwned<ClientConnection, Ragged>;

pub fn server(end: UnixStream, config: ServerConfig, seed: u64, most: usize) -> Server {
    let conn = ServerConnection::new(Arc::new(config)).expect("server");
    StreamOwned::new(conn, Ragged::new(end, seed, most))
}

pub fn client(end: UnixStream, config: ClientConfig, seed: u64, most: usize) -> Client {
    let conn = ClientConnection::new(Arc::new(config), super::pki::localhost()).expect("client");
    StreamOwned::new(conn, Ragged::new(end, seed, most))
}

/// Finishes the handshake and nothing more.
pub fn shake<C, S>(stream: &mut StreamOwned<C, Ragged>) -> io::Result<()>
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>>,
    S: SideData,
{
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(())
}

/// Sends back whatever comes, until the end; then says goodbye. How the end looked.
pub fn echo<C, S>(mut stream: StreamOwned<C, Ragged>) -> JoinHandle<io::Result<()>>
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>> + Send + 'static,
    S: SideData + 'static,
{
    thread::spawn(move || {
        let mut buf = vec![0; 50_000];
        loop {
            let n = stream.read(&mut buf)?;
            if n == 0 {
                stream.conn.send_close_notify();
                stream.flush()?;
                return Ok(());
            }
            stream.write_all(&buf[..n])?;
            stream.flush()?;
        }
    })
}
