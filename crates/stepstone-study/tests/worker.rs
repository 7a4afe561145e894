//! A worker whose processes end badly. The processes are shell scripts, because only the way they end matters.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;
use stepstone_study::{
    EXPIRY, Ended, Event, Leases, Plan, RunState, Study, StudyError, StudyPaths, Wish, WorkerSettings, work,
};

/// A study of two runs of sst2 over a tiny encoder.
fn plan(place: &Path) -> Plan {
    stepstone_fixtures::copy_encoder(&place.join("model"), &["a", "b"]);
    let data = place.join("data/sst2");
    fs::create_dir_all(&data).expect("folder");
    for file in ["train.tsv", "dev.tsv"] {
        fs::write(data.join(file), "sentence\tlabel\na\t0\nb\t1\n").expect("data");
    }
    let text = "[study]\nname = \"s\"\nmodel = \"model\"\ndata = \"data\"\nrestarts = 2\n[tasks]\ntarget = [\"sst2\"]\n\
                [recipe]\nmax_length = 8\n";
    fs::write(place.join("study.toml"), text).expect("study");
    let study = Study::read(&place.join("study.toml"), &StudyPaths::default()).expect("a study");
    Plan::new(study).expect("a plan")
}

fn settings(script: &str) -> WorkerSettings {
    WorkerSettings {
        command: ["sh", "-c", script].map(PathBuf::from).to_vec(),
        threads: 1,
        resume_seconds: 60,
        lease_expiry: EXPIRY,
    }
}

fn states(plan: &Plan) -> Vec<RunState> {
    let mut leases = Leases::new(EXPIRY);
    plan.runs.iter().map(|run| plan.store().state(&run.record.id, &mut leases)).collect()
}

