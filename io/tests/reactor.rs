//! Datagram sockets in a reactor: silent about their room until a writer waits, and gone when their source is.
use edge_io::{
    reactor::{Reactor, Source},
    ring::Driver,
};
use std::{
    io,
    net::UdpSocket,
    os::{
        fd::{OwnedFd, RawFd},
        unix::net::UnixDatagram,
    },
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One reactor for each driver that this kernel allows.
fn reactors() -> Vec<Rc<Reactor>> {
    [Driver::Epoll, Driver::IoUringPoll].into_iter().filter_map(|d| Reactor::new(d).ok()).collect()
}

fn readable(fd: RawFd, timeout_ms: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid `pollfd`, and the count says one.
    unsafe { libc::poll(&raw mut poll, 1, timeout_ms) == 1 }
}

/// Takes events until `task` was woken `times` times in all.
fn wait(reactor: &Reactor, task: &Task, times: usize) {
    while task.0.load(Ordering::Relaxed) < times {
        assert!(readable(reactor.as_raw_fd(), 10_000), "woken within 10 s");
        reactor.drain();
    }
}

#[test]
fn datagrams_that_go_out_are_no_events() {
    for reactor in reactors() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let source = reactor.register_datagrams(OwnedFd::from(socket.try_clone().unwrap())).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(source.poll_writable(&mut cx).is_ready());
        assert!(source.poll_readable(&mut cx).is_pending());
        for _ in 0..10 {
            socket.send_to(b"x", sink.local_addr().unwrap()).unwrap();
            sink.recv(&mut [0; 8]).unwrap(); // it has left the socket
            assert_eq!(reactor.drain(), 0);
        }
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        assert!(readable(reactor.as_raw_fd(), 10_000));
        assert_eq!(reactor.drain(), 1);
        assert!(source.poll_readable(&mut cx).is_ready());
    }
}

/// A pair of which the first has little room.
fn pair() -> (UnixDatagram, UnixDatagram) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    socket2::SockRef::from(&ours).set_send_buffer_size(1).unwrap(); // the kernel's least
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// Sends until there is no room: how many.
fn fill(ours: &UnixDatagram, source: &Source) -> usize {
    let mut sent = 0;
    loop {
        match ours.send(&[0; 500]) {
            Ok(_) => sent += 1,
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                source.not_writable();
                return sent;
            }
        }
    }
}

fn empty(theirs: &UnixDatagram, sent: usize) {
    (0..sent).for_each(|_| assert_eq!(theirs.recv(&mut [0; 1000]).unwrap(), 500));
}

#[test]
fn a_writer_that_waits_is_told_of_room_each_time() {
    for reactor in reactors() {
        let (ours, theirs) = pair();
        let source = reactor.register_datagrams(OwnedFd::from(ours.try_clone().unwrap())).unwrap();
        let task = Arc::new(Task::default());
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        for times in 1..=6 {
            let sent = fill(&ours, &source);
            assert!(sent > 0);
            assert!(source.poll_writable(&mut cx).is_pending());
            assert!(source.poll_writable(&mut cx).is_pending());
            empty(&theirs, sent);
            wait(&reactor, &task, times);
            // Every other time it tries to write without asking first.
            if times % 2 == 0 {
                assert!(source.poll_writable(&mut cx).is_ready());
            }
        }
        assert!(source.poll_writable(&mut cx).is_ready());
        while reactor.drain() > 0 {}
        // Nobody waits: nothing is told.
        ours.send(&[0; 500]).unwrap();
        empty(&theirs, 1);
        assert_eq!(reactor.drain(), 0);
    }
}

#[test]
fn room_that_came_before_the_writer_waited_is_told() {
    for reactor in reactors() {
        let (ours, theirs) = pair();
        let source = reactor.register_datagrams(OwnedFd::from(ours.try_clone().unwrap())).unwrap();
        let task = Arc::new(Task::default());
        let waker = Waker::from(task.clone());
        let sent = fill(&ours, &source);
        empty(&theirs, sent);
        assert!(source.poll_writable(&mut Context::from_waker(&waker)).is_pending());
        wait(&reactor, &task, 1);
        assert!(source.poll_writable(&mut Context::from_waker(&waker)).is_ready());
    }
}

#[test]
fn a_dropped_source_is_not_heard_of_though_the_socket_lives_on() {
    for reactor in reactors() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let source = reactor.register_datagrams(OwnedFd::from(socket.try_clone().unwrap())).unwrap();
        drop(source);
        while reactor.drain() > 0 {} // the end of the request itself
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        socket.peek(&mut [0; 8]).unwrap(); // it has arrived
        assert_eq!(reactor.drain(), 0);
    }
}
