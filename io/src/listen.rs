//! Listening sockets: TCP with one socket per shard, unix sockets by path and in the abstract namespace.
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    ffi::OsStr,
    fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// A non-blocking, close-on-exec TCP listener with `SO_REUSEPORT`, so that each shard can have its own on one address.
/// Accepted sockets inherit `TCP_NODELAY`. An IPv6 address listens for IPv6 alone. Port 0 takes a free port.
pub fn tcp(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Linux hands the listener's value to the sockets it accepts: one call here instead of one per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether `addr` is free: nobody listens there, not even with `SO_REUSEPORT`. Port 0 always is.
///
/// # Errors
/// `AddrInUse`, or whatever else would keep `tcp` from listening there.
pub fn probe(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process that are still closing do not count.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())
}

/// The TCP address that a listener really has: what port 0 became.
pub fn local_addr(listener: &impl AsFd) -> io::Result<SocketAddr> {
    let addr = socket2::SockRef::from(listener).local_addr()?;
    addr.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// A non-blocking, close-on-exec listener on a unix socket, and the owner of its name.
#[derive(Debug)]
pub struct UnixSocket {
    fd: OwnedFd,
    name: SocketName,
}

impl UnixSocket {
    /// One more descriptor of the same listener: every shard accepts from one queue.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// The descriptor, and the name's owner: the name goes when the owner is dropped.
    pub fn into_parts(self) -> (OwnedFd, SocketName) {
        (self.fd, self.name)
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Owns a socket's name in the file system: unlinks it when dropped, unless someone has replaced it meanwhile.
#[derive(Debug)]
pub struct SocketName {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketName {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}

/// Listens on the unix socket `path` with permissions `mode` (say 0o660).
///
/// A socket that is there already is replaced only when connecting to it is refused, which proves that nobody listens;
/// otherwise the answer is `AddrInUse`. Anything else of that name is left alone (`AlreadyExists`).
pub fn unix(path: &Path, mode: u32) -> io::Result<UnixSocket> {
    remove_stale(path)?;
    let file = fs::File::from(OwnedFd::from(unix_socket()?));
    // Before bind: the name is born with no more rights than this, so there is no moment of too many.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    let socket = Socket::from(OwnedFd::from(file));
    socket.bind(&SockAddr::unix(path)?)?;
    let name = SocketName { path: path.to_owned(), inode: inode(path)? };
    // After bind: the umask has taken its part of the bits; give them back.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(UnixSocket { fd: socket.into(), name })
}

/// Listens on a socket in the abstract namespace; `name` is without the leading NUL.
pub fn abstract_(name: &[u8]) -> io::Result<OwnedFd> {
    let socket = unix_socket()?;
    socket.bind(&abstract_addr(name)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The address of a socket in the abstract namespace; `name` is without the leading NUL.
pub fn abstract_addr(name: &[u8]) -> io::Result<SockAddr> {
    let mut address = Vec::with_capacity(name.len() + 1);
    address.push(0);
    address.extend_from_slice(name);
    SockAddr::unix(OsStr::from_bytes(&address))
}

fn unix_socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if !there.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else than a socket of that name"));
    }
    match unix_socket()?.connect(&SockAddr::unix(path)?) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        os::unix::net::{UnixListener, UnixStream},
    };

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn shards_share_a_port_and_sockets_inherit_nodelay() {
        let first = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = local_addr(&first).unwrap();
        assert_ne!(addr.port(), 0);
        let second = tcp(addr).unwrap();
        assert_eq!(local_addr(&second).unwrap(), addr);
        drop(second);
        let listener = TcpListener::from(first);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let _client = TcpStream::connect(addr).unwrap();
        let accepted = loop {
            match listener.accept() {
                Ok((s, _)) => break s,
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn v6_does_not_take_the_v4_port() {
        let Ok(six) = tcp("[::]:0".parse().unwrap()) else { return }; // no IPv6 here
        let port = local_addr(&six).unwrap().port();
        tcp(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    }

    #[test]
    fn unix_has_its_mode_and_its_name_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = unix(&path, 0o660).unwrap();
        assert_eq!(mode(&path), 0o660);
        let copy = UnixListener::from(socket.try_clone().unwrap());
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"x").unwrap();
        let (mut served, _) = copy.accept().unwrap();
        served.set_nonblocking(false).unwrap();
        let mut byte = [0];
        served.read_exact(&mut byte).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_socket_is_kept_and_a_dead_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let dead = UnixListener::bind(&path).unwrap();
        drop(dead); // std leaves the name behind
        let live = unix(&path, 0o600).unwrap();
        assert_eq!(unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        drop(live);
    }

    #[test]
    fn a_file_of_that_name_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "precious").unwrap();
        assert_eq!(unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_replaced_name_is_not_unlinked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let old = unix(&path, 0o600).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let _new = unix(&path, 0o600).unwrap();
        drop(old);
        assert!(path.exists());
    }

    #[test]
    fn abstract_names_work() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("edge-test-{}-{:p}", std::process::id(), &BACKLOG);
        let listener = abstract_(name.as_bytes()).unwrap();
        assert!(abstract_(name.as_bytes()).is_err());
        let addr = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        UnixStream::connect_addr(&addr).unwrap();
        drop(listener);
    }
}
