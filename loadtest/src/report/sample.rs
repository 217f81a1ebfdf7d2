//! Results that look like measured ones, for tests of the reports: seeded, with two modes of latency, a stall and a burst
//! of errors.
use crate::record::{
    Asked, Counts, Environment, Fault, Interval, Outcome, SCHEMA, Second, ShardUse, Spread, Times, Verdict, heat,
};
use hdrhistogram::Histogram;

/// What kind of result is made.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Measured seconds.
    pub seconds: usize,
    /// Requests a second.
    pub rate: f64,
    /// By a schedule; else a closed loop.
    pub open: bool,
    /// Nothing is answered in this second.
    pub stall: Option<usize>,
    /// So many kinds of status beside 200.
    pub statuses: u16,
    /// Connections fail, requests run out of time.
    pub errors: bool,
    /// Reasons against the figures.
    pub reasons: Vec<String>,
}

impl Default for Sample {
    fn default() -> Sample {
        Sample {
            seconds: 30,
            rate: 20_000.0,
            open: true,
            stall: Some(14),
            statuses: 1,
            errors: true,
            reasons: Vec::new(),
        }
    }
}

/// xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, mean 0 and deviation 1.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// How many values stand for all answers of a second.
const VALUES: usize = 400;

fn interval(longest: u64, digits: u8) -> Interval {
    let histogram = || Histogram::new_with_bounds(1, longest, digits).unwrap();
    Interval {
        response: histogram(),
        service: histogram(),
        first_byte: histogram(),
        connect: histogram(),
        tls: histogram(),
        counts: Counts::default(),
    }
}

/// One second's answers: most are quick, an eighth had to ask a database.
fn second(sample: &Sample, at: usize, random: &mut Random) -> Interval {
    // Small ones: there are many of them.
    let mut it = interval(10_000_000, 2);
    it.counts.sent = (sample.rate * (1.0 + 0.01 * random.bell())).max(0.0) as u64;
    let stalled = sample.stall == Some(at);
    let behind = sample.stall.is_some_and(|s| at == s + 1);
    if stalled {
        return it;
    }
    let answered = if behind { it.counts.sent * 2 } else { it.counts.sent };
    let each = (answered / VALUES as u64).max(u64::from(answered > 0));
    let wave = 1.0 + 0.25 * (at as f64 / 9.0).sin();
    let mut left = answered;
    while left > 0 {
        let n = each.min(left);
        left -= n;
        let slow = random.unit() < 0.12;
        let service = (wave * if slow { 9_000.0 } else { 640.0 } * (0.3 * random.bell()).exp()) as u64 + 60;
        let waited = match (sample.open && behind, sample.open) {
            (true, _) if random.unit() < 0.5 => (random.unit() * 1_000_000.0) as u64,
            (_, true) => (90.0 * random.unit()) as u64,
            (_, false) => 0,
        };
        it.response.record_n(service + waited, n).unwrap();
        if sample.open {
            it.service.record_n(service, n).unwrap();
        }
        it.first_byte.record_n(service * 9 / 10, n).unwrap();
    }
    count(sample, at, answered, &mut it.counts);
    it
}

fn count(sample: &Sample, at: usize, answered: u64, counts: &mut Counts) {
    counts.answered = answered;
    counts.body_bytes = answered * 1024;
    counts.bytes_in = answered * 1180;
    counts.bytes_out = counts.sent * 96;
    let others: u64 = (0..sample.statuses).map(|i| (answered / 500 / (u64::from(i) + 1)).min(answered)).sum();
    for i in 0..sample.statuses {
        let status = [503, 404, 301, 429, 500][usize::from(i % 5)] + 7 * (i / 5);
        *counts.status.entry(status).or_default() += answered / 500 / (u64::from(i) + 1);
    }
    counts.status.insert(200, answered.saturating_sub(others));
    if sample.errors && (at % 20 == 15 || at % 20 == 16) {
        counts.faults.insert(Fault::Timeout, 180);
        counts.faults.insert(Fault::Reset, 37);
        counts.faults.insert(Fault::ConnectRefused, 4);
    }
}

