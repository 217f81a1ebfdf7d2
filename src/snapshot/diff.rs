//! What a reload changes, in one line.
use super::{Action, ListenerRule, RouteRule, Snapshot};
use crate::upstream::{
    EndpointRule, PoolRule,
    names::{Member, NamedRule},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The difference of two snapshots, by names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Whether `[server]` changed.
    pub server: bool,
    /// Listeners.
    pub listeners: Changes,
    /// Routes. A route changed when what it does, its pool or its policy did, or how requests are matched to it.
    pub routes: Changes,
    /// Pools.
    pub pools: Changes,
    /// Certificates, by their first names.
    pub certificates: Changes,
}

/// Names that came, changed and went, each sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Not in the old one.
    pub added: Vec<String>,
    /// In both, but different.
    pub changed: Vec<String>,
    /// Not in the new one.
    pub removed: Vec<String>,
}

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// Compares two tables of things by name.
    fn of<'s, T>(
        old: impl Iterator<Item = (&'s str, T)>,
        new: impl Iterator<Item = (&'s str, T)>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Changes {
        let mut old: BTreeMap<&str, T> = old.collect();
        let mut changes = Changes::default();
        for (name, new) in new.collect::<BTreeMap<_, _>>() {
            match old.remove(name) {
                None => changes.added.push(name.to_owned()),
                Some(old) if !same(&old, &new) => changes.changed.push(name.to_owned()),
                Some(_) => {}
            }
        }
        changes.removed = old.into_keys().map(str::to_owned).collect();
        changes
    }
}

/// Compares two snapshots.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Diff {
    Diff {
        server: old.server != new.server,
        listeners: Changes::of(listeners(old), listeners(new), |old, new| old == new),
        routes: Changes::of(routes(old), routes(new), |old, new| {
            old.0.fingerprint == new.0.fingerprint && old.0.policy == new.0.policy && old.1 == new.1
        }),
        pools: Changes::of(pools(old), pools(new), |old, new| same_pool(old, new)),
        certificates: certificates(old, new),
    }
}

/// Compares certificates by their first names; one name may have several, with keys of different kinds.
fn certificates(old: &Snapshot, new: &Snapshot) -> Changes {
    let of = |snapshot: &Snapshot| {
        let mut by_name: BTreeMap<Box<str>, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for certificate in snapshot.certificates() {
            by_name.entry(certificate.name().into()).or_default().insert(certificate.fingerprint);
        }
        by_name
    };
    let (old, new) = (of(old), of(new));
    Changes::of(old.iter().map(|(n, c)| (&**n, c)), new.iter().map(|(n, c)| (&**n, c)), |old, new| old == new)
}

/// Routes by id, with the name of their pool.
fn routes(snapshot: &Snapshot) -> impl Iterator<Item = (&str, (&RouteRule, Option<&str>))> {
    let pool = |route: &RouteRule| match route.action {
        Action::Proxy { pool, .. } => snapshot.pools.get(pool as usize).map(|pool| &*pool.id),
        Action::Redirect(_) | Action::Respond(_) => None,
    };
    snapshot.routes.iter().map(move |route| (&*route.id, (route, pool(route))))
}

/// Listeners by name.
fn listeners(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &ListenerRule)> {
    snapshot.listeners.iter().map(|listener| (&*listener.name, &**listener))
}

/// Pools by id.
fn pools(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &PoolRule)> {
    snapshot.pools.iter().map(|pool| (&*pool.id, &**pool))
}

/// Whether two pools mean the same; their state, and the addresses that names have at the time, are no part of that.
fn same_pool(a: &PoolRule, b: &PoolRule) -> bool {
    let settings = |p: &PoolRule| {
        let times = (p.keepalive_idle, p.keepalive_age, p.wait_timeout, p.timeouts);
        let in_flight = (p.gate.as_ref().map(|gate| gate.config), p.adaptive);
        (p.keepalive, p.max_connections, p.max_waiting, p.max_streams, p.slow_start, in_flight, times)
    };
    let same = |(a, b): (&EndpointRule, &EndpointRule)| {
        let settings = |e: &EndpointRule| (e.addr.clone(), e.name.clone(), e.authority.clone(), e.weight, e.protocol);
        let most = |e: &EndpointRule| e.gate.as_ref().map(|gate| gate.config);
        settings(a) == settings(b) && most(a) == most(b) && a.tls == b.tls
    };
    let named = |e: &NamedRule| (e.question.clone(), e.port, e.name.clone(), e.authority.clone(), e.weight, e.protocol);
    let same_member = |(a, b): (&Member, &Member)| match (a, b) {
        (Member::Fixed(a), Member::Fixed(b)) => same((a, b)),
        (Member::Named(a), Member::Named(b)) => named(a) == named(b) && a.gate == b.gate && a.tls == b.tls,
        _ => false,
    };
    let members = a.members.len() == b.members.len() && a.members.iter().zip(&*b.members).all(same_member);
    // Where there are no names, there are no members either.
    let fixed = !a.members.is_empty()
        || a.endpoints.len() == b.endpoints.len() && a.endpoints.iter().zip(&b.endpoints).all(same);
    settings(a) == settings(b)
        && a.balance == b.balance
        && a.sticky == b.sticky
        && members
        && fixed
        && (a.health == b.health && a.outlier == b.outlier && a.panic == b.panic)
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        let named = [&self.listeners, &self.routes, &self.pools, &self.certificates];
        !self.server && named.into_iter().all(Changes::is_empty)
    }
}

/// Most names that one kind shows; the rest is counted.
const NAMES_SHOWN_MAX: usize = 20;

impl fmt::Display for Diff {
    /// `routes: +api ~web -old; pools: +app; listeners: ~web`, or `no change`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no change");
        }
        let mut between = "";
        let kinds = [
            ("routes", &self.routes),
            ("pools", &self.pools),
            ("listeners", &self.listeners),
            ("certificates", &self.certificates),
        ];
        for (kind, changes) in kinds {
            if !changes.is_empty() {
                write!(f, "{between}{kind}:{changes}")?;
                between = "; ";
            }
        }
        if self.server {
            write!(f, "{between}server: changed")?;
        }
        Ok(())
    }
}

impl fmt::Display for Changes {
    /// ` +added ~changed -removed`, with a leading space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = [('+', &self.added), ('~', &self.changed), ('-', &self.removed)];
        let all = signed.iter().flat_map(|(sign, names)| names.iter().map(move |name| (sign, name)));
        for (sign, name) in all.clone().take(NAMES_SHOWN_MAX) {
            write!(f, " {sign}{name}")?;
        }
        match all.count().saturating_sub(NAMES_SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