#[test]
fn a_process_that_panics_or_is_killed_costs_its_run_and_is_quoted() {
    let table = [
        (
            "read job; echo \"thread 'main' panicked at here\" >&2; exit 101",
            "the process panicked: thread 'main' panicked at here",
            "this is a bug",
        ),
        ("read job; kill -9 $$", "the process was ended by signal 9 (SIGKILL)", "if memory ran out"),
        ("read job; kill -11 $$", "signal 11 (SIGSEGV)", "this is a bug"),
        ("read job; kill -15 $$", "signal 15 (asked to end by another process)", ""),
        ("read job; kill -25 $$", "signal 25 (SIGXFSZ)", "ulimit -f"),
        ("read job; kill -24 $$", "signal 24 (SIGXCPU)", "ulimit -t"),
        ("read job; kill -8 $$", "signal 8 (SIGFPE)", "this is a bug"),
        ("read job; kill -31 $$", "signal 31 (SIGSYS)", "a sandbox forbids a system call"),
        (
            "read job; echo memory allocation of 9 bytes failed >&2; kill -6 $$",
            "signal 6 (SIGABRT): memory allocation of 9 bytes",
            "if memory ran out",
        ),
        (
            "read job; echo '{\"error\":{\"reason\":\"a bad row\",\"hint\":null,\"every_run\":false}}'; exit 65",
            "a bad row",
            "",
        ),
        ("read job; exit 3", "the process ended with exit code 3", ""),
    ];
    for (script, reason, hint) in table {
        let place = tempfile::tempdir().expect("folder");
        let plan = plan(place.path());
        let mut failed = 0;
        let ended = work(&plan, &settings(script), &Wish::default(), &mut |event| {
            failed += usize::from(matches!(event, Event::Failed { .. }));
        });
        assert_eq!(ended.expect("goes on"), Ended::Finished, "{script}");
        assert_eq!(failed, 2, "{script}: one failure does not end the worker");
        for state in states(&plan) {
            match state {
                RunState::Failed(failure) => {
                    assert!(failure.reason.contains(reason), "{script}: {failure:?}");
                    assert_eq!(failure.hint.is_some(), !hint.is_empty(), "{script}: {failure:?}");
                    assert!(failure.hint.unwrap_or_default().contains(hint), "{script}: {reason}");
                }
                other => panic!("{script}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_process_that_cannot_write_ends_the_worker_and_leaves_its_run_to_be_taken_again() {
    let place = tempfile::tempdir().expect("folder");
    let plan = plan(place.path());
    let error = "{\"error\":{\"reason\":\"no space left\",\"hint\":null,\"every_run\":true}}";
    let script = &format!("read job; echo '{error}'; exit 74");
    let error = work(&plan, &settings(script), &Wish::default(), &mut |_| {}).expect_err("ends");
    assert!(matches!(&error, StudyError::Process { code: 74, reason, .. } if reason == "no space left"), "{error:?}");
    assert!(states(&plan).iter().all(|state| *state == RunState::Waiting { resumable: false }));
}

#[test]
fn a_worker_whose_lease_was_taken_over_kills_its_process_and_goes_on() {
    let place = tempfile::tempdir().expect("folder");
    let plan = plan(place.path());
    let first = plan.store().folder(&plan.runs[0].record.id).path().to_path_buf();
    // The process makes the next lease, as another worker would, and sleeps; the process of the second run fails.
    let script = format!(
        "read job; case $job in *{}*) cp {dir}/lease.1 {dir}/lease.2; sleep 600;; esac; exit 3",
        plan.runs[0].record.id,
        dir = first.display()
    );
    let mut settings = settings(&script);
    settings.lease_expiry = Duration::from_millis(800);
    let mut lost = Vec::new();
    let wish = Wish::default();
    let ended = work(&plan, &settings, &wish, &mut |event| match event {
        Event::Lost { id } => {
            lost.push(id);
            // The other holder never finishes the run, so the worker is stopped instead of waiting for it.
            wish.stop.store(true, Ordering::Relaxed);
        }
        Event::Started { .. }
        | Event::Note { .. }
        | Event::Progress { .. }
        | Event::Done { .. }
        | Event::Failed { .. }
        | Event::Stopped { .. }
        | Event::Orphaned { .. } => {}
    });
    assert_eq!(ended.expect("stops"), Ended::Stopped);
    assert_eq!(lost, [plan.runs[0].record.id.clone()]);
}

/// A process that was asked to stop may end in any way; what it has on disk counts.
#[test]
fn whoever_asked_for_the_stop_records_no_failure_however_the_process_ends() {
    let ends = ["exit 75", "exit 130", "exit 143", "kill -2 $$", "kill -15 $$", "kill -10 $$", "kill -9 $$"];
    for end in ends {
        let place = tempfile::tempdir().expect("folder");
        let plan = plan(place.path());
        let wish = Wish::default();
        let mut stopped = 0;
        let script = format!("read job; read stop; {end}");
        let ended = work(&plan, &settings(&script), &wish, &mut |event| {
            wish.stop.store(true, Ordering::Relaxed);
            stopped += usize::from(matches!(event, Event::Stopped { .. }));
        });
        assert_eq!((ended.expect("stops"), stopped), (Ended::Stopped, 1), "{end}");
        assert!(states(&plan).iter().all(|state| *state == RunState::Waiting { resumable: false }), "{end}");
    }
}

/// Signals to several processes arrive one after the other.
#[test]
fn a_process_that_hears_of_the_stop_before_its_worker_has_not_failed() {
    let place = tempfile::tempdir().expect("folder");
    let plan = plan(place.path());
    let wish = Wish::default();
    let ended = std::thread::scope(|scope| {
        work(&plan, &settings("read job; kill -15 $$"), &wish, &mut |event| {
            if matches!(event, Event::Started { .. }) {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(50));
                    wish.stop.store(true, Ordering::Relaxed);
                });
            }
        })
    });
    assert_eq!(ended.expect("stops"), Ended::Stopped);
    assert!(states(&plan).iter().all(|state| *state == RunState::Waiting { resumable: false }));
}

#[test]
fn a_wish_to_end_kills_a_process_that_does_not_answer() {
    let place = tempfile::tempdir().expect("folder");
    let plan = plan(place.path());
    let wish = Wish::default();
    let ended = work(&plan, &settings("trap '' INT TERM; exec sleep 600"), &wish, &mut |_| {
        wish.stop.store(true, Ordering::Relaxed);
        wish.end.store(true, Ordering::Relaxed);
    });
    assert_eq!(ended.expect("ends"), Ended::Stopped);
    assert!(states(&plan).iter().all(|state| *state == RunState::Waiting { resumable: false }));
}

#[test]
fn a_worker_that_has_lost_its_run_records_no_failure_of_it() {
    let place = tempfile::tempdir().expect("folder");
    let plan = plan(place.path());
    let wish = Wish::default();
    let first = plan.store().folder(&plan.runs[0].record.id).path().to_path_buf();
    let script = format!("read job; cp {dir}/lease.1 {dir}/lease.2; exit 3", dir = first.display());
    let mut lost = Vec::new();
    let ended = work(&plan, &settings(&script), &wish, &mut |event| {
        if let Event::Lost { id } = event {
            lost.push(id);
            wish.stop.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(ended.expect("stops"), Ended::Stopped);
    assert_eq!(lost, [plan.runs[0].record.id.clone()]);
    assert!(!first.join("failure.json").exists());
}