fn add(whole: &mut Interval, one: &Interval) {
    whole.response.add(&one.response).unwrap();
    whole.service.add(&one.service).unwrap();
    whole.first_byte.add(&one.first_byte).unwrap();
    let (to, from) = (&mut whole.counts, &one.counts);
    to.sent += from.sent;
    to.answered += from.answered;
    to.body_bytes += from.body_bytes;
    to.bytes_in += from.bytes_in;
    to.bytes_out += from.bytes_out;
    from.status.iter().for_each(|(k, n)| *to.status.entry(*k).or_default() += n);
    from.faults.iter().for_each(|(k, n)| *to.faults.entry(*k).or_default() += n);
}

/// A result of that kind.
pub fn outcome(sample: &Sample) -> Outcome {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut whole = interval(3_600_000_000, 3);
    let mut series = Vec::new();
    for at in 0..sample.seconds {
        let one = second(sample, at, &mut random);
        add(&mut whole, &one);
        series.push(Second {
            at: (at + 1) as f64,
            length: 1.0,
            response: Spread::brief(&one.response),
            service: sample.open.then(|| Spread::brief(&one.service)),
            first_byte: Spread::brief(&one.first_byte),
            heat: heat(&one.response),
            counts: one.counts,
            server_cpu_us: None,
        });
    }
    for _ in 0..64 {
        whole.connect.record((120.0 * (0.2 * random.bell()).exp()) as u64).unwrap();
        whole.tls.record((1900.0 * (0.2 * random.bell()).exp()) as u64).unwrap();
    }
    whole.counts.connections = 64;
    let seconds = sample.seconds as f64;
    Outcome {
        schema: SCHEMA,
        environment: environment(),
        asked: asked(sample),
        verdict: Verdict { valid: sample.reasons.is_empty(), reasons: sample.reasons.clone() },
        seconds,
        times: Times {
            response: Spread::of(&whole.response),
            service: sample.open.then(|| Spread::of(&whole.service)),
            first_byte: Spread::of(&whole.first_byte),
            connect: Some(Spread::of(&whole.connect)),
            tls: Some(Spread::of(&whole.tls)),
        },
        counts: whole.counts,
        series,
        generator: (0..2).map(|core| shard_use(core, seconds, sample.open)).collect(),
        server_cpu_us: Some((seconds * 620_000.0) as u64),
        interrupted: false,
    }
}

fn environment() -> Environment {
    Environment {
        version: "0.1.0".to_owned(),
        started: "2026-05-04T12:00:00Z".to_owned(),
        kernel: "6.12.0".to_owned(),
        cpu: "Example Processor 9000 @ 3.00GHz".to_owned(),
        cpus: 16,
        memory: 64 << 30,
        os: "Example Linux 13".to_owned(),
        command: ["edge", "bench", "-r", "20000", "-d", "30s", "https://edge.example:8443/api/items?page=1&size=50"]
            .map(str::to_owned)
            .to_vec(),
    }
}

fn asked(sample: &Sample) -> Asked {
    Asked {
        url: "https://edge.example:8443/api/items?page=1&size=50".to_owned(),
        urls: 3,
        protocol: vec!["h2".to_owned()],
        exchange: "requests".to_owned(),
        rate: sample.open.then_some(sample.rate),
        arrivals: sample.open.then(|| "poisson".to_owned()),
        connections: 64,
        streams: 10,
        warmup: 2.0,
        cores: vec![0, 1],
        seed: 42,
    }
}

fn shard_use(core: usize, seconds: f64, open: bool) -> ShardUse {
    ShardUse {
        core,
        cpu_us: (seconds * 431_000.0) as u64,
        waited_us: (seconds * 900.0) as u64,
        lag: (4, 38, 1_210),
        slip: open.then_some((3, 45, 1_400)),
        slipped: 0.0002,
    }
}
