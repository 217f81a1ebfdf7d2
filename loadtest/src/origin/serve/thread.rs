//! One thread of an origin: its runtime, its listeners, its connections.
use super::sockets::Listener;
use crate::origin::{
    connection::{self, Speaks},
    counts::Counts,
    desk::{Desk, Shared},
    wire::Stream,
};
use edge_io::cores;
use std::{
    cell::Cell,
    io,
    rc::Rc,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
    task::{LocalSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

/// Connections of one thread: beyond, they are closed as they come.
const CONNECTIONS_MAX: usize = 100_000;
/// Without descriptors left: so long others get to close theirs.
const NO_DESCRIPTORS: Duration = Duration::from_millis(20);

/// A running one; it ends when dropped.
#[derive(Debug)]
pub(super) struct Thread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.handle.take().map(JoinHandle::join);
    }
}

/// What one thread is started with.
pub(super) struct Part {
    pub shared: Shared,
    pub index: usize,
    pub counts: Arc<Counts>,
    pub listeners: Vec<Listener>,
    pub acceptor: Option<TlsAcceptor>,
    pub speaks: Speaks,
    pub core: Option<usize>,
}

impl Part {
    /// Starts it; when this returns, it takes connections.
    pub fn start(self) -> io::Result<Thread> {
        let (stop, stopped) = oneshot::channel();
        let (started, has_started) = mpsc::channel();
        let handle = std::thread::Builder::new().name(format!("origin-{}", self.index)).spawn(move || {
            if let Some(core) = self.core {
                // Not being pinned costs speed, not correctness.
                let _ = cores::pin(core);
            }
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(e) => return drop(started.send(Err(e))),
            };
            let tasks = LocalSet::new();
            runtime.block_on(tasks.run_until(async {
                let begun = self.begin();
                let is_begun = begun.is_ok();
                let _ = started.send(begun);
                if is_begun {
                    let _ = stopped.await;
                }
            }));
        })?;
        let thread = Thread { stop: Some(stop), handle: Some(handle) };
        has_started.recv().unwrap_or_else(|_| Err(io::Error::other("the origin's thread ended before it began")))?;
        Ok(thread)
    }

    fn begin(self) -> io::Result<()> {
        let desk = Desk::new(&self.shared, self.index as u64, self.counts)?;
        spawn_local({
            let desk = desk.clone();
            async move { desk.alarms.run().await }
        });
        let open = Rc::new(Cell::new(0));
        for listener in self.listeners {
            let accept =
                Accept { desk: desk.clone(), acceptor: self.acceptor.clone(), speaks: self.speaks, open: open.clone() };
            match listener {
                Listener::Tcp(fd) => {
                    let listener = TcpListener::from_std(fd.into())?;
                    spawn_local(async move {
                        loop {
                            accept.take(listener.accept().await.map(|(tcp, _)| Stream::Tcp(tcp))).await;
                        }
                    });
                }
                Listener::Unix(fd) => {
                    let listener = UnixListener::from_std(fd.into())?;
                    spawn_local(async move {
                        loop {
                            accept.take(listener.accept().await.map(|(unix, _)| Stream::Unix(unix))).await;
                        }
                    });
                }
            }
        }
        Ok(())
    }
}

/// What becomes of the connections of one listener.
struct Accept {
    desk: Rc<Desk>,
    acceptor: Option<TlsAcceptor>,
    speaks: Speaks,
    /// Of the whole thread.
    open: Rc<Cell<usize>>,
}

impl Accept {
    async fn take(&self, accepted: io::Result<Stream>) {
        let Ok(stream) = accepted else { return tokio::time::sleep(NO_DESCRIPTORS).await };
        self.desk.counts.connections.inc();
        if self.open.get() >= CONNECTIONS_MAX {
            return self.desk.counts.not_served.inc();
        }
        self.open.set(self.open.get() + 1);
        let place = Place(self.open.clone());
        let (desk, acceptor, speaks) = (self.desk.clone(), self.acceptor.clone(), self.speaks);
        spawn_local(async move {
            let _place = place;
            connection::serve(desk, stream, acceptor, speaks).await;
        });
    }
}

/// Counted as open until it is dropped.
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
