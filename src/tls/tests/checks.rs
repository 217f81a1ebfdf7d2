//! What is said of pairs that cannot be used.
use crate::tls::{
    ListenerConfig, Pair, Place, Problem, Secret, Store,
    testing::{Files, authority, authority_params, issue, params},
};
use rcgen::{CertifiedIssuer, KeyPair, date_time_ymd};

fn listener(pairs: &[Pair]) -> ListenerConfig {
    ListenerConfig { certificates: pairs.to_vec(), h1: true, max_handshakes: 1, ..ListenerConfig::default() }
}

/// The mistakes of a listener with `pair`; the directory is taken out.
fn mistakes(files: &Files, pair: &Pair) -> Vec<(Place, String, String)> {
    let Err(problems) = Store::default().listener(&listener(std::slice::from_ref(pair))) else { return Vec::new() };
    told(files, problems)
}

fn told(files: &Files, problems: Vec<Problem>) -> Vec<(Place, String, String)> {
    let bare = |text: String| text.replace(&format!("{}/", files.root().display()), "");
    problems.into_iter().map(|p| (p.place, bare(p.message), bare(p.help))).collect()
}

fn assert_mistake(files: &Files, pair: &Pair, place: Place, message: &str, help: &str) {
    let said = mistakes(files, pair);
    let [(at, what, how)] = &said[..] else { panic!("{said:?}") };
    assert!(*at == place && what.contains(message) && how.contains(help), "{said:?}\nnot: {message}");
}

#[test]
fn a_good_pair_is_taken_whatever_form_its_key_has() {
    let (files, root) = (Files::new(), authority("root"));
    let key = KeyPair::generate().unwrap();
    let chain = issue(&root, params(&["a.example"]), &key) + &root.pem();
    assert_eq!(mistakes(&files, &files.pair("a", &chain, &key)), []);
    // Text around the sections is usual.
    let noted = format!("subject=a\n{chain}\n# the end\n");
    assert_eq!(mistakes(&files, &files.pair("b", &noted, &key)), []);
}

#[test]
fn files_that_are_something_else() {
    let (files, root) = (Files::new(), authority("root"));
    let good = files.issued("good", &root, &["a.example"]);
    let pem = std::fs::read_to_string(&good.cert).unwrap();
    let secret = std::fs::read_to_string(&good.key).unwrap();
    let (cert, key) = (Place::Cert(0), Place::Key(0));
    let with_cert = |name: &str, text: &str| Pair { cert: files.write(name, text), key: good.key.clone() };
    let with_key = |name: &str, text: &str| Pair { cert: good.cert.clone(), key: files.write(name, text) };
    let missing = Pair { cert: files.path("no.pem"), key: good.key.clone() };
    assert_mistake(&files, &missing, cert, "no.pem: cannot be read: No such file", "relative paths");
    let directory = Pair { cert: good.cert.clone(), key: files.root().to_owned() };
    assert_mistake(&files, &directory, key, "is not a file", "");
    assert_mistake(&files, &with_cert("e.pem", ""), cert, "e.pem: holds no certificate", "BEGIN CERTIFICATE");
    assert_mistake(&files, &with_key("e.key", "x"), key, "e.key: holds no private key", "BEGIN PRIVATE KEY");
    let swapped = Pair { cert: good.key.clone(), key: good.cert.clone() };
    assert_mistake(&files, &swapped, cert, "holds a private key, but no certificate", "swapped");
    assert_mistake(&files, &with_key("s.key", &pem), key, "holds a certificate, but no private key", "swapped");
    let cut = &pem[..pem.len() - 40];
    assert_mistake(&files, &with_cert("cut.pem", cut), cert, "cut.pem: is not well-formed PEM", "cut off");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_mistake(
        &files,
        &with_key("enc.key", encrypted),
        key,
        "enc.key: the private key is encrypted",
        "openssl pkey",
    );
    let noise = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_mistake(&files, &with_key("n.key", noise), key, "n.key: the private key cannot be used", "ECDSA P-256");
    let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_mistake(&files, &with_cert("n.pem", noise), cert, "n.pem: certificate 1 cannot be read", "");
    let der = Pair { cert: files.path("d.der"), key: good.key.clone() };
    std::fs::write(&der.cert, [0x30, 0x82, 1, 0]).unwrap();
    assert_mistake(&files, &der, cert, "d.der: is DER, not PEM", "openssl x509 -inform der");
    let said = format!("{:?}", mistakes(&files, &with_key("cut.key", &secret[..secret.len() - 9])));
    assert!(said.contains("not well-formed PEM"), "{said}");
    assert!(!said.contains(&secret[60..80]), "a key must not be shown: {said}");
}

#[test]
fn a_key_that_belongs_to_something_else() {
    let (files, root) = (Files::new(), authority("root"));
    let key = KeyPair::generate().unwrap();
    let leaf = issue(&root, params(&["a.example"]), &key);
    let other = files.pair("a", &leaf, &KeyPair::generate().unwrap());
    assert_mistake(&files, &other, Place::Key(0), "a.key: the private key does not match a.pem", "issued for");
    let turned = files.pair("b", &(root.pem() + &leaf), &key);
    assert_mistake(
        &files,
        &turned,
        Place::Cert(0),
        "wrong order: certificate 2 is the one of the private key",
        "first",
    );
}

