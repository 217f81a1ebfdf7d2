//! Reads what the configuration says of TLS and HTTP/2, for listeners and pools.
use super::{
    limits::{self, CERTIFICATES_MAX},
    raw::{no_empty_list, to_u32, to_usize, with_table},
    report::Problem,
    section::{Section, Text, cut},
    suggest,
};
use crate::{
    proto::Http2Limits,
    tls::{CIPHERS, CURVES, ClientAuth, ListenerConfig, MinVersion, Pair, Place, Secret, UpstreamConfig, versions},
};
use std::{ops::Range, path::Path};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Where the values of a `tls` stand in the source, so that a later stage can point at them. All are equal: where
/// something stands is no part of what it says.
#[derive(Clone, Debug, Default)]
pub struct TlsSpans {
    table: Range<usize>,
    ca: Range<usize>,
    secret: Range<usize>,
    crl: Vec<Range<usize>>,
    /// `cert` and `key`.
    pairs: Vec<[Range<usize>; 2]>,
}

impl PartialEq for TlsSpans {
    fn eq(&self, _: &TlsSpans) -> bool {
        true
    }
}

impl TlsSpans {
    /// Where `place` is, in bytes of the source.
    pub(crate) fn get(&self, place: Place) -> Range<usize> {
        let found = match place {
            Place::Cert(n) => self.pairs.get(n).map(|[cert, _]| cert),
            Place::Key(n) => self.pairs.get(n).map(|[_, key]| key),
            Place::Crl(n) => self.crl.get(n),
            Place::Ca => Some(&self.ca),
            Place::TicketSecret => Some(&self.secret),
            Place::Table => None,
        };
        found.unwrap_or(&self.table).clone()
    }
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.1 and HTTP/1.0.
    pub h1: bool,
    /// HTTP/2.
    pub h2: bool,
    /// HTTP/3.
    pub h3: bool,
}

/// `protocols`, and where HTTP/3 stands among them.
pub(super) fn read_protocols(section: &Section<'_>) -> (Protocols, Option<Range<usize>>) {
    let given = section.texts("protocols");
    no_empty_list(section, "protocols", "write protocols = [\"h1\", \"h2\"]");
    if given.is_empty() {
        return (Protocols { h1: true, h2: true, h3: false }, None);
    }
    let (mut read, mut h3) = (Protocols { h1: false, h2: false, h3: false }, None);
    for text in given {
        match text.value {
            "h1" => read.h1 = true,
            "h2" => read.h2 = true,
            "h3" => {
                read.h3 = true;
                h3 = Some(text.span);
            }
            other => section.scene.mistake(text.span, |at| {
                Problem::new(at, format!("{:?}: not a protocol", cut(other)))
                    .expected("\"h1\", \"h2\" or \"h3\"")
                    .help(suggest::did_you_mean(other, ["h1", "h2", "h3"]))
            }),
        }
    }
    (read, h3)
}

/// `http2`.
pub(super) fn read_http2(listener: &Section<'_>, head: usize, fields: usize) -> Http2Limits {
    with_table(listener, "http2", &limits::HTTP2, |section| Http2Limits {
        streams: to_u32(section.count("max_concurrent_streams")),
        stream_window: to_u32(section.size("stream_window")),
        connection_window: to_u32(section.size("connection_window")),
        head_bytes: head,
        fields,
        frame_bytes: to_u32(section.size("max_frame_size")),
        table_bytes: to_u32(section.size("header_table_size")),
        memory_bytes: to_usize(section.size("memory")),
        out_bytes: to_usize(section.size("output")),
        control_out_bytes: to_usize(section.size("control_output")),
        resets: to_u32(section.count("resets")),
        control_frames: to_u32(section.count("control_frames")),
        continuations: to_u32(section.count("continuations")),
        connect_protocol: section.flag("connect_protocol"),
    })
}

