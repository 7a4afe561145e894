//! States of runs according to the files in a store: done, waiting, or to be made again.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use stepstone_study::{Counts, EXPIRY, Leases, Plan, RunState, Study, StudyPaths, Tally, state};
use stepstone_train::{Control, Outcome, Run};

/// A study of two restarts: two intermediate runs of sst2, two baseline runs of rte, and two runs of rte after sst2.
fn plan(place: &Path) -> Plan {
    stepstone_fixtures::copy_encoder(&place.join("model"), &["the", "a"]);
    let data = stepstone_fixtures::tasks();
    let text = format!(
        "[study]\nname = \"s\"\nmodel = \"model\"\ndata = \"{}\"\nrestarts = 2\nbaseline_restarts = 2\n\
         [tasks]\nintermediate = [\"sst2\"]\ntarget = [\"rte\"]\n\
         [recipe]\nmax_length = 8\nmax_steps = 1\nevaluations = 1\n",
        data.display()
    );
    fs::write(place.join("study.toml"), text).expect("study");
    let study = Study::read(&place.join("study.toml"), &StudyPaths::default()).expect("a study");
    Plan::new(study).expect("a plan")
}

/// A restart of sst2, and the run that starts from it.
const PARENT: usize = 0;
const CHILD: usize = 4;

fn train(plan: &Plan, run: usize) {
    let run = Run::prepare(&plan.request(&plan.runs[run], 1)).expect("a run");
    let stop = AtomicBool::new(false);
    let control = Control { stop: &stop, resume_interval: Duration::ZERO, still_ours: &|| true };
    assert!(matches!(run.train(&control, &mut |_| {}).expect("trains"), Outcome::Done(_)));
}

fn state_of(plan: &Plan, run: usize) -> RunState {
    state(plan, &plan.store(), run, &mut Leases::new(EXPIRY))
}

fn counts(plan: &Plan) -> Counts {
    Tally::read(plan, &plan.store(), &mut Leases::new(EXPIRY)).expect("an open store").counts()
}

#[test]
fn a_failed_run_blocks_only_the_runs_that_start_from_it() {
    let place = tempfile::tempdir().expect("folder");
    let plan = plan(place.path());
    assert_eq!(plan.runs[CHILD].parent, Some(PARENT));
    let waiting = Counts { total: 6, waiting: 6, ..Counts::default() };
    assert_eq!(counts(&plan), waiting);
    let folder = |run: usize| plan.store().folder(&plan.runs[run].record.id);
    folder(PARENT).fail("the loss is NaN".into(), None).expect("writes");
    assert_eq!(counts(&plan), Counts { failed: 1, blocked: 1, waiting: 4, ..waiting });
    // Files of a newer version block it too: nobody may make the model again.
    folder(PARENT).forget_failure().expect("removes");
    fs::write(folder(PARENT).path().join("scores.json"), "{\"format\": 99}").expect("writes");
    assert_eq!(counts(&plan), Counts { failed: 1, blocked: 1, waiting: 4, ..waiting });
    // A torn file blocks nothing: the next worker makes it again.
    fs::write(folder(PARENT).path().join("scores.json"), "{\"form").expect("writes");
    assert_eq!(counts(&plan), waiting);
}

#[test]
fn a_model_is_missed_only_while_a_run_waits_that_starts_from_it() {
    let place = tempfile::tempdir().expect("folder");
    let plan = plan(place.path());
    train(&plan, PARENT);
    assert!(matches!(state_of(&plan, PARENT), RunState::Done(_)));
    let folder = plan.store().folder(&plan.runs[PARENT].record.id).path().to_path_buf();
    let weights = folder.join("model/model.safetensors");
    let bytes = fs::read(&weights).expect("weights");
    fs::write(&weights, &bytes[..bytes.len() / 2]).expect("cuts");
    let RunState::Damaged(failure) = state_of(&plan, PARENT) else { panic!("half a file of weights") };
    assert!(failure.reason.contains("model.safetensors"), "{failure:?}");
    let lease = Leases::new(EXPIRY).take(&folder).expect("takes").expect("free");
    assert!(matches!(state_of(&plan, PARENT), RunState::Running(_)), "somebody is making it again");
    lease.remove();

    train(&plan, PARENT);
    assert_eq!(fs::read(&weights).expect("weights"), bytes, "made again, bit for bit");
    train(&plan, CHILD);
    fs::remove_dir_all(folder.join("model")).expect("removes");
    assert!(matches!(state_of(&plan, PARENT), RunState::Done(_)), "nobody needs the model any more");
}
