//! A bounded mailbox per shard: any thread sends, one shard receives, an eventfd wakes it.
//!
//! This is the cold path (a reload, a drain): a mutex around a queue is enough, and simple to trust.
use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The mailbox is full, or its receiver is gone. The message comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full")
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mailbox is full or closed")
    }
}

impl<T> std::error::Error for Full<T> {}

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    /// Readable while there may be mail.
    wake: File,
}

struct Queue<T> {
    items: VecDeque<T>,
    capacity: usize,
    receiver_gone: bool,
}

impl<T> Shared<T> {
    /// A panic while the lock is held cannot leave the queue half-changed, so poison says nothing.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts messages in; any number of clones, from any thread.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

/// Takes messages out; the one end that a shard holds.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

/// A mailbox for up to `capacity` messages (at least one). Errors are those of `eventfd(2)`.
pub fn channel<T: Send>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let capacity = capacity.max(1);
    let queue = Queue { items: VecDeque::with_capacity(capacity), capacity, receiver_gone: false };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), wake: eventfd()? });
    Ok((Sender(shared.clone()), Receiver(shared)))
}

fn eventfd() -> io::Result<File> {
    // SAFETY: takes two integers and touches no memory of ours.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above just opened `fd`, and nothing else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

impl<T> Sender<T> {
    /// Puts `message` at the end and wakes the receiver. Never blocks on I/O.
    pub fn send(&self, message: T) -> Result<(), Full<T>> {
        let mut queue = self.0.lock();
        if queue.receiver_gone || queue.items.len() >= queue.capacity {
            return Err(Full(message));
        }
        queue.items.push_back(message);
        drop(queue);
        // Fails only when the counter is at its end, and then the descriptor is readable anyhow.
        let _ = (&self.0.wake).write(&1u64.to_ne_bytes());
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// The next message, in order of arrival.
    pub fn try_recv(&self) -> Option<T> {
        self.0.lock().items.pop_front()
    }

    /// Makes the descriptor unreadable until the next `send`. Call it *before* emptying the mailbox: mail that comes
    /// in between then wakes once too often instead of once too seldom.
    pub fn clear_wake(&self) {
        let _ = (&self.0.wake).read(&mut [0; 8]);
    }
}

impl<T> AsRawFd for Receiver<T> {
    /// Readable while there may be mail (`POLLIN`); non-blocking.
    fn as_raw_fd(&self) -> RawFd {
        self.0.wake.as_raw_fd()
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // What is left is dropped after the lock is released: a message's own drop may send.
        let left = {
            let mut queue = self.0.lock();
            queue.receiver_gone = true;
            std::mem::take(&mut queue.items)
        };
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(fd: RawFd, timeout_ms: i32) -> bool {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid `pollfd`, and the count says one.
        unsafe { libc::poll(&raw mut poll, 1, timeout_ms) == 1 }
    }

    #[test]
    fn keeps_order_and_bound() {
        let (tx, rx) = channel(2).unwrap();
        assert_eq!(rx.try_recv(), None);
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        assert_eq!(tx.send(3), Err(Full(3)));
        assert_eq!((rx.try_recv(), rx.try_recv(), rx.try_recv()), (Some(1), Some(2), None));
        tx.send(4).unwrap();
        assert_eq!(rx.try_recv(), Some(4));
    }

    #[test]
    fn wakes_until_cleared() {
        let (tx, rx) = channel(8).unwrap();
        assert!(!readable(rx.as_raw_fd(), 0));
        tx.send(()).unwrap();
        tx.send(()).unwrap();
        assert!(readable(rx.as_raw_fd(), 0));
        rx.clear_wake();
        assert!(!readable(rx.as_raw_fd(), 0));
        rx.clear_wake(); // must not block
        tx.send(()).unwrap();
        assert!(readable(rx.as_raw_fd(), 0));
    }

    #[test]
    fn wakes_another_thread_and_nothing_is_lost() {
        let (tx, rx) = channel(16).unwrap();
        let receiver = std::thread::spawn(move || {
            let mut got = Vec::new();
            while got.len() < 4000 {
                assert!(readable(rx.as_raw_fd(), 10_000), "woken within 10 s");
                rx.clear_wake();
                while let Some(x) = rx.try_recv() {
                    got.push(x);
                }
            }
            got
        });
        let senders: Vec<_> = (0..4)
            .map(|s| {
                let tx = tx.clone();
                std::thread::spawn(move || {
                    for n in 0..1000 {
                        let mut message = (s, n);
                        while let Err(Full(back)) = tx.send(message) {
                            message = back;
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(|s| s.join().unwrap());
        let got = receiver.join().unwrap();
        for s in 0..4 {
            assert!(got.iter().filter(|(from, _)| *from == s).map(|(_, n)| *n).eq(0..1000));
        }
    }

    #[test]
    fn a_dropped_receiver_drops_its_mail_and_refuses_more() {
        let (tx, rx) = channel(4).unwrap();
        let message = Arc::new(());
        tx.send(message.clone()).unwrap();
        drop(rx);
        assert_eq!(Arc::strong_count(&message), 1);
        assert!(tx.send(message.clone()).is_err());
    }
}