#[test]
fn certificates_out_of_their_time() {
    let (files, root) = (Files::new(), authority("root"));
    let key = KeyPair::generate().unwrap();
    let mut old = params(&["a.example"]);
    (old.not_before, old.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 2, 3));
    let pair = files.pair("old", &issue(&root, old, &key), &key);
    assert_mistake(&files, &pair, Place::Cert(0), "old.pem: the certificate expired on 2021-02-03", "renew it");
    let mut early = params(&["a.example"]);
    early.not_before = date_time_ymd(2190, 1, 1);
    let pair = files.pair("early", &issue(&root, early, &key), &key);
    assert_mistake(&files, &pair, Place::Cert(0), "the certificate is not valid before 2190-01-01", "clock");
    let mut issuer = authority_params("middle");
    issuer.not_after = date_time_ymd(2021, 1, 1);
    let middle = CertifiedIssuer::signed_by(issuer, KeyPair::generate().unwrap(), &root).unwrap();
    let chain = issue(&middle, params(&["a.example"]), &key) + &middle.pem();
    let pair = files.pair("middle", &chain, &key);
    assert_mistake(&files, &pair, Place::Cert(0), "certificate 2 (CN=middle) expired on 2021-01-01", "renew");
}

#[test]
fn chains_that_do_not_hold() {
    let (files, root, stranger) = (Files::new(), authority("root"), authority("stranger"));
    let middle = CertifiedIssuer::signed_by(authority_params("middle"), KeyPair::generate().unwrap(), &root).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = issue(&middle, params(&["a.example"]), &key);
    let pair = |name: &str, rest: &[&str]| files.pair(name, &(leaf.clone() + &rest.concat()), &key);
    assert_eq!(mistakes(&files, &pair("good", &[&middle.pem(), &root.pem()])), []);
    assert_mistake(
        &files,
        &pair("order", &[&root.pem(), &middle.pem()]),
        Place::Cert(0),
        "wrong order: the issuer of certificate 1 does not follow it",
        "behind it",
    );
    assert_mistake(
        &files,
        &pair("broken", &[&stranger.pem()]),
        Place::Cert(0),
        "broken chain: certificate 2 (CN=stranger) did not issue the certificate, which names CN=middle",
        "issuer's certificate",
    );
    // The same name, but another key: an authority that was made anew.
    let anew = authority("middle");
    assert_mistake(&files, &pair("anew", &[&anew.pem()]), Place::Cert(0), "broken chain", "");
}

#[test]
fn a_certificate_without_names_is_refused() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = files.issued("nameless", &root, &[]);
    assert_mistake(&files, &pair, Place::Cert(0), "the certificate names no host", "common name");
}

#[test]
fn all_mistakes_are_told_each_at_its_place() {
    let (files, root) = (Files::new(), authority("root"));
    let good = files.issued("good", &root, &["a.example"]);
    let bad = Pair { cert: files.path("no.pem"), key: files.path("no.key") };
    let mut config = listener(&[good.clone(), bad, Pair { key: files.path("no.key"), ..good }]);
    config.ticket_secret = Some(Secret::File(files.write("secret", "short\n")));
    let said = told(&files, Store::default().listener(&config).err().unwrap());
    let places: Vec<Place> = said.iter().map(|(place, ..)| *place).collect();
    assert_eq!(places, [Place::Cert(1), Place::Key(2), Place::TicketSecret]);
    assert!(said[2].1.contains("secret: the ticket secret has 5 bytes, fewer than 32"), "{said:?}");
}

#[test]
fn what_is_doubtful_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let (files, root) = (Files::new(), authority("root"));
    let key = KeyPair::generate().unwrap();
    let mut wrong_use = params(&["a.example"]);
    wrong_use.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let pair = files.pair("a", &issue(&root, wrong_use, &key), &key);
    std::fs::set_permissions(&pair.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let twice = files.issued("b", &root, &["a.example"]);
    let mut due = params(&["c.example"]);
    let day = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap();
    due.not_after = date_time_ymd(day.year().into(), day.month() as u8, day.day() as u8);
    let soon = files.pair("c", &issue(&root, due, &key), &key);
    let (_, warnings) = Store::default().listener(&listener(&[pair, twice, soon])).unwrap();
    let said = told(&files, warnings);
    for (place, part) in [
        (Place::Key(0), "a.key: everybody on this machine can read the private key"),
        (Place::Cert(0), "a.pem: the certificate is not for servers"),
        (Place::Table, "b.pem: a.example is in "),
        (Place::Cert(2), "c.pem: the certificate expires on "),
    ] {
        assert!(said.iter().any(|(at, what, _)| *at == place && what.contains(part)), "{part}: {said:?}");
    }
    assert_eq!(said.len(), 4, "{said:?}");
}
