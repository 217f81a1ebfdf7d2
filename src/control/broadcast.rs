//! One configuration to all shards, and their acknowledgements back.
use crate::snapshot::{
    Snapshot,
    command::{Ack, Adopt, Command, ShardListener, ShardReport},
};
use edge_io::mailbox::Sender;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// How long the shards may take to acknowledge, together.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages that wait in one shard's mailbox.
pub const MAILBOX_CAPACITY: usize = 16;

/// What the shards answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Shards that did not answer in time.
    pub silent: Vec<usize>,
    /// What went wrong on shards, normally nothing.
    pub errors: Vec<String>,
}

/// Sends `snapshot` with each shard's listeners, and waits until all have acknowledged or `patience` is over.
pub(super) async fn adopt(
    shards: &[Sender<Command>],
    snapshot: &Arc<Snapshot>,
    per_shard: Vec<Vec<ShardListener>>,
    patience: Duration,
) -> Answers {
    let (tell, mut reports) = mpsc::unbounded_channel();
    let mut answers = Answers { silent: (0..shards.len()).collect(), errors: Vec::new() };
    for (mailbox, listeners) in shards.iter().zip(per_shard) {
        let tell = tell.clone();
        // A report that comes too late finds nobody, and that is fine.
        let ack = Ack::new(move |report| drop(tell.send(report)));
        // A full mailbox drops the message, and with it the acknowledgement: the shard counts as silent.
        let _ = mailbox.send(Command::Adopt(Adopt { snapshot: snapshot.clone(), listeners, ack }));
    }
    drop(tell);
    let all = async {
        // Ends when every acknowledgement was used or dropped.
        while let Some(ShardReport { shard, version, errors }) = reports.recv().await {
            if version == snapshot.version {
                answers.silent.retain(|s| *s != shard);
            }
            answers.errors.extend(errors.into_iter().map(|e| format!("shard {shard}: {e}")));
        }
    };
    let _ = timeout(patience, all).await;
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, observe::stats::StatsRegistry, snapshot, upstream::Registry};
    use edge_io::mailbox::{self, Receiver};
    use std::path::Path;

    fn snapshot() -> Arc<Snapshot> {
        let text = "version = 1\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n\
                    [[route]]\nid = \"r\"\nrespond = { status = 204 }\n";
        let config = config::parse(text, Path::new("test.toml")).unwrap_or_else(|e| panic!("{e}"));
        Arc::new(
            snapshot::compile(&config, &Registry::new(), &StatsRegistry::default(), 3)
                .unwrap_or_else(|e| panic!("{e}")),
        )
    }

    fn mailboxes(n: usize) -> (Vec<Sender<Command>>, Vec<Receiver<Command>>) {
        (0..n).map(|_| mailbox::channel(MAILBOX_CAPACITY).unwrap()).unzip()
    }

    /// Runs `adopt` against shards that each do as `shard` says with what they get.
    fn run(n: usize, patience: Duration, shard: impl Fn(usize, Adopt) + Send + 'static) -> Answers {
        let (senders, receivers) = mailboxes(n);
        let shards = std::thread::spawn(move || {
            let mut left: Vec<_> = receivers.iter().enumerate().collect();
            while !left.is_empty() {
                left.retain(|(i, mailbox)| match mailbox.try_recv() {
                    Some(Command::Adopt(adopt)) => {
                        shard(*i, adopt);
                        false
                    }
                    _ => true,
                });
                std::thread::yield_now();
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let per_shard = (0..n).map(|_| Vec::new()).collect();
        let answers = runtime.block_on(adopt(&senders, &snapshot(), per_shard, patience));
        shards.join().unwrap();
        answers
    }

    fn report(shard: usize, adopt: &Adopt) -> ShardReport {
        ShardReport { shard, version: adopt.snapshot.version, errors: Vec::new() }
    }

    #[test]
    fn all_acknowledge() {
        let answers = run(4, Duration::from_secs(20), |shard, adopt| {
            let report = report(shard, &adopt);
            adopt.ack.done(report);
        });
        assert_eq!(answers, Answers::default());
    }

    #[test]
    fn a_shard_that_drops_its_acknowledgement_is_silent_without_waiting() {
        let start = std::time::Instant::now();
        let answers = run(3, Duration::from_secs(60), |shard, adopt| {
            if shard != 1 {
                let report = report(shard, &adopt);
                adopt.ack.done(report);
            }
        });
        assert_eq!(answers.silent, [1]);
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_shard_that_never_answers_is_silent_after_the_timeout() {
        let (keep, _kept) = std::sync::mpsc::channel();
        let keep = std::sync::Mutex::new(keep);
        let answers = run(2, Duration::from_millis(50), move |shard, adopt| {
            if shard == 0 {
                drop(keep.lock().unwrap().send(adopt));
            } else {
                let report = ShardReport { errors: vec!["no".to_owned()], ..report(shard, &adopt) };
                adopt.ack.done(report);
            }
        });
        assert_eq!(answers, Answers { silent: vec![0], errors: vec!["shard 1: no".to_owned()] });
    }

    #[test]
    fn a_full_mailbox_is_a_silent_shard() {
        let (senders, _receivers) = mailboxes(1);
        while senders[0].send(Command::Stop).is_ok() {}
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answers = runtime.block_on(adopt(&senders, &snapshot(), vec![Vec::new()], Duration::from_secs(60)));
        assert_eq!(answers.silent, [0]);
    }
}
