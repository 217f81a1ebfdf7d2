//! What is heard, what it means, and when it is asked again; by hand, and in many random lives.
use super::*;
use proptest::prelude::*;

fn rule() -> ResolverRule {
    let seconds = Duration::from_secs;
    ResolverRule { servers: Vec::new(), ttl_min: seconds(5), ttl_max: seconds(300), timeout: seconds(2) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn records(addresses: &[&str], ttl: u64) -> Result<Records<IpAddr>, Miss> {
    Ok(Records { all: addresses.iter().map(|a| ip(a)).collect(), ttl: Duration::from_secs(ttl) })
}

fn host(v4: Result<Records<IpAddr>, Miss>, v6: Result<Records<IpAddr>, Miss>) -> Heard {
    Heard::Host(HostHeard { v4, v6 })
}

/// A name with a clock.
struct Life {
    entry: Entry,
    start: Instant,
    now: Instant,
}

impl Life {
    fn new() -> Life {
        let now = Instant::now();
        Life { entry: Entry::new(now, None), start: now, now }
    }

    /// Hears `heard` when it is due: what it means then, what went wrong, and seconds until it is due again.
    fn hear(&mut self, heard: &Heard) -> (String, Option<Miss>, u64) {
        self.now = self.entry.due.max(self.now);
        let verdict = self.entry.hear(heard, self.now, &rule());
        if let Some(changed) = &verdict.changed {
            assert!(Arc::ptr_eq(changed, &self.entry.answer));
        }
        (self.entry.answer.to_string(), verdict.miss, (self.entry.due - self.now).as_secs())
    }
}

#[test]
fn ttls_are_clamped() {
    let mut life = Life::new();
    for (ttl, due) in [(0, 5), (7, 7), (100_000, 300)] {
        assert_eq!(life.hear(&host(records(&["10.0.0.1"], ttl), Err(Miss::Nothing))).2, due);
    }
    let both = host(records(&["10.0.0.1"], 60), records(&["::1"], 20));
    assert_eq!(life.hear(&both), ("10.0.0.1, ::1".to_owned(), None, 20), "the least of both");
}

#[test]
fn the_last_good_answer_stays_whatever_happens() {
    let mut life = Life::new();
    let good = host(records(&["10.0.0.1"], 60), records(&["::1"], 60));
    life.hear(&good);
    for (miss, due) in
        [(Miss::Nothing, 1), (Miss::Timeout, 2), (Miss::Refused, 4), (Miss::Failed, 8), (Miss::Timeout, 16)]
    {
        let heard = life.hear(&host(Err(miss), Err(miss)));
        assert_eq!(heard, ("10.0.0.1, ::1".to_owned(), Some(miss), due));
    }
    for _ in 0..100 {
        assert_eq!(life.hear(&host(Err(Miss::Timeout), Err(Miss::Nothing))).2, 30);
    }
    // The failures are forgotten with the first answer.
    assert_eq!(life.hear(&good), ("10.0.0.1, ::1".to_owned(), None, 60));
    assert_eq!(life.hear(&host(Err(Miss::Timeout), Err(Miss::Timeout))).2, 1);
}

#[test]
fn each_family_has_its_own_luck() {
    let mut life = Life::new();
    life.hear(&host(records(&["10.0.0.1"], 60), records(&["::1"], 60)));
    // AAAA fails: what was known of it stays, and it is asked again soon.
    let heard = life.hear(&host(records(&["10.0.0.2"], 60), Err(Miss::Timeout)));
    assert_eq!(heard, ("10.0.0.2, ::1".to_owned(), Some(Miss::Timeout), 1));
    // There is no AAAA any more.
    let heard = life.hear(&host(records(&["10.0.0.2"], 60), Err(Miss::Nothing)));
    assert_eq!(heard, ("10.0.0.2".to_owned(), None, 60));
}

fn service(priority: u16, port: u16, host: &str) -> Service {
    Service { priority, weight: 1, port, host: host.into() }
}

fn services(all: &[Service], hosts: &[(&str, HostHeard)]) -> Heard {
    let records = Records { all: all.to_vec(), ttl: Duration::from_secs(60) };
    Heard::Service(Ok(records), hosts.iter().map(|(name, heard)| ((*name).into(), heard.clone())).collect())
}

#[test]
fn services_are_where_the_lowest_priority_has_an_address() {
    let found = |address: &str| HostHeard { v4: records(&[address], 60), v6: Err(Miss::Nothing) };
    let none = |miss| HostHeard { v4: Err(miss), v6: Err(miss) };
    let all = [service(10, 80, "a"), service(10, 81, "b"), service(20, 82, "c")];
    let mut life = Life::new();
    let heard =
        life.hear(&services(&all, &[("a", none(Miss::Nothing)), ("b", none(Miss::Timeout)), ("c", found("10.0.0.3"))]));
    assert_eq!(heard, ("10.0.0.3:82".to_owned(), Some(Miss::Nothing), 1), "nobody of the first priority is known");
    let heard =
        life.hear(&services(&all, &[("a", found("10.0.0.1")), ("b", found("10.0.0.2")), ("c", found("10.0.0.3"))]));
    assert_eq!(heard, ("10.0.0.1:80, 10.0.0.2:81".to_owned(), None, 60));
    // A host that cannot be asked for keeps its address, with the port that the service has now.
    let all = [service(10, 80, "a"), service(10, 91, "b")];
    let heard = life.hear(&services(&all, &[("a", found("10.0.0.1")), ("b", none(Miss::Timeout))]));
    assert_eq!(heard, ("10.0.0.1:80, 10.0.0.2:91".to_owned(), Some(Miss::Timeout), 1));
    let heard = life.hear(&Heard::Service(Err(Miss::Nothing), BTreeMap::new()));
    assert_eq!(heard.0, "10.0.0.1:80, 10.0.0.2:91");
    let heard = life.hear(&services(&[], &[]));
    assert_eq!(
        heard,
        ("10.0.0.1:80, 10.0.0.2:91".to_owned(), Some(Miss::Nothing), 4),
        "no service: the last good answer"
    );
}

fn any_records() -> impl Strategy<Value = Result<Records<IpAddr>, Miss>> {
    let address = (1..=4u8).prop_map(|n| IpAddr::from([10, 0, 0, n]));
    let good = (proptest::collection::vec(address, 0..4), 0..1000u64)
        .prop_map(|(all, ttl)| Ok(Records { all, ttl: Duration::from_secs(ttl) }));
    let miss = prop_oneof![Just(Miss::Nothing), Just(Miss::Timeout), Just(Miss::Refused), Just(Miss::Failed)];
    prop_oneof![3 => good, 1 => miss.prop_map(Err)]
}

proptest! {
    /// Whatever is heard in whatever order: what had an address once has one for ever, an answer is what was heard of the
    /// host at some time, and it is asked again in time, but never in a hurry.
    #[test]
    fn a_name_never_loses_its_last_address(heard in proptest::collection::vec((any_records(), any_records()), 1..40)) {
        let mut life = Life::new();
        let mut ever = std::collections::BTreeSet::new();
        for (v4, v6) in heard {
            let had = !life.entry.answer.is_empty();
            ever.extend([&v4, &v6].into_iter().flatten().flat_map(|records| records.all.clone()));
            let (_, miss, due) = life.hear(&host(v4, v6));
            let found = life.entry.answer.found();
            prop_assert!(!had || !found.is_empty());
            prop_assert!(found.iter().all(|found| ever.contains(&found.ip)));
            prop_assert!(if miss.is_some() { (1..=30).contains(&due) } else { (5..=300).contains(&due) }, "{miss:?} {due}");
            prop_assert_eq!(life.entry.answered.is_some(), !found.is_empty());
        }
        prop_assert!(life.now - life.start <= Duration::from_secs(300 * 40));
    }
}
