//! Which I/O driver runs: io_uring where the kernel allows it, epoll with one warning where it does not.
use crate::harness::{Driver, Edge, Origin, Setup};

crate::suite!("driver";
    each_driver:
        status_names_the_driver_in_use;
    once:
        denied_io_uring_is_one_warning,
        environment_forces_epoll,
);

fn warnings(edge: &Edge) -> Vec<String> {
    edge.stderr().into_iter().filter(|l| l.contains("warning") && l.contains("epoll")).collect()
}

fn denied_io_uring_is_one_warning() {
    let origin = Origin::ok();
    let edge = Setup::proxy(Driver::Epoll, &origin).shards(3).start();
    assert_eq!(edge.connect().get("/").status(), 200);
    let said = warnings(&edge);
    assert_eq!(said.len(), 1, "one warning for all shards: {said:?}");
}

fn environment_forces_epoll() {
    let origin = Origin::ok();
    let edge = Setup::proxy(Driver::IoUring, &origin).environment("EDGE_DRIVER", "epoll").start();
    assert_eq!(edge.connect().get("/").status(), 200);
    assert_eq!(driver_of(&edge), "epoll");
}

fn driver_of(edge: &Edge) -> String {
    let status = edge.status();
    let named = |v: &serde_json::Value| v["driver"].as_str().map(str::to_owned);
    named(&status).or_else(|| named(&status["shards"][0])).unwrap_or_else(|| panic!("no driver in {status}"))
}

fn status_names_the_driver_in_use(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let fell_back = !warnings(&edge).is_empty();
    let expected = if fell_back { "epoll" } else { "io_uring" };
    assert_eq!(driver_of(&edge), expected);
    assert!(fell_back || driver == Driver::IoUring, "under the filter there is no io_uring");
}
