//! Counters: one writer (a shard) each, read by the control thread at scrape.
/// Per-route counters of all shards. (The control helper writes this: `RouteStats::new(id, shards)`, lazily
/// allocated per-shard block at first use so that 30,000 idle routes cost almost nothing.)
#[derive(Debug)]
pub struct RouteStats {}
