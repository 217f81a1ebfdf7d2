//! What a route does to a request on its way through. Each policy is a file: its section, its rule, its work.
pub mod rewrite;
