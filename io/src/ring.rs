//! Which driver a shard can have: io_uring, or epoll alone where io_uring is denied or too old.
use std::{fmt, io};

/// What a shard waits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The thread sleeps in an io_uring, which watches an epoll set of the sockets.
    IoUring,
    /// The same, with multishot poll requests on a second ring in place of the epoll set: 5 % dearer per request where
    /// it was measured (docs/DECISIONS.md), and there to be measured again on other kernels.
    IoUringPoll,
    /// epoll alone, where io_uring is denied.
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::IoUring => "io_uring",
            Driver::IoUringPoll => "io_uring_poll",
            Driver::Epoll => "epoll",
        })
    }
}

/// The driver this kernel allows, and why not io_uring if it does not.
///
/// `EDGE_DRIVER=epoll` chooses epoll; `io_uring` and `io_uring_poll` make a kernel that denies it an error.
pub fn choose() -> io::Result<(Driver, Option<String>)> {
    match std::env::var("EDGE_DRIVER").as_deref() {
        Ok("epoll") => return Ok((Driver::Epoll, Some("EDGE_DRIVER=epoll".to_owned()))),
        Ok("io_uring") => return probe().map(|()| (Driver::IoUring, None)),
        Ok("io_uring_poll") => return probe().map(|()| (Driver::IoUringPoll, None)),
        Ok("") | Ok("auto") | Err(_) => {}
        Ok(other) => {
            let why = format!("EDGE_DRIVER={other}: expected `io_uring`, `io_uring_poll`, `epoll` or `auto`");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    }
    Ok(match probe() {
        Ok(()) => (Driver::IoUring, None),
        Err(e) => (Driver::Epoll, Some(e.to_string())),
    })
}

/// Makes a small ring with the flags the shards use, and checks the one operation they need.
///
/// Multishot poll came with Linux 5.13, `SINGLE_ISSUER` with 6.0 and `DEFER_TASKRUN` with 6.1: older kernels get epoll.
fn probe() -> io::Result<()> {
    let ring: io_uring::IoUring = io_uring::IoUring::builder().setup_single_issuer().setup_coop_taskrun().build(8)?;
    let _deferred: io_uring::IoUring =
        io_uring::IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8)?;
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [io_uring::opcode::PollAdd::CODE, io_uring::opcode::PollRemove::CODE];
    match needed.iter().all(|op| probe.is_supported(*op)) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel's io_uring has no poll operation")),
    }
}