/// A listener's `tls`; `early_data` is what `http3` says of it.
pub(super) fn read_listener(
    listener: &Section<'_>,
    protocols: Protocols,
    early_data: bool,
    base: &Path,
) -> Option<(ListenerConfig, TlsSpans)> {
    let value = listener.value("tls")?;
    let empty = DeTable::new();
    let section = match value.get_ref() {
        DeValue::String(word) if word == "self-signed" => {
            Section::new(listener.scene, &limits::LISTENER_TLS, &empty, value.span())
        }
        DeValue::Table(table) => Section::new(listener.scene, &limits::LISTENER_TLS, table, value.span()),
        _ => {
            listener.scene.mistake(value.span(), |at| {
                let help = match value.get_ref() {
                    DeValue::String(word) => suggest::did_you_mean(word, ["self-signed"]),
                    DeValue::Boolean(_) => "write tls = \"self-signed\", or certificates in [listener.tls]".to_owned(),
                    _ => String::new(),
                };
                Problem::new(at, "tls is neither a table nor a word that is known")
                    .expected("\"self-signed\" or a table with certificates")
                    .help(help)
            });
            return None;
        }
    };
    let (mut config, mut spans) = (ListenerConfig::default(), TlsSpans::default());
    spans.table = section.scene.origin.locate(value.span());
    (config.h1, config.h2, config.h3) = (protocols.h1, protocols.h2, protocols.h3);
    config.early_data = early_data && protocols.h3;
    read_certificates(&section, base, &mut config, &mut spans);
    config.self_signed = match section.value("self_signed") {
        None => value.get_ref().as_str().is_some(),
        Some(flag) => section.flag_of("self_signed", flag).unwrap_or(true),
    };
    if config.certificates.is_empty() && !config.self_signed && section.misses("certificates") {
        section.scene.mistake(value.span(), |at| {
            Problem::new(at, "tls has no certificate")
                .help("add certificates = [{ cert = \"FILE\", key = \"FILE\" }], or self_signed = true")
        });
    }
    read_suites(&section, &mut config);
    read_client_auth(&section, base, &mut config, &mut spans);
    config.ticket_secret = section.text("ticket_secret").and_then(|text| {
        spans.secret = section.scene.origin.locate(text.span.clone());
        secret(&section, &text, base)
    });
    config.max_handshakes = to_usize(section.count("max_handshakes"));
    section.finish();
    Some((config, spans))
}

fn read_certificates(section: &Section<'_>, base: &Path, config: &mut ListenerConfig, spans: &mut TlsSpans) {
    let Some(value) = section.value("certificates") else { return };
    for item in section.list_of("certificates", value, "a list of tables with `cert` and `key`").take(CERTIFICATES_MAX)
    {
        if let Some((pair, span)) = read_pair(section, item, base) {
            config.certificates.push(pair);
            spans.pairs.push(span);
        }
    }
    no_empty_list(section, "certificates", "add { cert = \"FILE\", key = \"FILE\" }");
}

fn read_pair(section: &Section<'_>, item: &Spanned<DeValue<'_>>, base: &Path) -> Option<(Pair, [Range<usize>; 2])> {
    let table = Section::of(section.scene, "an element of certificates", &limits::CERTIFICATE, item)?;
    let (cert, key) = (table.text_not_empty("cert"), table.text_not_empty("key"));
    for name in ["cert", "key"] {
        if table.misses(name) {
            section.scene.mistake(item.span(), |at| {
                Problem::new(at, format!("the certificate has no {name}")).help(format!("add {name} = \"FILE\""))
            });
        }
    }
    let at = ["cert", "key"].map(|name| section.scene.origin.locate(table.span_of(name)));
    table.finish();
    Some((Pair { cert: base.join(cert?.value), key: base.join(key?.value) }, at))
}

fn read_suites(section: &Section<'_>, config: &mut ListenerConfig) {
    config.min_version = if section.word("min_version") == "1.3" { MinVersion::Tls13 } else { MinVersion::Tls12 };
    config.ciphers = known(section, "ciphers", &CIPHERS.map(|(name, _)| name));
    config.curves = known(section, "curves", &CURVES.map(|(name, _)| name));
    for name in ["ciphers", "curves"] {
        no_empty_list(section, name, &format!("leave {name} out to allow all that are safe"));
    }
    if !config.ciphers.is_empty() && versions(config.min_version, &config.ciphers).is_empty() {
        section.scene.mistake(section.span_of("ciphers"), |at| {
            Problem::new(at, "none of the ciphers is of TLS 1.3, and min_version allows nothing older")
                .help("add \"TLS_AES_128_GCM_SHA256\"")
        });
    }
}

/// Those of the strings of `key` that are among `names`; each other one is a mistake.
fn known(section: &Section<'_>, key: &str, names: &[&'static str]) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    for text in section.texts(key) {
        match names.iter().find(|name| name.eq_ignore_ascii_case(text.value)) {
            Some(name) if found.contains(name) => {}
            Some(name) => found.push(name),
            None => section.scene.mistake(text.span, |at| {
                Problem::new(at, format!("{key}: {:?} is not known, or not safe", cut(text.value)))
                    .expected(format!("one of {}", names.join(", ")))
                    .help(suggest::did_you_mean(text.value, names.iter().copied()))
            }),
        }
    }
    found
}

