//! The floor on this machine: a byte forwarder over the shard's own loop, without HTTP.
//!
//! `forward LISTEN_PORT UPSTREAM_PORT [CORE]`
use edge_io::{buf::Buf, listen, reactor::Reactor, ring, runtime, tasks, tcp};
use std::{future::poll_fn, net::SocketAddr, pin::pin, rc::Rc, task::Poll};

async fn pump(from: &tcp::Stream, to: &tcp::Stream) {
    let mut buf = Buf::small();
    while let Ok(1..) = from.recv(&mut buf).await {
        while !buf.is_empty() {
            match to.try_send(buf.filled()) {
                Ok(n) => buf.consume(n),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => poll_fn(|cx| to.poll_writable(cx)).await,
                Err(_) => return,
            }
        }
    }
}

async fn connection(reactor: Rc<Reactor>, client: tcp::Stream, upstream: SocketAddr) {
    let Ok(origin) = tcp::Stream::connect(&reactor, &upstream.into()).await else { return };
    let (mut up, mut down) = (pin!(pump(&client, &origin)), pin!(pump(&origin, &client)));
    poll_fn(|cx| match (up.as_mut().poll(cx), down.as_mut().poll(cx)) {
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u16>().expect("a number"));
    let (listen_port, upstream_port) = (args.next().expect("LISTEN_PORT"), args.next().expect("UPSTREAM_PORT"));
    let (driver, _) = ring::choose()?;
    let fd = listen::tcp(SocketAddr::from(([127, 0, 0, 1], listen_port)))?;
    let upstream = SocketAddr::from(([127, 0, 0, 1], upstream_port));
    let shard = runtime::spawn_shard(0, args.next().map(usize::from), driver, move |local| async move {
        let listener = tcp::Listener::from_fd(&local.reactor, fd).expect("listener");
        while let Ok((fd, _)) = poll_fn(|cx| listener.poll_accept(cx)).await {
            tcp::set_nodelay(&fd);
            if let Ok(client) = tcp::Stream::from_fd(&local.reactor, fd) {
                tasks::spawn(connection(local.reactor.clone(), client, upstream));
            }
        }
    })?;
    shard.join().expect("shard");
    Ok(())
}
