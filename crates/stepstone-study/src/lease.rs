//! Who works on a run: leases in a folder that several machines may share.
//!
//! The lease of a run is the file `lease.N` in its folder with the highest N. It is created complete by `link(2)`,
//! which fails if the name exists, so that exactly one of several workers wins; nothing is ever locked. N is the fence:
//! a worker takes a run over by creating `lease.N+1`, and the holder of a lower number must not write any more.
//!
//! A holder rewrites its lease from time to time (heartbeat). A lease is dead when its holder's processes are gone, which
//! can be seen on the same boot of the same machine, or when its content has not changed for [`EXPIRY`] by the reader's
//! own monotonic clock. Clocks of different machines are never compared.

use crate::error::StudyError;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use stepstone_files::read_at_most;

/// What the system answers if a process ends between opening and reading its file (ESRCH).
const NO_SUCH_PROCESS: i32 = 3;
/// After this long without a heartbeat a lease is dead.
pub const EXPIRY: Duration = Duration::from_mins(2);

/// Heartbeats per expiry of a lease: three may come late before the holder counts as dead.
pub(crate) const BEATS: u32 = 4;
/// Number of checks per expiry of a lease that another machine holds.
// At the usual expiry, this is one check per second.
const LOOKS: u32 = 120;

/// The highest number of a lease. Holders count from 1, so that none gets near it: a file with a higher number is no
/// lease.
const MOST: u64 = 1 << 53;
/// Bytes of the longest lease that is read; those that we write have a few hundred.
const LARGEST: u64 = 1 << 16;

/// Content of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the machine, for people.
    pub host: String,
    /// The boot of the machine and the process namespace, inside which process ids mean something; empty if unknown.
    pub boot: String,
    /// The worker.
    pub worker: Process,
    /// The process that trains the run.
    pub child: Option<Process>,
    /// Heartbeats so far.
    pub beats: u64,
    /// Given up by its holder: anybody may take the run.
    pub released: bool,
}

/// A process id, made unique within a boot by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start in clock ticks since boot; 0 if unknown.
    pub start: u64,
}

impl Process {
    /// The process of this id, as it is now.
    pub fn of(pid: u32) -> Self {
        Self { pid, start: start_of(pid).unwrap_or(0) }
    }

    fn is_gone(self) -> bool {
        match start_of(self.pid) {
            None => true,
            // The system reuses process ids, and only the start tells an owner from a later process with its id.
            Some(start) => self.start != 0 && start != 0 && start != self.start,
        }
    }
}

/// Field 22 of `/proc/PID/stat`; None if there is no such process, or if it is a zombie; 0 if that cannot be known, as
/// when this process may open no more files: a live process must never be taken for a dead one.
fn start_of(pid: u32) -> Option<u64> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS) => {
            return None;
        }
        Err(_) => return Some(0),
    };
    let Some((_, fields)) = stat.rsplit_once(')') else { return Some(0) }; // the name before may hold spaces
    let mut fields = fields.split_whitespace();
    match fields.next() {
        Some("Z" | "X") => None,
        Some(_) => Some(fields.nth(18).and_then(|start| start.parse().ok()).unwrap_or(0)),
        None => Some(0),
    }
}

impl Holder {
    /// This process.
    fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let boot = read("/proc/sys/kernel/random/boot_id");
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot: if boot.is_empty() { boot } else { format!("{boot} {}", namespace.display()) },
            worker: Process::of(std::process::id()),
            child: None,
            beats: 0,
            released: false,
        }
    }

    /// Whether its processes can be seen from here.
    fn is_visible(&self, here: &Self) -> bool {
        !self.boot.is_empty() && self.boot == here.boot
    }

    /// Whether its processes can be seen from here, and are gone.
    fn is_gone(&self, here: &Self) -> bool {
        self.is_visible(here) && self.worker.is_gone() && self.child.is_none_or(Process::is_gone)
    }
}

/// Takes leases, and remembers since when the leases of others have been unchanged.
#[derive(Debug)]
pub struct Leases {
    here: Holder,
    expiry: Duration,
    seen: HashMap<PathBuf, (Vec<u8>, Instant)>,
}

impl Leases {
    /// `expiry`: see [`EXPIRY`]; shorter in tests.
    pub fn new(expiry: Duration) -> Self {
        Self { here: Holder::this(), expiry, seen: HashMap::new() }
    }

