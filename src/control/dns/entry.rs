//! One name: what was heard of it, what it means now, and when to ask again. Pure: the clock is handed in.
use crate::upstream::{
    Question,
    names::{Answer, ResolverRule, Server},
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// After a failure it is asked again this soon at most; the time doubles with each failure in a row.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// And at least this often.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The name is not there, or has no such record: an answer.
    Nothing,
    /// No server answered in time.
    Timeout,
    /// A server said that it cannot tell, or will not.
    Refused,
    /// Anything else: no server can be reached, or what it says makes no sense.
    Failed,
}

impl Miss {
    /// In a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Miss::Nothing => "no such name",
            Miss::Timeout => "no answer in time",
            Miss::Refused => "the name server refuses to say",
            Miss::Failed => "no name server can be asked",
        }
    }
}

/// Records of one type, and how long they hold.
#[derive(Clone, Debug)]
pub struct Records<T> {
    /// The records' data.
    pub all: Vec<T>,
    /// The least TTL among them.
    pub ttl: Duration,
}

/// What was heard of a host.
#[derive(Clone, Debug)]
pub struct HostHeard {
    /// A records.
    pub v4: Result<Records<IpAddr>, Miss>,
    /// AAAA records.
    pub v6: Result<Records<IpAddr>, Miss>,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The lowest is used first.
    pub priority: u16,
    /// Share among those of its priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Where it is.
    pub host: Arc<str>,
}

/// What was heard of a name.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Of a host.
    Host(HostHeard),
    /// Of a service, and of its hosts.
    Service(Result<Records<Service>, Miss>, BTreeMap<Arc<str>, HostHeard>),
}

impl Heard {
    /// Nothing but a failure.
    pub fn failed(question: &Question, miss: Miss) -> Heard {
        match question {
            Question::Host(_) => Heard::Host(HostHeard { v4: Err(miss), v6: Err(miss) }),
            Question::Srv(_) => Heard::Service(Err(miss), BTreeMap::new()),
        }
    }
}

/// The last good addresses of a host.
#[derive(Clone, Debug, Default)]
struct Host {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Host {
    /// Takes what was heard: a family that says that it has no addresses loses them when the other one has some; one that
    /// fails keeps what it had. The time for which this holds, or why nothing was learned.
    fn hear(&mut self, heard: &HostHeard) -> Result<(Duration, Option<Miss>), Miss> {
        let (mut ttl, mut failed) = (None::<Duration>, None);
        for records in [&heard.v4, &heard.v6] {
            match records {
                Ok(records) if !records.all.is_empty() => {
                    ttl = Some(ttl.map_or(records.ttl, |ttl| ttl.min(records.ttl)));
                }
                Ok(_) | Err(Miss::Nothing) => {}
                Err(why) => failed = Some(*why),
            }
        }
        let Some(ttl) = ttl else { return Err(failed.unwrap_or(Miss::Nothing)) };
        for (kept, records) in [(&mut self.v4, &heard.v4), (&mut self.v6, &heard.v6)] {
            match records {
                Ok(records) => kept.clone_from(&records.all),
                Err(Miss::Nothing) => kept.clear(),
                Err(_) => {}
            }
        }
        Ok((ttl, failed))
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.v4.iter().chain(&self.v6).copied().collect()
    }
}

/// What became of one time of asking.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What went wrong, if anything did; there may be an answer all the same.
    pub miss: Option<Miss>,
    /// The answer, where it is another one than before.
    pub changed: Option<Arc<Answer>>,
}

/// One name.
#[derive(Debug)]
pub struct Entry {
    /// What it means: the last good answer.
    pub answer: Arc<Answer>,
    /// When the last good answer came.
    pub answered: Option<Instant>,
    /// What went wrong the last time.
    pub miss: Option<Miss>,
    /// When to ask again.
    pub due: Instant,
    /// It is being asked.
    pub asking: bool,
    /// It was asked, whatever came of it.
    pub heard: bool,
    /// Times in a row that something went wrong.
    failures: u32,
    /// By name: the host itself, or those of the service.
    hosts: BTreeMap<Arc<str>, Host>,
}