fn read_client_auth(section: &Section<'_>, base: &Path, config: &mut ListenerConfig, spans: &mut TlsSpans) {
    config.client_auth = match section.word("client_auth") {
        "optional" => ClientAuth::Optional,
        "required" => ClientAuth::Required,
        _ => ClientAuth::Off,
    };
    if let Some(text) = section.text_not_empty("client_ca") {
        spans.ca = section.scene.origin.locate(text.span.clone());
        config.client_ca = Some(base.join(text.value));
    }
    for text in section.texts("client_crl") {
        spans.crl.push(section.scene.origin.locate(text.span.clone()));
        config.client_crl.push(base.join(text.value));
    }
    let off = config.client_auth == ClientAuth::Off;
    if !off && section.misses("client_ca") {
        section.scene.mistake(section.span_of("client_auth"), |at| {
            Problem::new(at, "client_auth needs the issuers of client certificates").help("add client_ca = \"FILE\"")
        });
    }
    for name in ["client_ca", "client_crl"].into_iter().filter(|name| off && section.has(name)) {
        section.scene.mistake(section.span_of_key(name), |at| {
            Problem::new(at, format!("{name} without client_auth does nothing"))
                .help("add client_auth = \"required\" or \"optional\"")
        });
    }
}

fn secret(section: &Section<'_>, text: &Text<'_>, base: &Path) -> Option<Secret> {
    let secret = Secret::parse(text.value, base);
    if secret.is_none() {
        // What was typed may be the secret itself: it is not shown.
        section.scene.log.mistake(
            Problem::of_file("ticket_secret says where the secret is, not what it is")
                .expected("\"file:PATH\" or \"env:NAME\"")
                .help("write ticket_secret = \"file:/etc/edge/tickets.key\""),
        );
    }
    secret
}

/// A pool's `tls`. `any_https` says whether it has an endpoint that it is for.
pub(super) fn read_pool(pool: &Section<'_>, any_https: bool, base: &Path) -> (UpstreamConfig, TlsSpans) {
    if pool.has("tls") && !any_https {
        pool.scene.mistake(pool.span_of_key("tls"), |at| {
            Problem::new(at, "tls is for https:// endpoints; the pool has none").help("write https:// in endpoints")
        });
    }
    let spans = std::cell::RefCell::new(TlsSpans::default());
    let config = with_table(pool, "tls", &limits::POOL_TLS, |section| {
        let mut spans = spans.borrow_mut();
        spans.table = section.scene.origin.locate(section.span.clone());
        spans.ca = section.scene.origin.locate(section.span_of("ca"));
        spans.pairs = vec![["cert", "key"].map(|name| section.scene.origin.locate(section.span_of(name)))];
        read_pool_table(section, base)
    });
    (config, spans.into_inner())
}

fn read_pool_table(section: &Section<'_>, base: &Path) -> UpstreamConfig {
    let path = |name: &str| section.text_not_empty(name).map(|text| base.join(text.value));
    let (ca, cert, key) = (path("ca"), path("cert"), path("key"));
    for (given, other) in [("cert", "key"), ("key", "cert")] {
        if section.has(given) && section.misses(other) {
            section.scene.mistake(section.span_of_key(given), |at| {
                Problem::new(at, format!("{given} without {other}")).help(format!("add {other} = \"FILE\""))
            });
        }
    }
    let server_name = section.text("server_name").and_then(|text| {
        if rustls::pki_types::ServerName::try_from(text.value).is_ok() {
            return Some(text.value.to_owned());
        }
        section.scene.mistake(text.span, |at| {
            Problem::new(at, format!("server_name {:?} is neither a host name nor an address", cut(text.value)))
        });
        None
    });
    let verify = section.flag("verify");
    if !verify {
        section.scene.log.warning(
            Problem::new(
                section.scene.origin.locate(section.span_of("verify")),
                "verify = false: whoever is between the edge and these endpoints can read and change everything",
            )
            .help("give the issuer of their certificates as ca = \"FILE\" instead"),
        );
    }
    if !verify && section.has("ca") {
        section.scene.mistake(section.span_of_key("ca"), |at| Problem::new(at, "ca does nothing with verify = false"));
    }
    UpstreamConfig { ca, server_name, identity: cert.zip(key).map(|(cert, key)| Pair { cert, key }), verify }
}