    /// Takes the run in `folder`, creating the folder if needed; None while another holder is alive.
    ///
    /// # Errors
    /// If the system refuses a write.
    pub fn take(&mut self, folder: &Path) -> Result<Option<Lease>, StudyError> {
        let fence = match current(folder) {
            None => 1,
            Some(fence) if self.is_dead(folder, fence) => fence + 1,
            Some(_) => return Ok(None),
        };
        if fence > MOST {
            let source = io::Error::other("no lease has a higher number: remove this file");
            return Err(StudyError::Write { path: file(folder, fence - 1), source });
        }
        fs::create_dir_all(folder).map_err(|source| StudyError::Create { path: folder.into(), source })?;
        self.take_number(folder, fence)
    }

    /// Takes the run under number `fence`; None if another has that number or a higher one.
    fn take_number(&self, folder: &Path, fence: u64) -> Result<Option<Lease>, StudyError> {
        let lease = Lease { folder: folder.into(), fence, holder: self.here.clone() };
        if !lease.link()? {
            return Ok(None); // another was faster
        }
        // The number may have been taken, given up and cleared away since it was chosen, by holders of higher ones.
        if !lease.is_current() {
            lease.remove();
            return Ok(None);
        }
        clear(folder, fence);
        Ok(Some(lease))
    }

    /// Takes the run in `folder` for a caller that has nothing else to do. A holder on this machine is either alive or
    /// gone; one on another machine is watched until it beats or its lease expires.
    ///
    /// # Errors
    /// If another process has the run, `stop` is set meanwhile, or the system refuses a write.
    pub fn take_or_watch(&mut self, folder: &Path, stop: &AtomicBool) -> Result<Lease, StudyError> {
        let mut first = None;
        loop {
            if let Some(lease) = self.take(folder)? {
                return Ok(lease);
            }
            // None if it ended just now: the next look takes the run.
            if let Some(holder) = self.holder(folder) {
                let first = first.get_or_insert_with(|| holder.clone());
                if holder.is_visible(&self.here) || *first != holder || stop.load(Ordering::Relaxed) {
                    let Holder { host, worker, .. } = holder;
                    return Err(StudyError::Busy { folder: folder.into(), host, pid: worker.pid });
                }
            }
            thread::sleep(self.expiry / LOOKS);
        }
    }

    /// The holder of the run in `folder`, unless it is known to be dead.
    pub fn holder(&mut self, folder: &Path) -> Option<Holder> {
        let fence = current(folder)?;
        let holder = read(folder, fence)?;
        if self.is_dead(folder, fence) { None } else { Some(holder) }
    }

    fn is_dead(&mut self, folder: &Path, fence: u64) -> bool {
        let path = file(folder, fence);
        let content = read_at_most(&path, LARGEST).unwrap_or_default();
        match serde_json::from_slice::<Holder>(&content) {
            Ok(holder) if holder.released || holder.is_gone(&self.here) => return true,
            // Leases are written whole, so an unreadable one is foreign; it expires like any other.
            Ok(_) | Err(_) => {}
        }
        let unchanged_since = match self.seen.get(&path) {
            Some((before, since)) if *before == content => *since,
            Some(_) | None => {
                let now = Instant::now();
                self.seen.insert(path, (content, now));
                now
            }
        };
        unchanged_since.elapsed() >= self.expiry
    }
}

/// The right to work on a run, as long as nobody takes it over.
#[derive(Debug)]
pub struct Lease {
    folder: PathBuf,
    fence: u64,
    holder: Holder,
}

impl Lease {
    /// The number that later holders exceed.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether nobody has taken the run over.
    pub fn is_current(&self) -> bool {
        is_current(&self.folder, self.fence)
    }

    /// Writes a heartbeat that names the process training the run. False if the run has been taken over.
    ///
    /// # Errors
    /// If the lease cannot be written.
    pub fn beat(&mut self, child: Option<u32>) -> Result<bool, StudyError> {
        self.holder.child = child.map(Process::of);
        self.holder.beats += 1;
        self.rewrite()
    }

