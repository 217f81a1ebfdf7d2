//! The router as its users see it: tables row by row, then against a naive matcher over random routes and requests.
mod cases;
mod property;
mod reference;

use super::{FieldMatch, FieldOp, Found, MatchConfig, MatchError, Query, RouteConfig, Router, Warning};
use crate::message::path::{Normalized, normalize};
use edge_io::head::{Head, Version};
use std::net::IpAddr;

/// A request as a test writes it.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    authority: String,
    target: String,
    fields: Vec<(String, String)>,
    client: IpAddr,
    tls: bool,
}

impl Request {
    fn new(method: &str, authority: &str, target: &str) -> Request {
        Request {
            method: method.into(),
            authority: authority.into(),
            target: target.into(),
            fields: Vec::new(),
            client: "192.0.2.1".parse().unwrap(),
            tls: false,
        }
    }

    fn field(mut self, name: &str, value: &str) -> Request {
        self.fields.push((name.into(), value.into()));
        self
    }

    fn client(self, client: &str) -> Request {
        Request { client: client.parse().unwrap(), ..self }
    }

    fn head(&self) -> Head {
        let mut head = Head::new();
        let (method, authority) = (self.method.as_bytes(), self.authority.as_bytes());
        head.set_request(method, authority, self.target.as_bytes(), Version::Http11).unwrap();
        for (name, value) in &self.fields {
            head.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        head
    }
}

/// A route as a test writes it.
#[derive(Clone, Debug)]
struct Route {
    id: String,
    priority: i32,
    matches: MatchConfig,
}

fn compile(routes: &[Route]) -> Result<(Router, Vec<Warning>), Vec<MatchError>> {
    let configs = routes.iter().map(|r| RouteConfig { id: &r.id, priority: r.priority, matches: &r.matches });
    Router::compile(&configs.collect::<Vec<_>>())
}

/// The id of the route, "405 <Allow>", or "-".
fn find(router: &Router, routes: &[Route], request: &Request) -> String {
    let head = request.head();
    let mut normalized = Vec::new();
    let path = match normalize(head.path(), &mut normalized) {
        Normalized::Changed => &normalized[..],
        _ => head.path(),
    };
    match router.find(&Query { head: &head, path, client: request.client, tls: request.tls }) {
        Found::Route(n) => routes[n as usize].id.clone(),
        Found::MethodNotAllowed(allow) => format!("405 {allow}"),
        Found::None => "-".into(),
    }
}

fn field(name: &str, op: FieldOp) -> FieldMatch {
    FieldMatch { name: name.into(), op }
}

fn strings<C: FromIterator<String>>(texts: &[&str]) -> C {
    texts.iter().map(|text| text.to_string()).collect()
}
