//! `edge`: the proxy core, its configuration and its control plane. A room names only lower floors.
#![forbid(unsafe_code)]

// floor 8
pub mod cli;
pub mod serve;
// floor 7: these never see each other
pub mod control;
pub mod shard;
// floor 6
pub mod flow;
// floor 5
pub mod snapshot;
// floor 4
pub mod config;
// floor 3
pub mod upstream;
// floor 2: these never see each other
pub mod admin;
pub mod answer;
pub mod policy;
pub mod proto;
pub mod route;
pub mod tls;
// floor 1
pub mod message;
pub mod observe;
