//! What single parts of the house cost. One list of scenarios with fixed inputs serves both harnesses: `benches/parts.rs`
//! takes their time, the binary `instructions` counts their instructions and holds them against a stored baseline.
//!
//! | room | what it holds |
//! |---|---|
//! | `scenario` | what a scenario is, and the list of all |
//! | `parts` | the scenarios, by part of the house; the same work done by other people's crates beside them |
//! | `count` | instructions of a scenario, counted by Valgrind |
//! | `baseline` | the stored figures, and what they were taken with |
//! | `verdict` | figures against the baseline: what is dearer, cheaper, new, gone |
#![forbid(unsafe_code)]
pub mod baseline;
pub mod count;
mod parts;
pub mod scenario;
pub mod verdict;
