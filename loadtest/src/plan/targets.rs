//! From URLs to origins: read, grouped by server, names resolved.
use super::{
    Address, Mistakes, Options, Origin, Request,
    mistake::{grouped, quoted},
    options::{ADDRESSES_MAX, ORIGINS_MAX, URL_FILE_MAX, URLS_MAX},
    url::{self, Url, authority_fault, host_and_port},
};
use edge_io::http1::is_authority;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    net::{IpAddr, ToSocketAddrs},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// Longest path of a unix socket, bytes (`sun_path` with its closing zero has 108).
const UNIX_PATH_MAX: usize = 107;

/// Reads a file of at most so many bytes.
pub(super) fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    read.map_err(|e| format!("{}: it cannot be read: {}", path.display(), told(&e)))?;
    if bytes.len() as u64 > max {
        return Err(format!("{}: it is larger than {} bytes, which is the most", path.display(), grouped(max)));
    }
    Ok(bytes)
}

/// An error of the system, without its number.
pub(super) fn told(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// All URLs, of the command line and then of the files.
pub(super) fn urls(options: &Options, mistakes: &mut Mistakes) -> Vec<Url> {
    let mut urls: Vec<Url> = options.urls.iter().filter_map(|text| mistakes.check(url::parse(text))).collect();
    for path in &options.url_files {
        let Some(bytes) = mistakes.check(read_bounded(path, URL_FILE_MAX)) else { continue };
        let before = urls.len();
        for (number, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |mistake| format!("{}, line {}: {mistake}", path.display(), number + 1);
            urls.extend(mistakes.check(url::parse(line).map_err(at)));
            if urls.len() > URLS_MAX {
                break;
            }
        }
        if urls.len() == before && mistakes.is_empty() {
            mistakes.add(format!("{}: there is no URL in it; expected one in each line", path.display()));
        }
    }
    if urls.len() > URLS_MAX {
        mistakes.add(format!("more than {} URLs, which is the most", grouped(URLS_MAX as u64)));
    }
    if urls.is_empty() && mistakes.is_empty() {
        mistakes.add("there is no URL; expected one such as http://localhost:8080/");
    }
    urls
}

/// Groups URLs by server, in the order in which servers first appear. The request of each is made by `request`.
pub(super) fn group(
    urls: &[Url],
    options: &Options,
    mistakes: &mut Mistakes,
    request: impl Fn(&Url) -> Request,
) -> Vec<Origin> {
    let mut origins: Vec<Origin> = Vec::new();
    let mut places: HashMap<(bool, &str, u16), usize> = HashMap::new();
    for url in urls {
        let place = *places.entry((url.secure, &url.host, url.port)).or_insert(origins.len());
        if place == origins.len() {
            origins.push(origin(url, options));
        }
        if let Some(origin) = origins.get_mut(place) {
            origin.requests.push(request(url));
        }
    }
    if origins.len() > ORIGINS_MAX {
        mistakes.add(format!("the URLs name {} servers; the most is {ORIGINS_MAX}", origins.len()));
    }
    origins
}

fn origin(url: &Url, options: &Options) -> Origin {
    Origin {
        secure: url.secure,
        host: url.host.clone(),
        port: url.port,
        authority: options.host.clone().unwrap_or_else(|| url.authority.clone()),
        server_name: options.sni.clone().unwrap_or_else(|| url.host.clone()),
        addresses: Vec::new(),
        requests: Vec::new(),
    }
}

/// Fills in where each origin is connected to.
pub(super) fn resolve(origins: &mut [Origin], options: &Options, mistakes: &mut Mistakes) {
    let fixed = match (&options.unix, &options.connect_to) {
        (Some(_), Some(_)) => {
            mistakes.add("--unix and --connect-to: only one can say where to connect; leave one out");
            return;
        }
        (Some(path), None) => Some(mistakes.check(unix(path)).into_iter().collect()),
        (None, Some(to)) => Some(mistakes.check(connect_to(to)).unwrap_or_default()),
        (None, None) => None,
    };
    // Each name is asked for once: http and https of one host, and its ports, share the answer.
    let mut known: HashMap<String, Result<Vec<IpAddr>, String>> = HashMap::new();
    for origin in origins {
        origin.addresses = match &fixed {
            Some(addresses) => Vec::clone(addresses),
            None => {
                let asked = known
                    .entry(origin.host.clone())
                    .or_insert_with(|| lookup(&origin.host).inspect_err(|mistake| mistakes.add(mistake.clone())));
                let port = origin.port;
                asked.iter().flatten().map(|ip| Address::Ip((*ip, port).into())).collect()
            }
        };
    }
}

fn unix(path: &Path) -> Result<Address, String> {
    let wrong = |what: &str| format!("--unix {}: {what}", path.display());
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes == b"@" {
        return Err(wrong("there is no path; expected the path of a socket, or @NAME"));
    }
    if bytes.len() > UNIX_PATH_MAX {
        return Err(wrong(&format!("it has {} bytes; a socket's path has {UNIX_PATH_MAX} at most", bytes.len())));
    }
    if bytes.first() != Some(&b'@') {
        path.metadata().map_err(|e| wrong(&format!("{}; expected the path of a socket", told(&e))))?;
    }
    Ok(Address::Unix(path.to_owned()))
}

fn connect_to(to: &str) -> Result<Vec<Address>, String> {
    let wrong = |what: &str| format!("--connect-to {}: {what}", quoted(to));
    if !is_authority(to.as_bytes()) {
        return Err(wrong(&authority_fault(to)));
    }
    let (host, port) = host_and_port(to);
    let Some(port) = port else {
        return Err(wrong("there is no port; expected HOST:PORT"));
    };
    let addresses = lookup(&host).map_err(|mistake| wrong(&mistake))?;
    Ok(addresses.into_iter().map(|ip| Address::Ip((ip, port).into())).collect())
}

/// Addresses of a name, each once, in the resolver's order; at least one.
fn lookup(host: &str) -> Result<Vec<IpAddr>, String> {
    let wrong =
        |why: String| format!("host {}: it has no address ({why}); check the name, or use --connect-to", quoted(host));
    // The port is of no matter to the answer.
    let found = (host, 0).to_socket_addrs().map_err(|e| wrong(told(&e)))?;
    let mut addresses = Vec::new();
    for ip in found.map(|a| a.ip()).take(4 * ADDRESSES_MAX) {
        if !addresses.contains(&ip) && addresses.len() < ADDRESSES_MAX {
            addresses.push(ip);
        }
    }
    if addresses.is_empty() { Err(wrong("the answer is empty".into())) } else { Ok(addresses) }
}
