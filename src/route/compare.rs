//! What can be proved of two matches beside host and path: that no request meets both, or that one implies the other.
use super::{FieldMatch, FieldOp, MatchConfig, predicate::client_net};

/// Whether no request can meet both. `false` also when it cannot be proved.
pub fn disjoint(a: &MatchConfig, b: &MatchConfig) -> bool {
    methods_disjoint(&a.method, &b.method)
        || matches!((a.tls, b.tls), (Some(x), Some(y)) if x != y)
        || clients_disjoint(&a.client, &b.client)
        || fields_disjoint(&a.header, &b.header, true)
        || fields_disjoint(&a.query, &b.query, false)
        || fields_disjoint(&a.cookie, &b.cookie, false)
        || excludes(a, b)
        || excludes(b, a)
}

/// Whether every request that meets `a` also meets `b`. `false` also when it cannot be proved.
pub fn implies(a: &MatchConfig, b: &MatchConfig) -> bool {
    let field = |of_a: &[FieldMatch], of_b: &[FieldMatch], caseless| {
        of_b.iter().all(|y| of_a.iter().any(|x| same_name(x, y, caseless) && op_implies(&x.op, &y.op)))
    };
    methods_imply(&a.method, &b.method)
        && (b.tls.is_none() || a.tls == b.tls)
        && clients_imply(&a.client, &b.client)
        && field(&a.header, &b.header, true)
        && field(&a.query, &b.query, false)
        && field(&a.cookie, &b.cookie, false)
        && (b.any.is_empty() || a.any == b.any)
        && (b.not.is_none() || a.not == b.not)
}

/// Whether `a` asks for what `b`'s `not` forbids.
fn excludes(a: &MatchConfig, b: &MatchConfig) -> bool {
    let forbids = |not: &MatchConfig| {
        let plain = not.host.is_empty()
            && not.path.is_none()
            && not.path_prefix.is_none()
            && not.path_glob.is_none()
            && not.path_regex.is_none();
        plain && implies(a, not)
    };
    b.not.as_deref().is_some_and(forbids)
}

/// Whether a `method` list means this method; GET implies HEAD.
fn means(list: &[String], method: &str) -> bool {
    list.iter().any(|m| m == method || (m == "GET" && method == "HEAD"))
}

fn methods_disjoint(a: &[String], b: &[String]) -> bool {
    let apart = |x: &[String], y: &[String]| !x.iter().any(|m| means(y, m));
    !a.is_empty() && !b.is_empty() && apart(a, b) && apart(b, a)
}

fn methods_imply(a: &[String], b: &[String]) -> bool {
    b.is_empty() || (!a.is_empty() && a.iter().all(|m| means(b, m)))
}

fn clients_disjoint(a: &[String], b: &[String]) -> bool {
    let apart = |x: &String, y: &String| match (client_net(x), client_net(y)) {
        (Ok(x), Ok(y)) => !x.contains(&y) && !y.contains(&x),
        _ => false,
    };
    !a.is_empty() && !b.is_empty() && a.iter().all(|x| b.iter().all(|y| apart(x, y)))
}

fn clients_imply(a: &[String], b: &[String]) -> bool {
    let within = |x: &String, y: &String| matches!((client_net(x), client_net(y)), (Ok(x), Ok(y)) if y.contains(&x));
    b.is_empty() || (!a.is_empty() && a.iter().all(|x| b.iter().any(|y| within(x, y))))
}

fn same_name(a: &FieldMatch, b: &FieldMatch, caseless: bool) -> bool {
    if caseless { a.name.eq_ignore_ascii_case(&b.name) } else { a.name == b.name }
}

/// Sound because a name has one value: the joined lines of a header, the first parameter, the first cookie.
fn fields_disjoint(a: &[FieldMatch], b: &[FieldMatch], caseless: bool) -> bool {
    a.iter().any(|x| b.iter().any(|y| same_name(x, y, caseless) && ops_disjoint(&x.op, &y.op)))
}

fn ops_disjoint(a: &FieldOp, b: &FieldOp) -> bool {
    use FieldOp::{Exact, Prefix};
    match (a, b) {
        (Exact(x), Exact(y)) => x != y,
        (Exact(x), Prefix(y)) | (Prefix(y), Exact(x)) => !x.starts_with(y.as_str()),
        (Prefix(x), Prefix(y)) => !x.starts_with(y.as_str()) && !y.starts_with(x.as_str()),
        _ => false,
    }
}

fn op_implies(a: &FieldOp, b: &FieldOp) -> bool {
    use FieldOp::{Exact, Prefix, Present};
    match (a, b) {
        (_, Present) => true,
        (Exact(x) | Prefix(x), Prefix(y)) => x.starts_with(y.as_str()),
        (x, y) => x == y,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(names: &[&str]) -> MatchConfig {
        MatchConfig { method: names.iter().map(|m| m.to_string()).collect(), ..MatchConfig::default() }
    }

    fn header(name: &str, op: FieldOp) -> MatchConfig {
        MatchConfig { header: vec![FieldMatch { name: name.into(), op }].into(), ..MatchConfig::default() }
    }

    fn client(net: &str) -> MatchConfig {
        MatchConfig { client: vec![net.into()].into(), ..MatchConfig::default() }
    }

    #[test]
    fn disjoint_only_when_proved() {
        use FieldOp::*;
        let not_x = MatchConfig { not: Some(Box::new(header("x", Present))), ..MatchConfig::default() };
        for (a, b, expected) in [
            (methods(&["GET"]), methods(&["POST"]), true),
            (methods(&["GET"]), methods(&["HEAD"]), false),
            (methods(&["GET"]), methods(&[]), false),
            (client("10.0.0.0/8"), client("192.168.0.0/16"), true),
            (client("10.0.0.0/8"), client("10.1.0.0/16"), false),
            (client("::ffff:10.0.0.0/104"), client("10.1.0.0/16"), false),
            (header("X", Exact("a".into())), header("x", Exact("b".into())), true),
            (header("x", Exact("a".into())), header("y", Exact("b".into())), false),
            (header("x", Prefix("ab".into())), header("x", Exact("ac".into())), true),
            (header("x", Prefix("a".into())), header("x", Prefix("ab".into())), false),
            (header("x", Present), header("x", Regex("a".into())), false),
            (header("x", Exact("a".into())), not_x.clone(), true),
            (header("y", Exact("a".into())), not_x, false),
        ] {
            assert_eq!(disjoint(&a, &b), expected, "{a:?} {b:?}");
            assert_eq!(disjoint(&b, &a), expected, "{b:?} {a:?}");
        }
    }

    #[test]
    fn implies_only_when_proved() {
        use FieldOp::*;
        for (a, b, expected) in [
            (methods(&["GET"]), methods(&[]), true),
            (methods(&[]), methods(&["GET"]), false),
            (methods(&["HEAD"]), methods(&["GET"]), true),
            (methods(&["GET"]), methods(&["HEAD"]), false),
            (client("10.1.0.0/16"), client("10.0.0.0/8"), true),
            (client("10.0.0.0/8"), client("10.1.0.0/16"), false),
            (header("x", Exact("ab".into())), header("X", Prefix("a".into())), true),
            (header("x", Regex("a".into())), header("x", Present), true),
            (header("x", Present), header("x", Exact("a".into())), false),
        ] {
            assert_eq!(implies(&a, &b), expected, "{a:?} {b:?}");
        }
    }
}
