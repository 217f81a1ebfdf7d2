//! Runs the tested half on a shard, over socket pairs, and helps it to read and write.
use edge_io::{
    ring,
    runtime::{self, Local},
    stream::Stream,
    tcp, tls,
};
use std::{
    future::{Future, poll_fn},
    io,
    os::unix::net::UnixStream,
    sync::{Arc, mpsc},
    time::Duration,
};

/// What a test waits for at most: it is broken then.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `main` on a shard of its own and returns what it returns.
pub fn run<T, F, M>(main: F) -> T
where
    T: Send + 'static,
    F: FnOnce(Local) -> M + Send + 'static,
    M: Future<Output = T> + 'static,
{
    let (tell, told) = mpsc::channel();
    let (driver, _) = ring::choose().expect("a driver");
    let thread = runtime::spawn_shard(0, None, driver, move |local| {
        let work = main(local);
        async move {
            let _ = tell.send(work.await);
        }
    })
    .expect("shard");
    let result = told.recv_timeout(PATIENCE).expect("the shard gave no answer");
    thread.join().expect("shard");
    result
}

/// Two ends of a connection. With `tiny` the kernel buffers as little as it can.
pub fn pair(tiny: bool) -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().expect("socket pair");
    if tiny {
        for end in [&a, &b] {
            socket2::SockRef::from(end).set_send_buffer_size(1).expect("SO_SNDBUF");
        }
    }
    (a, b)
}

/// One end as a socket of the shard.
pub fn adopt(local: &Local, end: UnixStream) -> tcp::Stream {
    end.set_nonblocking(true).expect("non-blocking");
    tcp::Stream::from_fd(&local.reactor, end.into()).expect("stream")
}

/// Reads once.
pub async fn read(stream: &Stream, room: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| {
        loop {
            std::task::ready!(stream.poll_readable(cx));
            match stream.try_recv(room) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return std::task::Poll::Ready(done),
            }
        }
    })
    .await
}

/// Reads until the end.
pub async fn read_to_end(stream: &Stream) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    let mut room = [0; 4096];
    loop {
        match read(stream, &mut room).await {
            Ok(0) => return (all, Ok(())),
            Ok(n) => all.extend_from_slice(&room[..n]),
            Err(e) => return (all, Err(e)),
        }
    }
}

/// Reads exactly so much.
pub async fn read_exact(stream: &Stream, n: usize) -> Vec<u8> {
    let mut all = vec![0; n];
    let mut have = 0;
    while have < n {
        match read(stream, &mut all[have..]).await {
            Ok(0) => panic!("ended after {have} of {n}"),
            Ok(more) => have += more,
            Err(e) => panic!("{e} after {have} of {n}"),
        }
    }
    all
}

/// Writes once.
pub async fn write(stream: &Stream, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
    poll_fn(|cx| {
        loop {
            match stream.try_sendv(parts) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::task::ready!(stream.poll_writable(cx)),
                done => return std::task::Poll::Ready(done),
            }
        }
    })
    .await
}

/// Writes everything and waits until the kernel has it.
pub async fn write_all(stream: &Stream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let n = write(stream, &[io::IoSlice::new(data)]).await?;
        data = &data[n..];
    }
    flush(stream).await
}

/// A client's side that does not keep the end of its handshake for the first write.
pub async fn connected(tcp: tcp::Stream, config: Arc<rustls::ClientConfig>) -> Stream {
    let s = tls::connect(tcp, config, super::pki::localhost()).await.expect("client's side");
    flush(&s).await.expect("flush");
    s
}

pub async fn flush(stream: &Stream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_flush(cx)).await
}

/// Both at once.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    poll_fn(|cx| {
        if of_a.is_none()
            && let std::task::Poll::Ready(v) = a.as_mut().poll(cx)
        {
            of_a = Some(v);
        }
        if of_b.is_none()
            && let std::task::Poll::Ready(v) = b.as_mut().poll(cx)
        {
            of_b = Some(v);
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => std::task::Poll::Ready((a, b)),
            (a, b) => {
                (of_a, of_b) = (a, b);
                std::task::Poll::Pending
            }
        }
    })
    .await
}
