//! Compiles what routes say into the rules of their rooms, and points at the very value when one cannot be used.
use super::{
    Config,
    raw::{self, Redirect},
    report::{Log, Problem},
};
use crate::{
    answer::{RedirectConfig, RedirectRule, RespondRule},
    message::FieldError,
    policy::rewrite::RewriteRule,
    route::{MatchConfig, RouteConfig, Router},
};

/// What a route does, compiled.
#[derive(Debug)]
pub enum Rule {
    /// Forward to the pool of this index.
    Proxy {
        /// Index into [`Config::pools`].
        pool: u32,
        /// Whether the client's `Host` is forwarded.
        preserve_host: bool,
        /// Changes of the target.
        rewrite: Option<Box<RewriteRule>>,
    },
    /// Redirect.
    Redirect(Box<RedirectRule>),
    /// Answer.
    Respond(Box<RespondRule>),
}

/// Keys of a match that hold several things, counted by place in the file.
const LISTS: [&str; 7] = ["host", "method", "header", "query", "cookie", "client", "any"];

/// The router of all routes, with warnings; `None` after a mistake.
pub(crate) fn router(config: &Config, log: &Log) -> Option<Router> {
    let routes: Vec<RouteConfig<'_>> = config
        .routes
        .iter()
        .map(|route| RouteConfig { id: &route.id, priority: route.priority, matches: &route.matches })
        .collect();
    match Router::compile(&routes) {
        Ok((router, warnings)) => {
            for warning in warnings {
                let span = config.span_unless(log.is_full_of_warnings(), warning.route, &["match"]);
                log.warning(Problem::new(span, warning.message).help(warning.help));
            }
            Some(router)
        }
        Err(errors) => {
            // After another mistake a route may seem to match more than was meant: then it is no news what it equals.
            let clean = log.is_clean();
            for error in errors.into_iter().filter(|error| clean || error.key != "match") {
                let index = error.index.to_string();
                let path = ["match", error.key, &index];
                let depth = if LISTS.contains(&error.key) { 3 } else { 2 };
                let span = config.span_unless(log.is_full(), error.route, path.get(..depth).unwrap_or_default());
                log.mistake(Problem::new(span, error.message).help(error.help));
            }
            None
        }
    }
}

/// The rule of route `index`; `None` after a mistake.
pub(crate) fn rule(config: &Config, index: usize, log: &Log) -> Option<Rule> {
    let route = config.routes.get(index)?;
    let (table, result) = match &route.action {
        raw::Action::Proxy { pool, preserve_host, rewrite } => {
            let rewrite = rewrite.as_deref().map(RewriteRule::compile).transpose();
            let rule = |rewrite: Option<RewriteRule>| Rule::Proxy {
                pool: *pool,
                preserve_host: *preserve_host,
                rewrite: rewrite.map(Box::new),
            };
            ("rewrite", rewrite.map(rule))
        }
        raw::Action::Redirect(redirect) => {
            let rule = RedirectRule::compile(&redirect_config(redirect, &route.matches));
            ("redirect", rule.map(|rule| Rule::Redirect(Box::new(rule))))
        }
        raw::Action::Respond(respond) => {
            ("respond", RespondRule::compile(respond).map(|rule| Rule::Respond(Box::new(rule))))
        }
    };
    let mistake = |error: FieldError| {
        let span = config.span_unless(log.is_full(), index, &[table, error.key]);
        log.mistake(Problem::new(span, one_line(error.message)).help(error.help));
    };
    result.map_err(mistake).ok()
}

/// A redirect may use what its route matched.
fn redirect_config(redirect: &Redirect, matches: &MatchConfig) -> RedirectConfig {
    RedirectConfig {
        status: redirect.status,
        to: redirect.to.clone(),
        append: redirect.append,
        path_prefix: matches.path_prefix.as_deref().map(str::to_owned),
        path_regex: matches.path_regex.as_deref().map(str::to_owned),
    }
}

/// A regex's error draws the pattern over several lines; the last one says what is wrong.
fn one_line(message: String) -> String {
    match message.rsplit_once("\nerror: ") {
        Some((_, reason)) => format!("not a usable regex: {reason}"),
        None => message,
    }
}
