//! Metrics of queues, of requests refused for a limit, and of shards that protect themselves.
use super::Text;
use crate::{
    message::Priority,
    observe::{
        names,
        stats::{HistogramTotal, QUEUES, REFUSALS, ShardStats},
    },
};

/// Writes them.
pub(super) fn write(text: &mut Text, shards: &[(&str, &ShardStats)]) {
    text.begin(&names::QUEUE_DEPTH);
    for (id, s) in shards {
        for (queue, n) in QUEUES.iter().zip(s.queues.depths()) {
            text.sample(&names::QUEUE_DEPTH, &[id, queue], n);
        }
    }
    text.begin(&names::QUEUE_WAIT);
    for (id, s) in shards {
        for (queue, waits) in QUEUES.iter().zip(s.queues.waits()) {
            let mut total = HistogramTotal::default();
            total.add(waits);
            if total.count() > 0 {
                text.histogram(&names::QUEUE_WAIT, &[id, queue], &total);
            }
        }
    }
    text.begin(&names::OVERLOAD_REJECTED);
    for (id, s) in shards {
        for (queue, refusals) in QUEUES.iter().zip(s.queues.refusals()) {
            for (reason, n) in REFUSALS.iter().zip(refusals) {
                text.sample(&names::OVERLOAD_REJECTED, &[id, queue, reason], n);
            }
        }
    }
    text.begin(&names::SHED);
    for (id, s) in shards {
        for (class, n) in Priority::ALL.iter().zip(s.queues.sheds()) {
            text.sample(&names::SHED, &[id, class.as_str()], n);
        }
    }
    text.begin(&names::SHEDDING);
    for (id, s) in shards {
        for (class, share) in Priority::ALL.iter().zip(s.queues.shedding()) {
            text.sample(&names::SHEDDING, &[id, class.as_str()], share);
        }
    }
}
