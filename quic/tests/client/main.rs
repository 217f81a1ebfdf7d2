//! The HTTP/3 client against servers of other makers, over real sockets: what they answer, how they break, and what the
//! network loses.
mod answers;
mod broken;
mod lossy;
#[allow(dead_code)] // the load generator's tests use it too
mod support;
