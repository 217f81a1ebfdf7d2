//! A bounded mailbox per shard: any thread sends, one shard receives, an eventfd wakes it.
//
// Contract (helper "control" writes it):
//   pub fn channel<T: Send>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)>;
//   Sender<T>: Clone + Send + Sync; fn send(&self, T) -> Result<(), Full<T>>   // Mutex<VecDeque> + eventfd write: cold path
//   Receiver<T>: fn as_raw_fd(&self); fn try_recv(&self) -> Option<T>; fn clear_wake(&self)  // read the eventfd (EFD_NONBLOCK|CLOEXEC)
