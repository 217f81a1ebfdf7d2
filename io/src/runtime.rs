//! One pinned shard thread: its monoio runtime, its reactor and its timers, from start to stop.
use crate::{
    cores,
    reactor::{Reactor, Source},
    ring::Driver,
    tasks,
    timer::Timers,
};
use std::{
    cell::Cell,
    future::Future,
    io,
    os::fd::{AsRawFd, BorrowedFd},
    rc::Rc,
    thread::JoinHandle,
};

/// What belongs to one shard's thread.
#[derive(Clone)]
pub struct Local {
    /// Which shard, from 0.
    pub shard: usize,
    /// Readiness of its sockets.
    pub reactor: Rc<Reactor>,
    /// Its clock.
    pub timers: Rc<Timers>,
}

/// Starts shard `shard` on its own thread, pinned to `core` if given, and runs what `main` returns until it ends.
///
/// Errors: the thread, its ring or its descriptors could not be made.
pub fn spawn_shard<F, M>(shard: usize, core: Option<usize>, driver: Driver, main: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce(Local) -> M + Send + 'static,
    M: Future<Output = ()> + 'static,
{
    let (started, has_started) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name(format!("shard-{shard}")).spawn(move || {
        if let Some(core) = core {
            // Not being pinned costs speed, not correctness: a core may have left the set since it was read.
            let _ = cores::pin(core);
        }
        match local(shard, driver) {
            Ok(local) => {
                let _ = started.send(Ok(()));
                run(driver, local, main);
            }
            Err(e) => {
                let _ = started.send(Err(e));
            }
        }
    })?;
    match has_started.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(io::Error::other("the shard's thread ended before it began")),
    }
}

fn local(shard: usize, driver: Driver) -> io::Result<Local> {
    Ok(Local { shard, reactor: Reactor::new(driver)?, timers: Timers::new()? })
}

fn run<F, M>(driver: Driver, local: Local, main: F)
where
    F: FnOnce(Local) -> M,
    M: Future<Output = ()> + 'static,
{
    match driver {
        Driver::IoUring | Driver::IoUringPoll => {
            let mut ring = io_uring::IoUring::builder();
            ring.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
            let built =
                monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().uring_builder(ring).with_entries(256).build();
            match built {
                Ok(mut runtime) => runtime.block_on(drive(local, main)),
                Err(e) => eprintln!("edge: the shard's ring could not be made: {e}"),
            }
        }
        Driver::Epoll => match monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build() {
            Ok(mut runtime) => runtime.block_on(drive(local, main)),
            Err(e) => eprintln!("edge: the shard's epoll set could not be made: {e}"),
        },
    }
}

/// The loop: take events, fire timers, run tasks; when nothing is left to do, wait in monoio's ring for the reactor's
/// descriptor. While there is work no system call is made for the loop's own sake.
async fn drive<F, M>(local: Local, main: F)
where
    F: FnOnce(Local) -> M,
    M: Future<Output = ()> + 'static,
{
    let Ok((watch, _timer)) = watch(&local) else {
        return;
    };
    let done = Rc::new(Cell::new(false));
    tasks::spawn({
        let (main, done) = (main(local.clone()), Done(done.clone()));
        async move {
            let _done = done;
            main.await;
        }
    });
    while !done.get() {
        local.timers.turn();
        if local.reactor.drain() + tasks::run_ready() > 0 || tasks::any_ready() {
            continue;
        }
        local.timers.waits();
        if watch.readable(false).await.is_err() {
            break;
        }
    }
    tasks::drop_all();
}

/// Ends the loop, whether the shard's main task returns or panics: a shard that takes no commands must not go on.
struct Done(Rc<Cell<bool>>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// monoio waits for the reactor as for any descriptor, and the reactor for the timers.
fn watch(local: &Local) -> io::Result<(monoio::net::UnixStream, Source)> {
    let timer = local.reactor.register(local.timers.try_clone_fd()?)?;
    // SAFETY: the reactor's descriptor is open: `local` holds the reactor.
    let reactor = unsafe { BorrowedFd::borrow_raw(local.reactor.as_raw_fd()) }.try_clone_to_owned()?;
    // Any pollable descriptor will do for waiting; it is never read or written through this type.
    let watch = monoio::net::UnixStream::from_std(std::os::unix::net::UnixStream::from(reactor))?;
    debug_assert!(watch.as_raw_fd() >= 0);
    Ok((watch, timer))
}
