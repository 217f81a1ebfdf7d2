//! Load and origins: `edge bench`, from what was asked to what is reported, and the scripted origin that answers it.
//!
//! | room | what it holds |
//! |---|---|
//! | `plan` | what was asked: targets, load, limits; checked before anything runs |
//! | `random` | random numbers that a seed makes again |
//! | `pace` | when to send (pure) |
//! | `record` | what happened: histograms, counts, faults by kind, second by second |
//! | `client` | shards, connections, and the engines in their client role |
//! | `run` | one run: shards started, warmed up, measured, stopped |
//! | `check` | whether the generator kept up, so that the figures are the server's |
//! | `report` | text, JSON, CSV, HTML |
//! | `slo`, `search`, `compare` | judgement: assertions, the highest rate under an objective, two results side by side |
//! | `origin` | the scripted origin |
//! | `units` | durations, sizes and rates as they are typed |
//! | `websocket` | what both ends of a WebSocket have in common |
#![forbid(unsafe_code)]
mod check;
pub mod client;
pub mod compare;
pub mod origin;
pub mod pace;
pub mod plan;
pub mod random;
pub mod record;
pub mod report;
pub mod run;
pub mod search;
pub mod slo;
#[cfg(test)]
mod testing;
pub mod units;
mod websocket;
