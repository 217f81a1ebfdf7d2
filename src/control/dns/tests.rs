//! Names in a control thread with shards that only acknowledge, and a name server that says what a test wants.
use super::*;
use crate::{
    admin::view::Outcome,
    control::tests::{Heard as Told, House, with_house},
};
use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// What the name server says to every question for A records: addresses, nothing at all, or no such name.
#[derive(Clone)]
enum Says {
    Addresses(Vec<[u8; 4]>),
    Silence,
    NoSuchName,
}

/// A name server on the test's own runtime.
struct NameServer {
    addr: SocketAddr,
    says: Rc<RefCell<Says>>,
    asked: Rc<Cell<usize>>,
}

impl NameServer {
    async fn start(says: Says) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let (says, asked) = (Rc::new(RefCell::new(says)), Rc::new(Cell::new(0)));
        let (now, count) = (says.clone(), asked.clone());
        drop(spawn_local(async move {
            let mut buf = [0; 1500];
            while let Ok((n, peer)) = socket.recv_from(&mut buf).await {
                count.set(count.get() + 1);
                let answer = answer(&buf[..n], &now.borrow());
                if let Some(answer) = answer {
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        }));
        NameServer { addr, says, asked }
    }

    fn says(&self, says: Says) {
        *self.says.borrow_mut() = says;
    }
}

fn answer(packet: &[u8], says: &Says) -> Option<Vec<u8>> {
    let question = Message::from_vec(packet).unwrap();
    let query = question.queries[0].clone();
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.add_query(query.clone());
    match says {
        Says::Silence => return None,
        Says::NoSuchName => message.metadata.response_code = ResponseCode::NXDomain,
        Says::Addresses(all) if query.query_type() == RecordType::A => {
            for ip in all {
                message.add_answer(Record::from_rdata(query.name().clone(), 0, RData::A(A((*ip).into()))));
            }
        }
        Says::Addresses(_) => {}
    }
    Some(message.to_vec().unwrap())
}

fn text(server: SocketAddr, host: &str, more: &str) -> String {
    format!(
        "[server]\nresolver = {{ servers = \"{server}\", ttl_min = \"100ms\", timeout = \"500ms\" }}\n\
         [[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n\
         [pool.app]\nendpoints = [\"http://{host}:80\"]\n[[route]]\nid = \"r\"\npool = \"app\"\n{more}"
    )
}

/// The endpoints of the newest snapshot that shard 0 or 1 was told, and its version.
fn told(house: &House) -> Option<(u64, Vec<String>)> {
    let newest = house.heard.try_iter().filter_map(|heard| match heard {
        Told::Adopted(snapshot) => Some(snapshot),
        _ => None,
    });
    let newest = newest.last()?;
    Some((newest.version, newest.pools[0].endpoints.iter().map(|e| e.name.to_string()).collect()))
}

async fn next_told(house: &House) -> (u64, Vec<String>) {
    loop {
        match told(house) {
            Some(told) => {
                // both shards have the same
                tokio::time::sleep(Duration::from_millis(20)).await;
                house.heard.try_iter().for_each(drop);
                return told;
            }
            None => tokio::task::yield_now().await,
        }
    }
}

#[test]
fn other_addresses_make_another_snapshot_of_the_same_version() {
    with_house(|house| async move {
        let server = NameServer::start(Says::Addresses(vec![[10, 0, 0, 1]])).await;
        let reload = house.load(&text(server.addr, "app.test", "")).await;
        assert_eq!((reload.outcome, reload.version), (Outcome::Applied, 1));
        assert_eq!(next_told(&house).await, (1, vec!["http://app.test:80 [10.0.0.1]".to_owned()]));
        let router = house.control.state.borrow().current.as_ref().map(|current| current.router.clone()).unwrap();
        drop(spawn_local(watch(house.control.clone())));
        server.says(Says::Addresses(vec![[10, 0, 0, 3], [10, 0, 0, 2]]));
        let two = ["http://app.test:80 [10.0.0.2]".to_owned(), "http://app.test:80 [10.0.0.3]".to_owned()];
        assert_eq!(next_told(&house).await, (1, two.to_vec()));
        assert_eq!(house.control.stats.control.dns.adopted.get(), 1);
        assert_eq!(house.control.stats.control.applies()[0], 1, "no reload");
        let shared = house.control.state.borrow().current.as_ref().map(|current| current.router.clone()).unwrap();
        assert!(Arc::ptr_eq(&router, &shared));
        // Nobody knows the name any more, and the server is silent: what was known stays, over a reload too.
        for says in [Says::NoSuchName, Says::Silence] {
            server.says(says);
            let asked = server.asked.get();
            while server.asked.get() < asked + 4 {
                tokio::task::yield_now().await;
            }
            let started = Instant::now();
            let reload = house.load(&text(server.addr, "app.test", "# again\n")).await;
            assert_eq!(reload.outcome, Outcome::Applied);
            assert!(reload.detail.contains("no change"), "{}", reload.detail);
            assert!(started.elapsed() < FIRST_PATIENCE, "nothing to wait for");
            assert_eq!(next_told(&house).await, (reload.version, two.to_vec()));
        }
        let view = house.control.dns.views();
        assert_eq!((&*view[0].name, view[0].addresses.len()), ("app.test", 2));
        assert!(view[0].problem.is_some());
    });
}

#[test]
fn a_silent_server_holds_nothing_up_for_long() {
    with_house(|house| async move {
        let server = NameServer::start(Says::Silence).await;
        let started = Instant::now();
        let reload = house.load(&text(server.addr, "dead.test", "")).await;
        assert_eq!(reload.outcome, Outcome::Applied);
        assert!(started.elapsed() < FIRST_PATIENCE * 5, "{:?}", started.elapsed());
        assert_eq!(next_told(&house).await, (1, Vec::new()));
        // It is known before long.
        drop(spawn_local(watch(house.control.clone())));
        server.says(Says::Addresses(vec![[10, 0, 0, 1]]));
        assert_eq!(next_told(&house).await.1.len(), 1);
    });
}

#[test]
fn names_that_are_gone_are_not_asked_for() {
    with_house(|house| async move {
        let server = NameServer::start(Says::NoSuchName).await;
        house.load(&text(server.addr, "one.test", "")).await;
        assert_eq!(house.control.dns.views().len(), 1);
        // What is refused brings no names.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = format!("[[listener]]\naddress = \"{}\"\n", taken.local_addr().unwrap());
        let refused = house.load(&text(server.addr, "two.test", &listener)).await;
        assert_eq!(refused.outcome, Outcome::BindFailed);
        let names = |house: &House| house.control.dns.views().into_iter().map(|view| view.name).collect::<Vec<_>>();
        assert_eq!(names(&house), ["one.test"]);
        house.load(&text(server.addr, "three.test", "")).await;
        assert_eq!(names(&house), ["three.test"]);
        let counted = house.control.stats.control.dns.names();
        assert_eq!(counted.len(), 1);
    });
}

#[test]
fn many_configurations_pinned_by_answers_alone_are_one() {
    with_house(|house| async move {
        let server = NameServer::start(Says::Addresses(vec![[10, 0, 0, 1]])).await;
        house.load(&text(server.addr, "app.test", "")).await;
        drop(spawn_local(watch(house.control.clone())));
        let mut pinned: Vec<_> = house.heard.try_iter().collect();
        for i in 2..20 {
            server.says(Says::Addresses(vec![[10, 0, 0, i]]));
            loop {
                pinned.extend(house.heard.try_iter());
                let last = pinned.iter().rev().find_map(|heard| match heard {
                    Told::Adopted(snapshot) => Some(snapshot.pools[0].endpoints[0].name.to_string()),
                    _ => None,
                });
                if last.is_some_and(|name| name.ends_with(&format!("[10.0.0.{i}]"))) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let reload = house.load(&text(server.addr, "app.test", "# another\n")).await;
        assert_eq!(reload.outcome, Outcome::Applied, "{}", reload.detail);
    });
}
