//! Upstreams: what is known of pools and endpoints, and how a request reaches one.
pub mod attempt;
pub mod balance;
mod dial;
pub mod forward;
pub mod h1;
mod h2;
pub mod names;
pub mod pool;
pub mod registry;
pub mod removed;
pub mod rule;
pub mod tunnel;
pub mod wire;
pub use forward::{Request, Trace, Upstreams, forward};
pub use names::{Question, Target};
pub use registry::{EndpointState, PoolState, Registry};
pub use rule::{Balance, EndpointAddr, EndpointRule, PoolRule, Protocol, Timeouts};
pub use tunnel::Tunnel;
