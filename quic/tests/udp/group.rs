//! Groups: exclusive addresses, options of their sockets, and when the address is given back.
use crate::support::{V4, group, loopbacks, peer};
use edge_quic::group::{Buffers, Group, Steering, Wanted};
use socket2::SockRef;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

fn bind(addr: SocketAddr, shards: usize) -> io::Result<std::sync::Arc<Group>> {
    Group::bind(addr, shards, Wanted::Auto, Buffers::default())
}

fn assert_refused(addr: SocketAddr) {
    for shards in [1, 2] {
        assert_eq!(bind(addr, shards).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

#[test]
fn an_address_that_somebody_has_is_refused() {
    for ip in loopbacks() {
        let other = peer(ip);
        assert_refused(other.local_addr().unwrap());
    }
}

#[test]
fn a_socket_that_would_share_is_refused_too() {
    for ip in loopbacks() {
        for shards in [1, 2] {
            let ours = group(ip, shards, Wanted::Auto);
            assert_refused(ours.local_addr());
        }
    }
    let ours = group(V4, 2, Wanted::Auto);
    assert_refused(SocketAddr::from((Ipv4Addr::UNSPECIFIED, ours.local_addr().port())));
}

#[test]
fn the_address_is_free_when_all_descriptors_are_gone() {
    let ours = group(V4, 2, Wanted::Auto);
    let addr = ours.local_addr();
    let copy = ours.fd(1).unwrap();
    drop(ours);
    assert_refused(addr);
    drop(copy);
    assert_eq!(bind(addr, 2).unwrap().local_addr(), addr);
}

#[test]
fn all_sockets_are_on_one_port_and_not_inherited_by_children() {
    for ip in loopbacks() {
        let ours = group(ip, 5, Wanted::Auto);
        assert_ne!(ours.local_addr().port(), 0);
        assert_eq!(ours.shards(), 5);
        for n in 0..5 {
            let socket = UdpSocket::from(ours.fd(n).unwrap());
            assert_eq!(socket.local_addr().unwrap(), ours.local_addr());
            assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            // SAFETY: no pointers.
            let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
        assert_eq!(ours.fd(5).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn v6_does_not_take_the_v4_port() {
    // Several times: somebody else may have that port.
    assert!((0..10).any(|_| {
        let Ok(six) = bind((Ipv6Addr::UNSPECIFIED, 0).into(), 2) else { return true }; // no IPv6 here
        bind((Ipv4Addr::UNSPECIFIED, six.local_addr().port()).into(), 2).is_ok()
    }));
}

#[test]
fn numbers_of_shards_have_bounds() {
    for shards in [0, 257, usize::MAX] {
        assert_eq!(bind((V4, 0).into(), shards).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(group(V4, 1, Wanted::Forward).steering(), Steering::Kernel, "with one there is nothing to forward");
}

#[test]
fn groups_have_their_own_numbers() {
    let (a, b) = (group(V4, 1, Wanted::Auto), group(V4, 1, Wanted::Auto));
    assert_ne!(a.id(), b.id());
}

#[test]
fn buffers_are_told_as_granted() {
    let asked = Buffers { receive: 65_536, send: 32_768 };
    let ours = Group::bind((V4, 0).into(), 2, Wanted::Auto, asked).unwrap();
    assert_eq!(ours.buffers(), asked);
    for n in 0..2 {
        let fd = ours.fd(n).unwrap();
        assert_eq!(SockRef::from(&fd).recv_buffer_size().unwrap(), 2 * asked.receive);
        assert_eq!(SockRef::from(&fd).send_buffer_size().unwrap(), 2 * asked.send);
    }
    let asked = Buffers { receive: 1 << 40, send: 1 << 40 };
    let granted = Group::bind((V4, 0).into(), 1, Wanted::Auto, asked).unwrap().buffers();
    assert!(granted.receive < asked.receive && granted.send < asked.send);
    assert!(granted.receive > 4096 && granted.send > 4096, "{granted:?}");
}