impl Entry {
    /// One that is to be asked for at once; `answer` is what is known of it already.
    pub fn new(now: Instant, answer: Option<Arc<Answer>>) -> Entry {
        Entry {
            answer: answer.unwrap_or_default(),
            answered: None,
            miss: None,
            due: now,
            asking: false,
            heard: false,
            failures: 0,
            hosts: BTreeMap::new(),
        }
    }

    /// Takes what was heard, and decides when to ask again. What is not known any better stays.
    pub fn hear(&mut self, heard: &Heard, now: Instant, rule: &ResolverRule) -> Verdict {
        let learned = match heard {
            Heard::Host(heard) => self.hear_host(heard),
            Heard::Service(Ok(services), hosts) => self.hear_service(services, hosts),
            Heard::Service(Err(miss), _) => Err(*miss),
        };
        (self.asking, self.heard) = (false, true);
        let (ttl, miss, answer) = match learned {
            Ok((ttl, miss, answer)) => (Some(ttl.clamp(rule.ttl_min, rule.ttl_max)), miss, Some(answer)),
            Err(miss) => (None, Some(miss), None),
        };
        self.failures = if miss.is_some() { self.failures.saturating_add(1) } else { 0 };
        let retry = miss.map(|_| self.retry(rule));
        self.due = now + ttl.into_iter().chain(retry).min().unwrap_or(rule.ttl_max);
        self.miss = miss;
        let Some(answer) = answer else { return Verdict { miss, changed: None } };
        self.answered = Some(now);
        let changed = (*self.answer != answer).then(|| {
            self.answer = Arc::new(answer);
            self.answer.clone()
        });
        Verdict { miss, changed }
    }

    /// How long to wait after so many failures.
    fn retry(&self, rule: &ResolverRule) -> Duration {
        let (first, most) = (RETRY_MIN.min(rule.ttl_min), RETRY_MAX.min(rule.ttl_max));
        first.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(most)
    }

    fn hear_host(&mut self, heard: &HostHeard) -> Result<(Duration, Option<Miss>, Answer), Miss> {
        let host = self.hosts.entry(Arc::from("")).or_default();
        let (ttl, miss) = host.hear(heard)?;
        Ok((ttl, miss, Answer::of_host(host.addresses())))
    }

    /// The servers of the lowest priority that have an address.
    fn hear_service(
        &mut self,
        services: &Records<Service>,
        heard: &BTreeMap<Arc<str>, HostHeard>,
    ) -> Result<(Duration, Option<Miss>, Answer), Miss> {
        let (mut ttl, mut miss) = (services.ttl, None);
        self.hosts.retain(|name, _| heard.contains_key(name));
        for (name, heard) in heard {
            match self.hosts.entry(name.clone()).or_default().hear(heard) {
                Ok((of_host, failed)) => {
                    ttl = ttl.min(of_host);
                    miss = miss.or(failed);
                }
                Err(why) => miss = miss.or(Some(why)),
            }
        }
        let server = |service: &Service| Server {
            port: service.port,
            weight: service.weight,
            addresses: self.hosts.get(&service.host).map(Host::addresses).unwrap_or_default(),
        };
        let mut by_priority: BTreeMap<u16, Vec<Server>> = BTreeMap::new();
        for service in &services.all {
            by_priority.entry(service.priority).or_default().push(server(service));
        }
        let answers = by_priority.values().map(|servers| Answer::of_service(servers));
        let answer = answers.into_iter().find(|answer| !answer.is_empty());
        answer.map(|answer| (ttl, miss, answer)).ok_or(miss.unwrap_or(Miss::Nothing))
    }
}

#[cfg(test)]
mod tests;
