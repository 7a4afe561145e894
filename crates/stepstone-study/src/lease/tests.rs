//! Leases of live, dead, silent and foreign holders.

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

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn a_number_that_no_holder_has_written_neither_blocks_a_run_nor_costs_a_loop_of_its_length() {
    let place = place();
    let folder = place.path();
    for name in ["lease.18446744073709551615", "lease.99999999999999999999", "lease.007", "lease.+9", "lease.-1"] {
        fs::write(folder.join(name), "").expect("file");
    }
    assert_eq!(current(folder), None);
    assert_eq!(Leases::new(LONG).take(folder).expect("takes").expect("free").fence(), 1);
    let mut dead = Holder::this();
    dead.released = true;
    fs::write(folder.join("lease.999999999"), serde_json::to_vec(&dead).expect("JSON")).expect("file");
    let lease = Leases::new(LONG).take(folder).expect("takes").expect("free");
    assert_eq!(lease.fence(), 1_000_000_000);
    assert_eq!(names(folder).iter().filter(|name| number(&name[6..]).is_some()).count(), 1, "{:?}", names(folder));
    lease.remove();
    fs::write(file(folder, MOST), serde_json::to_vec(&dead).expect("JSON")).expect("file");
    let error = Leases::new(LONG).take(folder).expect_err("there is no next number");
    assert!(error.to_string().contains("lease.9007199254740992"), "{error}");
}

/// Whatever lies under the name of a lease is read as a lease whose holder cannot be known: it expires.
#[test]
fn a_folder_a_pipe_or_a_huge_file_in_place_of_a_lease_expires_like_any_other() {
    let pipe = |path: &Path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().expect("runs").success());
    };
    let huge = |path: &Path| fs::File::create(path).and_then(|file| file.set_len(1 << 40)).expect("file");
    let makers: [&dyn Fn(&Path); 3] = [&|path| fs::create_dir(path).expect("folder"), &pipe, &huge];
    for (kind, make) in makers.iter().enumerate() {
        let place = place();
        make(&file(place.path(), 3));
        let mut leases = Leases::new(SHORT);
        assert!(leases.holder(place.path()).is_none(), "{kind}");
        assert!(leases.take(place.path()).expect("asks").is_none(), "{kind}: first sight starts the clock");
        std::thread::sleep(SHORT);
        assert_eq!(leases.take(place.path()).expect("takes").expect("expired").fence(), 4, "{kind}");
    }
}

#[test]
fn what_killed_takers_have_left_goes_with_the_lease_and_other_files_stay() {
    let place = place();
    let folder = place.path();
    let mut dead = Holder::this();
    dead.released = true;
    fs::write(file(folder, 4), serde_json::to_vec(&dead).expect("JSON")).expect("file");
    for name in ["lease.3.host.7.9.0.tmp", "lease.5.host.7.9.1.tmp", "lease.4.bak", "lease.x.tmp", "log.jsonl"] {
        fs::write(folder.join(name), "").expect("file");
    }
    let lease = Leases::new(LONG).take(folder).expect("takes").expect("free");
    // One that takes number 5 at the same time may still need its temporary file.
    assert_eq!(names(folder), ["lease.4.bak", "lease.5", "lease.5.host.7.9.1.tmp", "lease.x.tmp", "log.jsonl"]);
    lease.remove();
    assert_eq!(names(folder), ["lease.4.bak", "lease.x.tmp", "log.jsonl"]);
}

#[test]
fn a_file_system_without_hard_links_is_named_as_such() {
    let refused = |answer: Errno| refused(Path::new("runs/a"), Path::new("runs/a/lease.1"), answer.into());
    for answer in [Errno::PERM, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS] {
        let error = refused(answer);
        assert!(matches!(&error, StudyError::NoHardLinks { .. }), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("another disk")), "{error}");
    }
    assert!(matches!(refused(Errno::NOSPC), StudyError::Write { .. }));
}
