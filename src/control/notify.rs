//! Tells the service manager how it goes: the `sd_notify(3)` protocol, one datagram per change.
use edge_io::clock::monotonic_us;
use std::os::{
    linux::net::SocketAddrExt,
    unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
};

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Every shard serves, at first or again after a reload.
    Ready,
    /// A reload begins.
    Reloading,
    /// The end begins.
    Stopping,
}

/// Tells whoever `NOTIFY_SOCKET` names; without it nobody asked.
pub fn notify(state: State) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let message = match state {
        State::Ready => "READY=1\n".to_owned(),
        // The manager drops messages that are older than its own request to reload.
        State::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_us()),
        State::Stopping => "STOPPING=1\n".to_owned(),
    };
    // A manager that does not listen is no reason not to serve.
    let _ = send(socket.as_bytes(), message.as_bytes());
}

/// `@name` is in the abstract namespace.
fn send(socket: &[u8], message: &[u8]) -> std::io::Result<()> {
    let to = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    let from = UnixDatagram::unbound()?;
    from.set_nonblocking(true)?;
    from.send_to_addr(message, &to).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("edge-test-notify-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        for (manager, socket) in
            [(by_path, path.as_os_str().as_bytes().to_vec()), (by_name, format!("@{name}").into_bytes())]
        {
            send(&socket, b"READY=1\n").unwrap();
            let mut buffer = [0; 64];
            let n = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], b"READY=1\n");
        }
        assert!(send(b"/no/such/socket", b"x").is_err());
    }
}
