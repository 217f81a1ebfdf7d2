//! Upstreams: what is known of pools and endpoints, and how a request reaches one.
pub mod registry;
pub mod rule;
pub use registry::{EndpointState, PoolState, Registry};
pub use rule::{Balance, EndpointAddr, EndpointRule, PoolRule, Timeouts};
