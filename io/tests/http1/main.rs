//! The HTTP/1 engine from outside: judged messages, and properties that hold for all.
mod drive;
mod properties;
mod vectors;
