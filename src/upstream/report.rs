//! How an endpoint does, told to everybody who judges it: its run of failures, its latency, the route's circuit.
use super::{EndpointRule, breaker::Probe, course::Call, pool::Endpoint};
use crate::message::{Category, Fault, Side};

/// Who hears how one attempt went: of its answer's head, and of its failure.
pub(super) struct Report<'a> {
    /// What all attempts of the request share.
    pub call: Call<'a>,
    /// The endpoint, as the pool has it.
    pub rule: &'a EndpointRule,
    /// The endpoint, as the shard has it.
    pub endpoint: &'a Endpoint,
    /// The request shows whether the route's circuit may close.
    pub probe: &'a mut Option<Probe>,
}

impl Report<'_> {
    /// The answer's head came, `latency_us` after the attempt began; `now_ms` is the shard's clock.
    #[inline]
    pub fn answered(&mut self, status: u16, latency_us: u64, now_ms: u64) {
        // 501 and 505 say what was wrong with the request (RFC 9110 15.6.2, 15.6.6).
        let failed = status >= 500 && !matches!(status, 501 | 505);
        if failed {
            self.rule.state.failed();
        } else {
            self.rule.state.succeeded();
        }
        match (status, self.call.pool.outlier) {
            // Said in no time, it must not look like a fast endpoint, unless it is left out soon anyway, which people are told of.
            (502..=504, None) => self.endpoint.ewma.failed(now_ms),
            _ => self.endpoint.ewma.observe(now_ms, latency_us),
        }
        self.count(failed);
    }

    /// The attempt failed after it began at `began_us` of the shard's clock; `unanswered`: before the answer's head.
    pub fn failed(&mut self, fault: Fault, unanswered: bool, began_us: u64) {
        let local = &self.call.upstreams.local;
        // A route whose time is up while its endpoint says nothing waited for the endpoint. But clients that set the time
        // themselves could have any endpoint left out.
        let late = fault.category == Category::UpstreamTimeout && unanswered && !self.call.plan.hurried;
        if fault.side != Side::Upstream && !late {
            return;
        }
        self.rule.stats.shard(local.shard).error(fault.category);
        self.rule.state.failed();
        match self.call.pool.outlier {
            None => self.endpoint.ewma.failed(local.timers.now()),
            Some(_) if fault.category == Category::UpstreamTimeout => {
                let latency_us = local.timers.clock().now_us().saturating_sub(began_us);
                self.endpoint.ewma.observe(local.timers.now(), latency_us);
            }
            Some(_) => {}
        }
        if unanswered {
            self.count(true);
        }
    }

    /// An answer was not passed on: nobody else counts it.
    pub fn discarded(&self, status: u16, latency_us: u64) {
        self.rule.stats.shard(self.call.upstreams.local.shard).response(status, latency_us, latency_us);
    }

    fn count(&mut self, failed: bool) {
        let plan = &self.call.plan;
        if plan.breaker.is_none() {
            return;
        }
        if let Some(route) = plan.state {
            route.count(self.call.upstreams.local.shard, failed);
        }
        if let Some(probe) = self.probe.take() {
            probe.done(failed);
        }
    }
}