    /// Does `work` while another thread writes heartbeats. `work` can ask whether the run still belongs to this holder.
    pub fn hold<T>(&self, expiry: Duration, work: impl FnOnce(&dyn Fn() -> bool) -> T) -> T {
        let mut beating = Self { folder: self.folder.clone(), fence: self.fence, holder: self.holder.clone() };
        let (done, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while ended.recv_timeout(expiry / BEATS) == Err(RecvTimeoutError::Timeout) {
                    let _ = beating.beat(None); // `work` checks before it writes whether the run is lost
                }
            });
            let result = work(&|| self.is_current());
            // Closing the channel wakes the heartbeat at once; a flag would make the scope wait for its next beat.
            drop(done);
            result
        })
    }

    /// Lets anybody take the run.
    ///
    /// # Errors
    /// If the lease cannot be written.
    pub fn release(mut self) -> Result<(), StudyError> {
        self.holder.released = true;
        self.rewrite().map(drop)
    }

    /// Ends the lease of a finished run, which nobody will take again.
    pub fn remove(self) {
        clear(&self.folder, self.fence + 1); // nobody reads the lease of a finished run
    }

    fn rewrite(&self) -> Result<bool, StudyError> {
        if !self.is_current() {
            return Ok(false);
        }
        let path = self.path();
        match self.temporary().and_then(|temporary| fs::rename(temporary, &path)) {
            // The next holder has cleared the temporary file away.
            Err(error) if error.kind() == ErrorKind::NotFound && !self.is_current() => return Ok(false),
            written => written.map_err(StudyError::write(&path))?,
        }
        // A run taken over during the write is lost. The write did no harm, because only the highest number counts.
        Ok(self.is_current())
    }

    /// Creates the lease file unless it exists. A retried request on a network disk may report "exists" after success,
    /// so the number of links decides.
    fn link(&self) -> Result<bool, StudyError> {
        use std::os::unix::fs::MetadataExt;
        let path = self.path();
        let temporary = self.temporary().map_err(StudyError::write(&path))?;
        let linked = fs::hard_link(&temporary, &path);
        // Counted before the temporary name is removed, which lowers the count again.
        let links = fs::metadata(&temporary).map(|metadata| metadata.nlink());
        let _ = fs::remove_file(&temporary); // what is left is cleared away with the lease
        match (linked, links) {
            (Ok(()), _) => Ok(true),
            (Err(error), Ok(links)) if error.kind() == ErrorKind::AlreadyExists => Ok(links == 2),
            // The holder of a higher number has cleared the temporary file away.
            (Err(_), Err(gone)) if gone.kind() == ErrorKind::NotFound => Ok(false),
            (Err(error), _) => Err(refused(&self.folder, &path, error)),
        }
    }

    fn temporary(&self) -> io::Result<PathBuf> {
        // A process may take from several threads at once: no two may share a name.
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let Holder { host, worker, .. } = &self.holder;
        // `current` skips this name, because what follows `lease.` is not a number.
        let name = format!("lease.{}.{host}.{}.{}.{number}.tmp", self.fence, worker.pid, worker.start);
        let path = self.folder.join(name);
        let text = serde_json::to_vec(&self.holder).map_err(io::Error::other)?;
        fs::write(&path, text)?;
        Ok(path)
    }

    fn path(&self) -> PathBuf {
        file(&self.folder, self.fence)
    }
}

/// Whether the lease of this number is the run's highest: its holder still has the run.
pub(crate) fn is_current(folder: &Path, fence: u64) -> bool {
    current(folder) == Some(fence)
}

fn current(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?;
    let fence = |entry: io::Result<fs::DirEntry>| number(entry.ok()?.file_name().to_str()?.strip_prefix("lease.")?);
    entries.filter_map(fence).max()
}

/// The number of a lease, as its holder writes it.
fn number(word: &str) -> Option<u64> {
    word.parse().ok().filter(|number: &u64| *number <= MOST && number.to_string() == word)
}

/// Removes the leases with numbers below `end`, and what killed writers of such leases have left. It lists the folder: a
/// loop over the numbers would be as long as the highest name says.
fn clear(folder: &Path, end: u64) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("lease.")) else { continue };
        let (word, temporary) = rest.split_once('.').unwrap_or((rest, ".tmp"));
        if temporary.strip_suffix(".tmp").is_some() && number(word).is_some_and(|number| number < end) {
            let _ = fs::remove_file(entry.path()); // only the highest counts
        }
    }
}

/// Why a lease could not be linked.
fn refused(folder: &Path, path: &Path, source: io::Error) -> StudyError {
    // `EPERM` is link(2)'s own answer of such a file system: the temporary file could be written.
    let answers = [Errno::PERM, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS];
    if answers.iter().any(|answer| source.raw_os_error() == Some(answer.raw_os_error())) {
        StudyError::NoHardLinks { folder: folder.into(), source }
    } else {
        StudyError::write(path)(source)
    }
}

fn read(folder: &Path, fence: u64) -> Option<Holder> {
    serde_json::from_slice(&read_at_most(&file(folder, fence), LARGEST).ok()?).ok()
}

fn file(folder: &Path, fence: u64) -> PathBuf {
    folder.join(format!("lease.{fence}"))
}

#[cfg(test)]
mod tests;
