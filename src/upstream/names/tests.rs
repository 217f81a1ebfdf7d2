//! Answers, the endpoints they make, and what stays when they change.
use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn server(port: u16, weight: u16, addresses: &[&str]) -> Server {
    Server { port, weight, addresses: addresses.iter().map(|a| ip(a)).collect() }
}

fn weights(servers: &[Server]) -> Vec<(String, u16)> {
    Answer::of_service(servers).found().iter().map(|found| (found.to_string(), found.weight)).collect()
}

#[test]
fn the_order_of_an_answer_means_nothing() {
    let all = ["10.0.0.2", "::1", "10.0.0.10", "10.0.0.2"].map(ip);
    let answer = Answer::of_host(all);
    assert_eq!(answer.to_string(), "10.0.0.2, 10.0.0.10, ::1");
    let mut turned = all;
    turned.rotate_left(2);
    assert_eq!(Answer::of_host(turned), answer);
    assert_eq!(Answer::default().to_string(), "no address");
}

#[test]
fn an_answer_is_bounded_and_the_same_each_time() {
    let many = (0..200u8).map(|i| IpAddr::from(Ipv4Addr::new(10, 0, 0, i)));
    let answer = Answer::of_host(many.clone().rev());
    assert_eq!(answer.found().len(), ADDRESSES_MAX);
    assert_eq!(answer, Answer::of_host(many));
}

#[test]
fn weights_of_services() {
    let one = |weight| server(80, weight, &["10.0.0.1"]);
    let other = |weight| server(80, weight, &["10.0.0.2"]);
    let of = |servers: &[Server]| weights(servers).into_iter().map(|(_, weight)| weight).collect::<Vec<_>>();
    assert_eq!(of(&[one(5), other(5)]), [1, 1]);
    assert_eq!(of(&[one(60), other(40)]), [3, 2]);
    assert_eq!(of(&[one(0), other(0)]), [1, 1]);
    assert_eq!(of(&[one(0), other(1)]), [1, 10]);
    assert_eq!(of(&[one(1), other(65535)]), [1, 1000]);
    // A server with two addresses has no more than one with one.
    assert_eq!(of(&[server(80, 1, &["10.0.0.1", "10.0.0.2"]), server(80, 1, &["10.0.0.3"])]), [1, 1, 2]);
    assert_eq!(of(&[server(80, 9, &[]), one(1)]), [1]);
    assert!(of(&[]).is_empty());
    let ports = weights(&[server(81, 1, &["10.0.0.1"]), server(80, 1, &["10.0.0.1", "::1"])]);
    assert_eq!(ports, [("10.0.0.1:80".to_owned(), 1), ("10.0.0.1:81".to_owned(), 2), ("[::1]:80".to_owned(), 1)]);
}

proptest! {
    /// Each server's addresses together have its share, as far as weights of 1 to 1000 can say it.
    #[test]
    fn shares_are_as_asked_for(servers in proptest::collection::vec((1..=1000u16, 1..=4usize), 1..=8)) {
        let mut next = 0u8;
        let servers: Vec<Server> = servers.into_iter().zip(1..).map(|((weight, n), port)| {
            let addresses = (0..n).map(|_| { next += 1; IpAddr::from(Ipv4Addr::new(10, 0, 0, next)) }).collect();
            Server { port, weight, addresses }
        }).collect();
        let answer = Answer::of_service(&servers);
        let total: f64 = answer.found().iter().map(|found| f64::from(found.weight)).sum();
        let asked: f64 = servers.iter().map(|server| f64::from(server.weight)).sum();
        for server in &servers {
            let of = answer.found().iter().filter(|found| found.port == Some(server.port));
            let share = of.map(|found| f64::from(found.weight)).sum::<f64>() / total;
            prop_assert!((share - f64::from(server.weight) / asked).abs() < 0.02, "{server:?} has {share}");
        }
    }
}

struct House {
    registry: Registry,
    stats: StatsRegistry,
}

impl House {
    fn new() -> House {
        House { registry: Registry::new(), stats: StatsRegistry::new(1) }
    }

    fn named(&self, question: &Question, port: Option<u16>) -> Member {
        let name = format!("http://{question}").into();
        let (authority, protocol) = ("app.internal".into(), Protocol::Http1);
        Member::Named(NamedRule {
            question: question.clone(),
            port,
            name,
            authority,
            tls: None,
            protocol,
            weight: 7,
            gate: None,
        })
    }

    fn endpoints(&self, members: &[Member]) -> Vec<EndpointRule> {
        endpoints("app", members, &self.registry, &self.stats)
    }

    fn answer(&self, question: &Question, answer: Answer) {
        self.registry.names.set(question, Arc::new(answer));
    }
}

#[test]
fn an_address_that_stays_keeps_its_state() {
    let house = House::new();
    let question = Question::Host("app.internal".into());
    let members = [house.named(&question, Some(8000))];
    assert!(house.endpoints(&members).is_empty(), "nothing is known yet");
    house.answer(&question, Answer::of_host([ip("10.0.0.1"), ip("::1")]));
    let before = house.endpoints(&members);
    let seen: Vec<_> = before.iter().map(|e| (&*e.name, &e.addr, e.weight)).collect();
    let tcp = |text: &str| EndpointAddr::Tcp(text.parse().unwrap());
    assert_eq!(
        seen,
        [
            ("http://app.internal [10.0.0.1]", &tcp("10.0.0.1:8000"), 7),
            ("http://app.internal [::1]", &tcp("[::1]:8000"), 7)
        ]
    );
    house.answer(&question, Answer::of_host([ip("::1"), ip("::2")]));
    let after = house.endpoints(&members);
    assert!(Arc::ptr_eq(&before[1].state, &after[0].state) && Arc::ptr_eq(&before[1].stats, &after[0].stats));
    assert_eq!(&*after[1].name, "http://app.internal [::2]");
}

#[test]
fn services_say_port_and_weight() {
    let house = House::new();
    let question = Question::Srv("_http._tcp.app.internal".into());
    let servers = [server(8001, 3, &["10.0.0.1"]), server(8002, 1, &["10.0.0.1"])];
    house.answer(&question, Answer::of_service(&servers));
    let all = house.endpoints(&[house.named(&question, None)]);
    let seen: Vec<_> = all.iter().map(|e| (e.addr.clone(), e.weight)).collect();
    let tcp = |text: &str| EndpointAddr::Tcp(text.parse().unwrap());
    assert_eq!(seen, [(tcp("10.0.0.1:8001"), 3), (tcp("10.0.0.1:8002"), 1)]);
    assert_ne!(all[0].name, all[1].name);
}

#[test]
fn answers_of_other_questions_are_forgotten() {
    let (answers, kept, other) = (Answers::default(), Question::Host("a".into()), Question::Srv("a".into()));
    for question in [&kept, &other] {
        answers.set(question, Arc::default());
    }
    answers.retain(&HashSet::from([kept.clone()]));
    assert!(answers.get(&kept).is_some() && answers.get(&other).is_none());
}
