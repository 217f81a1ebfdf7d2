//! From core to HTTP message: everything below the proxy. Knows nothing of proxying.
pub mod alloc;
pub mod buf;
pub mod clock;
pub mod cores;
pub mod count_alloc;
pub mod head;
pub mod http1;
pub mod listen;
pub mod mailbox;
pub mod nofile;
pub mod reactor;
pub mod ring;
pub mod ring_log;
pub mod runtime;
pub mod tasks;
pub mod tcp;
pub mod timer;
