//! Options of UDP sockets that no crate below sets as we want them.
use quinn_udp::{UdpSockRef, UdpSocketState};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
};

/// Sets what a QUIC socket needs: non-blocking, ECN bits and GRO on receipt, no fragmentation (RFC 9000 14), and the
/// local address of each datagram where `local` has none of its own. Harmless when done again.
pub(crate) fn prepare(socket: &impl AsFd, local: SocketAddr) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    // Nobody here reads the time stamps; the kernel then need not take them.
    let _ = set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0);
    let wildcard = libc::c_int::from(local.ip().is_unspecified());
    match local {
        SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, wildcard)?,
        SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, wildcard)?,
    }
    Ok(state)
}

/// Sets one option that is a number.
pub(crate) fn set(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which lives through the call.
    let done = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the reuseport group of `socket` a classic BPF program: its answer is the index of the socket that gets the
/// datagram. Needs no privilege. Replaces an earlier one.
pub(crate) fn attach_reuseport_filter(socket: &impl AsFd, filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the kernel copies `program` and the `len` instructions it points to; both live through the call.
    let done = unsafe {
        let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF);
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const program).cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
