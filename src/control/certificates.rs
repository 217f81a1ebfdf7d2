//! Certificates while the edge runs: their files are watched, read again when they change, and told of in status and
//! metrics. A change of files is no new configuration: tables are replaced under the listeners that use them.
use super::{Control, reload::aside};
use crate::{
    admin::view,
    observe::notice,
    snapshot::Snapshot,
    tls::{Certificate, Refreshed},
};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind, event::AccessMode};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Notify, time::timeout};

/// After a change, files are read when nothing has changed for this long: a certificate and its key are two files.
const QUIET: Duration = Duration::from_millis(250);
/// But no later than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// Files are looked at this often in any case: not every file system tells of changes.
const LOOK_ANYWAY: Duration = Duration::from_secs(300);
/// Certificates that status lists: those that expire first.
pub(super) const LISTED_MAX: usize = 1000;
/// Links that are followed from one path.
const LINKS_MAX: usize = 40;

/// Reads files again when they change, for as long as it is polled.
pub(super) async fn watch(control: Rc<Control>) {
    let changed = Arc::new(Notify::new());
    let mut watched = Watched::new(changed.clone());
    loop {
        // What changed between reading a file and watching it has told nobody.
        let unseen = watched.follow(control.tls_files()).await;
        if !unseen {
            tokio::select! {
                () = changed.notified() => settle(&changed).await,
                () = control.watch_anew.notified() => continue,
                () = tokio::time::sleep(LOOK_ANYWAY) => {}
            }
        }
        control.refresh_certificates().await;
    }
}

/// Waits until nothing has changed for a while.
async fn settle(changed: &Notify) {
    let quiet = async { while timeout(QUIET, changed.notified()).await.is_ok() {} };
    let _ = timeout(PATIENCE, quiet).await;
}

/// The directories that are watched, and the names in them that matter.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    names: HashSet<PathBuf>,
    /// Both of them: of anything else a change is no news.
    matter: Arc<Mutex<HashSet<PathBuf>>>,
    changed: Arc<Notify>,
    /// A failure is told once.
    told: bool,
}

impl Watched {
    fn new(changed: Arc<Notify>) -> Watched {
        let (directories, names, matter) = (BTreeSet::new(), HashSet::new(), Arc::default());
        Watched { watcher: None, directories, names, matter, changed, told: false }
    }

    /// Watches what `files` depend on from now on, and nothing else; whether there was something that it did not watch
    /// before.
    async fn follow(&mut self, files: Vec<PathBuf>) -> bool {
        if files.is_empty() && self.watcher.is_none() {
            return false;
        }
        // Following links touches the disk.
        let Ok(names) = aside(move || files.iter().flat_map(|file| trail(file)).collect::<HashSet<PathBuf>>()).await
        else {
            return false;
        };
        let wanted: BTreeSet<PathBuf> = names.iter().filter_map(|name| name.parent()).map(Path::to_owned).collect();
        *self.matter.lock().unwrap_or_else(PoisonError::into_inner) = names.iter().chain(&wanted).cloned().collect();
        if self.watcher.is_none() {
            self.watcher = self.start();
        }
        let Some(watcher) = &mut self.watcher else { return false };
        for gone in self.directories.difference(&wanted) {
            let _ = watcher.unwatch(gone); // it may be gone itself
        }
        let mut failed = None;
        for directory in &wanted {
            // Again even if it is watched: another directory may be there by that name.
            failed = watcher.watch(directory, RecursiveMode::NonRecursive).err().map(|e| (directory, e)).or(failed);
        }
        if let Some((directory, why)) = failed.filter(|_| !self.told) {
            self.told = true;
            notice(format_args!(
                "warning: {} cannot be watched: {why}; certificates are looked at every {} s and on reload",
                directory.display(),
                LOOK_ANYWAY.as_secs()
            ));
        }
        self.directories = wanted;
        let unseen = !names.is_subset(&self.names);
        self.names = names;
        unseen
    }

    fn start(&mut self) -> Option<RecommendedWatcher> {
        let (matter, changed) = (self.matter.clone(), self.changed.clone());
        let told = move |event: notify::Result<Event>| {
            let matters = match event {
                Ok(event) => {
                    let matter = matter.lock().unwrap_or_else(PoisonError::into_inner);
                    is_change(event.kind) && (event.need_rescan() || event.paths.iter().any(|p| matter.contains(p)))
                }
                Err(_) => true,
            };
            if matters {
                changed.notify_one();
            }
        };
        match notify::recommended_watcher(told) {
            Ok(watcher) => Some(watcher),
            Err(why) => {
                if !std::mem::replace(&mut self.told, true) {
                    notice(format_args!("warning: certificate files cannot be watched: {why}"));
                }
                None
            }
        }
    }
}

