//! Upstreams: what is known of pools and endpoints, and how a request reaches one.
pub mod attempt;
pub mod balance;
pub mod choose;
mod dial;
pub mod forward;
pub mod h1;
mod h2;
pub mod pool;
pub mod registry;
pub mod rule;
pub mod sticky;
pub mod tunnel;
pub mod wire;
pub use balance::{Balance, BalanceConfig, HashBy};
pub use forward::{Request, Trace, Upstreams, forward};
pub use registry::{EndpointState, PoolState, Registry};
pub use rule::{EndpointAddr, EndpointRule, PoolRule, Protocol, Timeouts};
pub use tunnel::Tunnel;
