//! How the name a client asks for becomes known: rustls' unbuffered interface tells it to the certificate resolver only.
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

thread_local! {
    /// The name in the ClientHello that is being worked on.
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
    /// Configurations in use on this thread, each with the one that listens to its resolver.
    static LISTENING: RefCell<Vec<(Weak<ServerConfig>, Arc<ServerConfig>)>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Listening(Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Listening {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED.set(hello.server_name().map(|n| n.to_ascii_lowercase().into()));
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

/// `config` with a resolver that leaves the name for `take`. Made once per configuration and thread; those of
/// configurations that are gone go when the next one is made.
pub(super) fn listening(config: &Arc<ServerConfig>) -> Arc<ServerConfig> {
    LISTENING.with_borrow_mut(|all| {
        let known = all.iter().find(|(of, _)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(config)));
        if let Some((_, made)) = known {
            return made.clone();
        }
        all.retain(|(of, _)| of.strong_count() > 0);
        let mut own = ServerConfig::clone(config);
        own.cert_resolver = Arc::new(Listening(own.cert_resolver));
        let made = Arc::new(own);
        all.push((Arc::downgrade(config), made.clone()));
        made
    })
}

/// The name that the ClientHello asked for which was worked on since the last call.
pub(super) fn take() -> Option<Box<str>> {
    ASKED.take()
}
