//! QPACK through its public interface.
mod support;

mod appendix_b;
mod encoder;
