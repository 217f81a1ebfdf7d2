//! Upstreams: what is known of pools and endpoints, and how a request reaches one.
pub mod attempt;
pub mod balance;
pub mod forward;
pub mod h1;
pub mod pool;
pub mod registry;
pub mod rule;
pub mod tunnel;
pub use forward::{Request, Trace, Upstreams, forward};
pub use registry::{EndpointState, PoolState, Registry};
pub use rule::{Balance, EndpointAddr, EndpointRule, PoolRule, Protocol, Timeouts};
pub use tunnel::Tunnel;
