//! The kernel's own bad networks, in a network namespace made for the test.
use crate::{
    client::{Client, run},
    harness::{Driver, not_run},
    site::{MIB, Site, udp_addr},
    suite,
};
use std::{process::Command, time::Instant};

suite! {
    "namespace";
    once: netem, a_thin_link;
}

/// Set in a process that is in the namespace already: how much it is to transfer, in KiB.
const INSIDE: &str = "EDGE_TEST_NAMESPACE";

/// What makes UDP on the loopback device lossy, late, disordered and doubled. TCP, to the origin, is spared.
const NETEM: &str = "tc qdisc add dev lo root handle 1: htb default 10 && \
    tc class add dev lo parent 1: classid 1:10 htb rate 10gbit && \
    tc class add dev lo parent 1: classid 1:20 htb rate 10gbit && \
    tc qdisc add dev lo parent 1:20 netem limit 20000 loss 2% delay 20ms 5ms duplicate 1% reorder 5% 50% && \
    tc filter add dev lo parent 1: protocol ip u32 match ip protocol 17 0xff flowid 1:20";

/// A bottleneck with a short queue: what does not fit is lost, as in routers.
const THIN: &str = "tc qdisc add dev lo root handle 1: htb default 10 && \
    tc class add dev lo parent 1: classid 1:10 htb rate 10gbit && \
    tc class add dev lo parent 1: classid 1:20 htb rate 80mbit burst 16k && \
    tc qdisc add dev lo parent 1:20 tbf rate 40mbit burst 16k limit 48k && \
    tc filter add dev lo parent 1: protocol ip u32 match ip protocol 17 0xff flowid 1:20";

/// In the namespace: what is run there instead of everything else.
pub fn inside() -> Option<()> {
    let kib: usize = std::env::var(INSIDE).ok()?.parse().expect("a number of KiB");
    transfers(kib * 1024);
    Some(())
}

fn netem() {
    through(NETEM, "tc netem", 1024);
}

fn a_thin_link() {
    through(THIN, "tc htb and tbf", 5 * 1024);
}

/// Transfers so much in a namespace of its own where UDP on the loopback device goes through these queues.
fn through(queues: &str, what: &str, kib: usize) {
    let script = format!("ip link set lo up && {queues}");
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "sh", "-c", script]).env(INSIDE, kib.to_string());
        command.output()
    };
    match in_namespace(&script) {
        Ok(out) if out.status.success() => {}
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stderr);
            let why = said.lines().filter(|l| !l.starts_with("Warning")).collect::<Vec<_>>().join("; ");
            return not_run(format!("a network of {what}: {why}"));
        }
        Err(e) => return not_run(format!("a network of {what}: unshare: {e}")),
    }
    let this = std::env::current_exe().expect("the test's own path");
    let out = in_namespace(&format!("{script} && {:?}", this.display().to_string())).expect("unshare was there before");
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    println!("{stdout}");
    assert!(out.status.success(), "{}: {stderr}", out.status);
}

fn transfers(length: usize) {
    let site = Site::new();
    let edge = site.edge(Driver::IoUring, 2, "auto", "127.0.0.1:0");
    let timed = |what: &str, begun: Instant, length: usize| {
        let seconds = begun.elapsed().as_secs_f64();
        println!("{what}: {length} bytes, {:.2} MiB/s goodput, {seconds:.1} s", length as f64 / MIB as f64 / seconds);
    };
    run(async {
        let client = Client::connect(udp_addr(&edge)).await;
        let begun = Instant::now();
        client.download(length).await;
        timed("download", begun, length);
        let begun = Instant::now();
        client.upload(length / 2).await;
        timed("upload", begun, length / 2);
        let begun = Instant::now();
        for i in 0..20 {
            client.download(i * 1000).await;
        }
        timed("20 small ones, one by one", begun, 190_000);
    });
}
