//! HPACK through its public interface.
mod support;

mod appendix_c;
mod faults;
