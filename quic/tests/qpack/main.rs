//! QPACK through its public interface.
mod faults;
mod model;
mod properties;
mod support;

mod appendix_b;
mod differential;
mod encoder;
