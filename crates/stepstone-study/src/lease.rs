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
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What the system answers if a process ends between opening and reading its file (ESRCH).
const NO_SUCH_PROCESS: i32 = 3;
/// After this long without a heartbeat a lease is dead.
pub const EXPIRY: Duration = Duration::from_mins(2);

/// Heartbeats per expiry of a lease: three may come late before the holder counts as dead.
pub(crate) const BEATS: u32 = 4;
/// Number of checks per expiry of a lease that another machine holds.
// At the usual expiry, this is one check per second.
const LOOKS: u32 = 120;

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
        fs::create_dir_all(folder).map_err(|source| StudyError::Create { path: folder.into(), source })?;
        self.take_number(folder, fence)
    }

    /// Takes the run under number `fence`; None if another has that number or a higher one.
    fn take_number(&self, folder: &Path, fence: u64) -> Result<Option<Lease>, StudyError> {
        let lease = Lease { folder: folder.into(), fence, holder: self.here.clone() };
        let taken = lease.link().map_err(StudyError::write(&lease.path()))?;
        if !taken {
            return Ok(None); // another was faster
        }
        // The number may have been taken, given up and cleared away since it was chosen, by holders of higher ones.
        if !lease.is_current() {
            lease.remove();
            return Ok(None);
        }
        for older in 1..fence {
            let _ = fs::remove_file(file(folder, older)); // only the highest number counts
        }
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
        let content = fs::read(&path).unwrap_or_default();
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
        let _ = fs::remove_file(self.path()); // nobody reads the lease of a finished run
    }

    fn rewrite(&self) -> Result<bool, StudyError> {
        if !self.is_current() {
            return Ok(false);
        }
        let path = self.path();
        let write = || {
            let temporary = self.temporary()?;
            fs::rename(temporary, &path)
        };
        write().map_err(StudyError::write(&path))?;
        // A run taken over during the write is lost. The write did no harm, because only the highest number counts.
        Ok(self.is_current())
    }

    /// Creates the lease file unless it exists. A retried request on a network disk may report "exists" after success,
    /// so the number of links decides.
    fn link(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let temporary = self.temporary()?;
        let linked = fs::hard_link(&temporary, self.path());
        // Counted before the temporary name is removed, which lowers the count again.
        let links = fs::metadata(&temporary).map(|metadata| metadata.nlink());
        let removed = fs::remove_file(&temporary);
        match linked {
            Ok(()) => removed.map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(links? == 2),
            Err(error) => Err(error),
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
    let fence =
        |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.strip_prefix("lease.")?.parse().ok();
    entries.filter_map(fence).max()
}

fn read(folder: &Path, fence: u64) -> Option<Holder> {
    serde_json::from_slice(&fs::read(file(folder, fence)).ok()?).ok()
}

fn file(folder: &Path, fence: u64) -> PathBuf {
    folder.join(format!("lease.{fence}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);
    const SHORT: Duration = Duration::from_millis(80);

    fn place() -> tempfile::TempDir {
        tempfile::tempdir().expect("folder")
    }

    /// Leaves a lease as a worker on another machine would have written it.
    fn foreign(folder: &Path, fence: u64, beats: u64) {
        let mut holder = Holder::this();
        (holder.host, holder.boot, holder.beats) = ("elsewhere".into(), "another boot".into(), beats);
        fs::create_dir_all(folder).expect("folder");
        fs::write(file(folder, fence), serde_json::to_vec(&holder).expect("JSON")).expect("file");
    }

    #[test]
    fn one_of_many_takers_wins() {
        let place = place();
        let folder = place.path().join("run");
        let takers = (0..8).map(|_| {
            let folder = folder.clone();
            std::thread::spawn(move || Leases::new(LONG).take(&folder).expect("takes").is_some())
        });
        let takers: Vec<_> = takers.collect();
        let won = takers.into_iter().map(|taker| taker.join().expect("thread")).filter(|won| *won).count();
        assert_eq!(won, 1);
        let left: Vec<_> = fs::read_dir(&folder).expect("folder").map(|e| e.expect("entry").file_name()).collect();
        assert_eq!(left, ["lease.1"], "no temporary file is left");
    }

    #[test]
    fn a_released_run_is_taken_under_the_next_fence_and_the_old_holder_has_lost_it() {
        let place = place();
        let mut leases = Leases::new(LONG);
        let mut first = leases.take(place.path()).expect("takes").expect("free");
        assert!(leases.take(place.path()).expect("asks").is_none(), "the holder lives");
        assert!(first.beat(None).expect("beats"));
        assert_eq!(leases.holder(place.path()).expect("a holder").beats, 1);
        let stale = Lease { folder: place.path().into(), fence: first.fence, holder: first.holder.clone() };
        first.release().expect("releases");
        assert!(leases.holder(place.path()).is_none());
        let second = leases.take(place.path()).expect("takes").expect("free");
        assert_eq!(second.fence(), 2);
        let mut stale = stale;
        assert!(!stale.beat(None).expect("asks"), "a heartbeat of the old holder changes nothing");
        assert!(is_current(place.path(), 2) && !is_current(place.path(), 1));
    }

    #[test]
    fn a_dead_process_of_this_boot_loses_its_lease_at_once() {
        let place = place();
        let mut child = std::process::Command::new("true").spawn().expect("starts");
        let mut holder = Holder::this();
        holder.worker = Process::of(child.id());
        child.wait().expect("ends");
        fs::write(file(place.path(), 4), serde_json::to_vec(&holder).expect("JSON")).expect("file");
        let lease = Leases::new(LONG).take(place.path()).expect("takes").expect("free at once");
        assert_eq!(lease.fence(), 5);
        holder.worker = Process { pid: std::process::id(), start: 1 };
        fs::write(file(place.path(), 6), serde_json::to_vec(&holder).expect("JSON")).expect("file");
        assert!(Leases::new(LONG).take(place.path()).expect("takes").is_some(), "the number was given to another");
        // The child of a dead worker may still be writing.
        holder.child = Some(Process::of(std::process::id()));
        fs::write(file(place.path(), 8), serde_json::to_vec(&holder).expect("JSON")).expect("file");
        assert!(Leases::new(LONG).take(place.path()).expect("asks").is_none(), "its child lives");
    }

    #[test]
    fn a_second_process_of_this_machine_is_told_who_has_the_run() {
        let place = place();
        let held = Leases::new(LONG).take(place.path()).expect("takes").expect("free");
        let error = Leases::new(LONG).take_or_watch(place.path(), &AtomicBool::new(false)).expect_err("held");
        let StudyError::Busy { pid, host, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*pid, host), (std::process::id(), &Holder::this().host));
        held.release().expect("releases");
        let mut leases = Leases::new(LONG);
        assert_eq!(leases.take_or_watch(place.path(), &AtomicBool::new(false)).expect("free").fence(), 2);
    }

    #[test]
    fn a_silent_holder_of_another_machine_is_watched_until_its_lease_expires() {
        let place = place();
        foreign(place.path(), 1, 0);
        let stopped = Leases::new(LONG).take_or_watch(place.path(), &AtomicBool::new(true));
        assert!(matches!(stopped, Err(StudyError::Busy { .. })), "{stopped:?}");
        let lease = Leases::new(SHORT).take_or_watch(place.path(), &AtomicBool::new(false)).expect("expires");
        assert_eq!(lease.fence(), 2);
    }

    #[test]
    fn a_held_lease_beats_by_itself_and_says_when_it_is_lost() {
        let place = place();
        let lease = Leases::new(LONG).take(place.path()).expect("takes").expect("free");
        let beats = || read(place.path(), 1).expect("a lease").beats;
        lease.hold(SHORT, |still_ours| {
            while beats() < 2 {
                assert!(still_ours());
                thread::yield_now();
            }
            foreign(place.path(), 2, 0);
            assert!(!still_ours());
        });
        assert_eq!(read(place.path(), 2).expect("a lease").host, "elsewhere", "nothing of the new holder is touched");
    }

    #[test]
    fn a_foreign_lease_expires_by_the_readers_clock_whatever_its_files_time_says() {
        let place = place();
        foreign(place.path(), 1, 0);
        for hours in [-5i64, 5] {
            let seconds = Duration::from_hours(hours.unsigned_abs());
            let now = std::time::SystemTime::now();
            let time = if hours < 0 { now - seconds } else { now + seconds };
            let lease = fs::File::options().write(true).open(file(place.path(), 1)).expect("file");
            lease.set_modified(time).expect("time");
            assert!(Leases::new(LONG).take(place.path()).expect("asks").is_none(), "{hours} hours");
        }
        let mut leases = Leases::new(SHORT);
        assert!(leases.take(place.path()).expect("asks").is_none(), "first sight starts the clock");
        std::thread::sleep(SHORT);
        foreign(place.path(), 1, 1);
        assert!(leases.take(place.path()).expect("asks").is_none(), "a heartbeat restarts it");
        std::thread::sleep(SHORT);
        assert_eq!(leases.take(place.path()).expect("takes").expect("expired").fence(), 2);
    }

    #[test]
    fn a_late_taker_of_a_number_that_others_have_passed_gets_nothing_and_leaves_nothing() {
        let place = place();
        foreign(place.path(), 3, 0); // whoever took 3 has cleared 2 away
        assert!(Leases::new(LONG).take_number(place.path(), 2).expect("asks").is_none());
        let left: Vec<_> = fs::read_dir(place.path()).expect("folder").map(|e| e.expect("entry").file_name()).collect();
        assert_eq!(left, ["lease.3"]);
    }

    #[test]
    fn a_process_that_has_ended_is_gone_before_its_parent_has_waited_for_it() {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let mut child = std::process::Command::new("true").spawn().expect("starts");
        let process = Process::of(child.id());
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT; // it stays a zombie
        waitid(WaitId::Pid(Pid::from_child(&child)), options).expect("ends");
        assert!(process.is_gone());
        child.wait().expect("ends");
    }

    #[test]
    fn where_the_boot_is_unknown_only_time_tells_whether_a_holder_lives() {
        let place = place();
        let mut leases = Leases::new(LONG);
        leases.here.boot.clear();
        let holder = Holder { worker: Process { pid: std::process::id(), start: 1 }, ..leases.here.clone() };
        fs::write(file(place.path(), 1), serde_json::to_vec(&holder).expect("JSON")).expect("file");
        assert!(leases.take(place.path()).expect("asks").is_none(), "it may be a process of another machine");
    }
}
