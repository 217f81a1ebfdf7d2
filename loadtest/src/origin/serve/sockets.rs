//! All sockets of an origin, opened before any thread starts: what cannot be listened on is known by then.
use super::Address;
use edge_io::listen::{self, SocketName};
use edge_quic::group::{Buffers, Group, Wanted};
use std::{io, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

/// How often a free port is looked for that UDP has free as well.
const PORTS_TRIED: usize = 16;
/// Who may connect to a unix socket.
const SOCKET_MODE: u32 = 0o660;

/// A listening socket of one thread.
pub(super) enum Listener {
    Tcp(OwnedFd),
    Unix(OwnedFd),
}

/// All sockets, before they are handed to their threads.
#[derive(Default)]
pub(super) struct Sockets {
    pub addresses: Vec<Address>,
    pub per_thread: Vec<Vec<Listener>>,
    pub groups: Vec<Arc<Group>>,
    pub names: Vec<SocketName>,
}

impl Sockets {
    /// Opens an address for every thread: for TCP, for UDP, or for both on one port.
    pub fn open(&mut self, address: &Address, streams: bool, datagrams: bool) -> io::Result<()> {
        let bound = match address {
            Address::Unix(path) => {
                let socket = listen::unix(path, SOCKET_MODE)?;
                for listeners in &mut self.per_thread {
                    listeners.push(Listener::Unix(socket.try_clone()?));
                }
                self.names.push(socket.into_parts().1);
                address.clone()
            }
            Address::Ip(addr) => Address::Ip(self.open_ip(*addr, streams, datagrams)?),
        };
        self.addresses.push(bound);
        Ok(())
    }

    fn open_ip(&mut self, addr: SocketAddr, streams: bool, datagrams: bool) -> io::Result<SocketAddr> {
        let threads = self.per_thread.len();
        let udp = |addr| Group::bind(addr, threads, Wanted::Auto, Buffers::default());
        let mut tries = if addr.port() == 0 { PORTS_TRIED } else { 1 };
        loop {
            tries -= 1;
            let mut tcp = Vec::new();
            let mut bound = addr;
            if streams {
                listen::probe(addr)?;
                for _ in 0..threads {
                    let socket = listen::tcp(bound)?;
                    bound = listen::local_addr(&socket)?;
                    tcp.push(Listener::Tcp(socket));
                }
            }
            if datagrams {
                match udp(bound) {
                    Ok(group) => {
                        bound = group.local_addr();
                        self.groups.push(group);
                    }
                    Err(_) if tries > 0 => continue,
                    Err(e) => return Err(e),
                }
            }
            self.per_thread.iter_mut().zip(tcp).for_each(|(listeners, socket)| listeners.push(socket));
            return Ok(bound);
        }
    }
}