/// Reading a file is told too, also our own.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Everything whose change may change what `path` leads to: itself, each symbolic link on the way, and what these lead
/// to. Directories are spelled without links, as the watcher tells of them.
fn trail(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![std::path::absolute(path).unwrap_or_else(|_| path.to_owned())];
    let mut links = 0;
    while let Some(path) = todo.pop() {
        found.extend(place(&path));
        for link in path.ancestors().collect::<Vec<_>>() {
            let Ok(target) = std::fs::read_link(link) else { continue };
            links += 1;
            if links > LINKS_MAX {
                return found;
            }
            found.extend(place(link));
            let rest = path.strip_prefix(link).unwrap_or(Path::new(""));
            let target = link.parent().unwrap_or(Path::new("/")).join(target);
            todo.push(if rest.as_os_str().is_empty() { target } else { target.join(rest) });
        }
    }
    found
}

/// `path` in its directory, spelled without links.
fn place(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

impl Control {
    /// The files that TLS is made of.
    fn tls_files(&self) -> Vec<PathBuf> {
        let current = self.state.borrow().current.clone();
        let Some(current) = current else { return Vec::new() };
        let mut files: Vec<PathBuf> =
            current.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| tls.files()).collect();
        files.extend(self.registry.tls.identity_files());
        files
    }

    /// Reads the files of TLS again and uses what has changed. What cannot be used is told, and changes nothing.
    pub async fn refresh_certificates(&self) {
        let turn = self.turn.lock().await;
        let current = self.state.borrow().current.clone();
        let Some(current) = current else { return };
        let registry = self.registry.clone();
        let listeners: Vec<_> =
            current.listeners.iter().filter_map(|l| Some((l.name.clone(), l.tls.clone()?))).collect();
        drop(current);
        let work = move || {
            let mut done: Vec<(String, Refreshed)> = Vec::with_capacity(listeners.len() + 1);
            for (name, tls) in listeners {
                done.push((format!("listener {name:?}"), registry.tls.refresh(&tls)));
            }
            done.push(("endpoints".to_owned(), registry.tls.refresh_identities()));
            done
        };
        let done = aside(work).await.unwrap_or_default();
        drop(turn);
        for (whose, Refreshed { changed, problems }) in &done {
            problems
                .iter()
                .for_each(|problem| notice(format_args!("warning: {problem}; what it held before stays in use")));
            if !changed.is_empty() {
                notice(format_args!("{whose}: renewed {}", shown(changed)));
            }
        }
        self.tell_certificates();
    }

    /// Brings the metrics of certificates up to date.
    pub(super) fn tell_certificates(&self) {
        let current = self.state.borrow().current.clone();
        let all = current.map(|current| current.certificates()).unwrap_or_default();
        // One certificate may serve several listeners, and many have one first name: a label each.
        let certificates = all.iter().map(|c| (Arc::from(c.name()), c.not_after)).collect();
        self.stats.control.set_certificates(certificates);
        self.stats.control.cert_reload_failures.set_total(self.registry.tls.failures());
    }

    /// Certificates for status: those that expire first, and how many there are.
    pub(super) fn certificate_views(&self, snapshot: &Snapshot) -> (Vec<view::Certificate>, usize) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let unusable: HashMap<String, String> =
            self.registry.tls.unusable().into_iter().map(|u| (u.cert.display().to_string(), u.why)).collect();
        let mut all: Vec<(&str, Arc<Certificate>)> = Vec::new();
        for listener in &snapshot.listeners {
            let certificates = listener.tls.as_ref().map(|tls| tls.certificates()).unwrap_or_default();
            all.extend(certificates.into_iter().map(|certificate| (&*listener.name, certificate)));
        }
        all.sort_by_key(|(_, certificate)| certificate.not_after);
        let view = |(listener, certificate): &(&str, Arc<Certificate>)| view::Certificate {
            listener: (*listener).to_owned(),
            names: certificate.names.iter().map(ToString::to_string).collect(),
            key: certificate.kind.as_str().to_owned(),
            source: certificate.source.clone(),
            serial: certificate.serial.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            due: certificate.is_due(now),
            problem: unusable.get(&certificate.source).cloned(),
        };
        (all.iter().take(LISTED_MAX).map(view).collect(), all.len())
    }
}

/// Most names that one line shows; the rest is counted.
const NAMES_SHOWN_MAX: usize = 20;

fn shown(names: &[String]) -> String {
    let first = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_trail_has_every_link_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        // As a mounted secret: file -> ..data/file, ..data -> a directory that is replaced.
        std::fs::create_dir(root.join("..v1")).unwrap();
        std::fs::write(root.join("..v1/tls.crt"), "x").unwrap();
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/tls.crt", root.join("tls.crt")).unwrap();
        let found = trail(&root.join("tls.crt"));
        for name in ["tls.crt", "..data", "..v1/tls.crt"] {
            assert!(found.contains(&root.join(name)), "{name}: {found:?}");
        }
        symlink("loop", root.join("loop")).unwrap();
        assert!(trail(&root.join("loop")).len() <= 2 * LINKS_MAX + 1);
        assert_eq!(trail(&root.join("missing.pem")), [root.join("missing.pem")]);
    }

    #[test]
    fn reading_is_no_change() {
        use notify::event::{CreateKind, ModifyKind};
        assert!(!is_change(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!is_change(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(is_change(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(is_change(EventKind::Create(CreateKind::File)));
        assert!(is_change(EventKind::Modify(ModifyKind::Any)));
    }
}
