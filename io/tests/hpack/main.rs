//! HPACK through its public interface.
mod support;

mod appendix_c;
mod differential;
mod encoder;
mod faults;
mod properties;
