//! The exact state of a run in progress, so that a killed run continues with the same bits.
//!
//! One file holds it all. Its digest covers every number, and [`check`] refuses whatever this run cannot have written:
//! a state that is almost right would end in scores that nobody could tell from true ones.

use crate::error::TrainError;
use crate::folder::{RunFolder, RunRecord};
use crate::inference::DeviceModel;
use crate::run::Run;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use stepstone_engine::{Arena, Device};
use stepstone_models::{NamedTensor, write_safetensors};

/// Raised when the file changes meaning. Files of any other format are discarded: they only cost their steps.
const FORMAT: u32 = 1;

/// The numbers of the state; the arenas are stored beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) run_id: String,
    /// Steps done.
    pub(crate) step: u64,
    /// The step after which the dev split was last scored.
    pub(crate) evaluated: u64,
    pub(crate) best: Option<Best>,
    /// Evaluations since the best one.
    pub(crate) since_best: u64,
    /// Sum of losses since the last evaluation.
    pub(crate) loss_sum: f64,
    pub(crate) loss_steps: u64,
    /// Mean loss between the last two evaluations, nats.
    pub(crate) loss: f64,
}

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) step: u64,
    pub(crate) score: f64,
}

/// The metadata of the file.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    /// See [`digest`].
    digest: String,
    state: State,
}

// Gradients are left out, because they are zero between steps.
const ARENAS: [(&str, Arena); 3] =
    [("parameters", Arena::Parameters), ("first_moment", Arena::FirstMoment), (SECOND, Arena::SecondMoment)];
const SECOND: &str = "second_moment";
/// The arenas, and the best parameters so far.
const TENSORS: usize = ARENAS.len() + 1;
const NAMES: [&str; TENSORS] = [ARENAS[0].0, ARENAS[1].0, ARENAS[2].0, "best"];
/// Path within the run folder.
const FILE: &str = "resume/state.safetensors";
/// More bytes than the names of four tensors and the numbers of a state need.
const HEADER_BYTES: usize = 1 << 16;

/// Writes the state, replacing the previous one. `best`: parameters of the best evaluation so far.
pub(crate) fn save(folder: &RunFolder, state: &State, device: &dyn Device, best: &[f32]) -> Result<(), TrainError> {
    // The moments are saved with the weights, because AdamW takes different steps without them.
    let arenas = ARENAS.map(|(_, arena)| {
        let mut values = vec![0.0; best.len()];
        device.store(arena, 0, &mut values);
        values
    });
    write(folder, state, [&arenas[0], &arenas[1], &arenas[2], best])
}

/// Writes a state with its digest; `values` are those of [`NAMES`].
fn write(folder: &RunFolder, state: &State, values: [&[f32]; TENSORS]) -> Result<(), TrainError> {
    let (path, dir) = (folder.file(FILE), folder.file("resume"));
    fs::create_dir_all(&dir).map_err(TrainError::write(&dir))?;
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::new();
    for part in values.iter().flat_map(|values| values.chunks(1 << 14)) {
        bytes.clear();
        bytes.extend(part.iter().flat_map(|value| value.to_le_bytes()));
        hasher.update(&bytes);
    }
    let header = || {
        let digest = digest(hasher, state)?;
        serde_json::to_string(&Header { format: FORMAT, digest, state: state.clone() })
    };
    let header = header().map_err(std::io::Error::other).map_err(TrainError::write(&path))?;
    let tensors = NAMES.iter().zip(values);
    let tensors = tensors.map(|(name, data)| NamedTensor { name: (*name).into(), shape: vec![data.len()], data });
    Ok(write_safetensors(&path, &tensors.collect::<Vec<_>>(), ("state", header))?)
}

/// blake3 of all tensors in the order of [`NAMES`], little-endian, which `hasher` has seen, and of the state as JSON.
fn digest(mut hasher: blake3::Hasher, state: &State) -> Result<String, serde_json::Error> {
    hasher.update(serde_json::to_string(state)?.as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

/// Loads the state of `run` into the device, if there is one; returns it with the best parameters so far.
///
/// # Errors
/// What is wrong with the state. Nothing in the device has changed then.
pub(crate) fn load(run: &Run, model: &mut DeviceModel) -> Result<Option<(State, Vec<f32>)>, String> {
    let len = model.classifier.layout.len;
    let most = TENSORS * size_of::<f32>() * len + HEADER_BYTES;
    let bytes = match stepstone_files::read_at_most(&run.folder.file(FILE), most as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    // Everything is checked before anything is loaded: half a state would mix two points of the run.
    let (state, tensors) = check(&bytes, &run.record, len)?;
    let values = |bytes: &[u8]| floats(bytes).collect::<Vec<f32>>();
    for ((_, arena), tensor) in ARENAS.iter().zip(tensors) {
        model.device.load(*arena, 0, &values(tensor));
    }
    Ok(Some((state, values(tensors[TENSORS - 1]))))
}

/// Removes the state: the run is done, or starts over.
pub(crate) fn remove(folder: &RunFolder) {
    // What is left over only costs disk space, or is discarded again.
    let _ = fs::remove_dir_all(folder.file("resume"));
}

/// The state and the bytes of each tensor of `len` values, if this run can have written them.
fn check<'a>(bytes: &'a [u8], record: &RunRecord, len: usize) -> Result<(State, [&'a [u8]; TENSORS]), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get("state")).ok_or("no state")?;
    let header: Header = serde_json::from_str(text).map_err(|error| format!("state: {error}"))?;
    if header.format != FORMAT {
        return Err(format!("format {}, expected {FORMAT}", header.format));
    }
    let mut hasher = blake3::Hasher::new();
    let mut tensors = [&[][..]; TENSORS];
    for (tensor, name) in tensors.iter_mut().zip(NAMES) {
        let view = file.tensor(name).map_err(|error| error.to_string())?;
        // A version with another layout of parameters may have written the file.
        if view.dtype() != Dtype::F32 || view.shape() != [len] {
            return Err(format!("tensor `{name}` is {:?} {:?}, expected F32 [{len}]", view.dtype(), view.shape()));
        }
        *tensor = view.data();
        hasher.update(tensor);
    }
    let found = digest(hasher, &header.state).map_err(|error| error.to_string())?;
    if found != header.digest {
        return Err(format!("digest {found}, expected {}", header.digest));
    }
    check_state(&header.state, record)?;
    for (tensor, name) in tensors.iter().zip(NAMES) {
        let bad = |value: &f32| !value.is_finite() || (name == SECOND && *value < 0.0);
        if let Some(value) = floats(tensor).find(bad) {
            return Err(format!("tensor `{name}` holds {value}"));
        }
    }
    Ok((header.state, tensors))
}

/// Refuses a state that the run cannot reach, such as one after its last step.
fn check_state(state: &State, record: &RunRecord) -> Result<(), String> {
    // A folder may have been copied from another run.
    if state.run_id != record.id {
        return Err(format!("state of run {}, expected {}", state.run_id, record.id));
    }
    let total = record.identity.recipe.schedule.total_steps;
    if state.step > total {
        return Err(format!("step {} of {total}", state.step));
    }
    // Every evaluation follows a step of its own, and the first is always the best so far.
    let evaluations = match state.best {
        None => state.evaluated == 0,
        Some(best) => (1..=state.evaluated).contains(&best.step) && best.score.is_finite(),
    };
    let counts = [state.evaluated, state.since_best, state.loss_steps].iter().all(|count| *count <= state.step);
    if !evaluations || !counts || !state.loss_sum.is_finite() || !state.loss.is_finite() {
        return Err(format!("impossible after {} steps: {state:?}", state.step));
    }
    Ok(())
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Outcome;
    use crate::testing::{control, place, run};
    use serde_json::{Value, json};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    const VALUES: &str = r#"{"max_steps": 5, "evaluations": 3, "learning_rate": 1e-3}"#;

    /// A run of five steps in folder `out`.
    fn five_steps(place: &Path, out: &str) -> Run {
        run(place, out, &serde_json::from_str(VALUES).expect("JSON"))
    }

    fn stop_after(run: &Run, last: u64) {
        let stop = AtomicBool::new(false);
        let watch = |progress: &crate::Progress| stop.store(progress.step == last, Ordering::Relaxed);
        let outcome = run.train(&control(&stop), &mut { watch }).expect("stops");
        assert_eq!(outcome, Outcome::Stopped { step: last });
    }

    fn train(run: &Run) {
        run.train(&control(&AtomicBool::new(false)), &mut |_| {}).expect("trains");
    }

    /// The state in a run's folder, as it was written.
    fn saved(run: &Run) -> (State, Vec<Vec<f32>>) {
        let bytes = fs::read(run.folder.file(FILE)).expect("a state");
        let len = model(run).classifier.layout.len;
        let (state, tensors) = check(&bytes, &run.record, len).expect("whole");
        (state, tensors.iter().map(|bytes| floats(bytes).collect()).collect())
    }

    fn model(run: &Run) -> DeviceModel {
        DeviceModel::new(&run.start.config, run.recipe().head, run.answers(), 1).expect("a model")
    }

    #[test]
    fn a_saved_state_comes_back_bit_for_bit() {
        let place = place();
        let run = five_steps(place.path(), "run");
        stop_after(&run, 3);
        let (state, values) = saved(&run);
        let mut read = model(&run);
        assert_eq!(load(&run, &mut read), Ok(Some((state, values[3].clone()))));
        for ((name, arena), want) in ARENAS.iter().zip(&values) {
            let mut stored = vec![0.0; want.len()];
            read.device.store(*arena, 0, &mut stored);
            assert!(stored == *want && stored.iter().any(|value| *value != 0.0), "{name}");
        }
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let place = place();
        let run = five_steps(place.path(), "run");
        stop_after(&run, 3);
        let (state, values) = saved(&run);
        let mut bytes = fs::read(run.folder.file(FILE)).expect("a state");
        let header = bytes.len() - values.len() * 4 * values[0].len();
        // Every bit of the header, and bits from each tensor.
        let bits = (0..8 * header).chain((8 * header..8 * bytes.len()).step_by(40_009));
        for bit in bits {
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The last of 17 digits may change without changing the number.
            let harmless = |found: Result<(State, [&[u8]; TENSORS]), String>| {
                found.is_ok_and(|(found, _)| bit < 8 * header && found == state)
            };
            let found = check(&bytes, &run.record, values[0].len());
            assert!(found.is_err() || harmless(found), "bit {bit}, header of {header} bytes");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        check(&bytes, &run.record, values[0].len()).expect("whole again");
    }

    /// What happens to the file of a state: its bytes change, or a program writes other numbers with a right digest.
    enum Damage {
        Bytes(fn(&mut Vec<u8>)),
        Numbers(fn(&mut State, &mut [Vec<f32>])),
    }
    use Damage::{Bytes, Numbers};

    /// Damage, and a part of the reason that the log gives.
    const TABLE: [(&str, Damage); 24] = [
        ("digest", Bytes(|bytes| *bytes.last_mut().expect("bytes") ^= 1)),
        ("digest", Bytes(|bytes| *middle(bytes) ^= 0x80)),
        ("eader", Bytes(|bytes| bytes[3] ^= 1)),
        ("", Bytes(|bytes| bytes[40] ^= 4)),
        ("eader", Bytes(Vec::clear)),
        ("eader", Bytes(|bytes| bytes.truncate(7))),
        ("", Bytes(|bytes| bytes.truncate(bytes.len() / 2))),
        ("", Bytes(|bytes| bytes.truncate(bytes.len() - 1))),
        ("bytes, expected at most", Bytes(|bytes| bytes.resize(2 * bytes.len() + HEADER_BYTES, 0))),
        ("`best`", Bytes(|bytes| rename(bytes, "\"best\":{", "\"bust\":{"))),
        ("missing field `format`", Bytes(|bytes| rename(bytes, "\\\"format\\\"", "\\\"farmat\\\""))),
        ("format 7, expected 1", Bytes(|bytes| rename(bytes, "\\\"format\\\":1", "\\\"format\\\":7"))),
        ("`best` is F32", Numbers(|_, values| values[3].truncate(7))),
        ("`first_moment` is F32", Numbers(|_, values| values[1].push(0.0))),
        ("step 1000000 of 5", Numbers(|state, _| state.step = 1_000_000)),
        ("step 9223372036854775808 of 5", Numbers(|state, _| state.step = 1 << 63)),
        ("impossible after 3 steps", Numbers(|state, _| state.evaluated = 4)),
        ("impossible after 3 steps", Numbers(|state, _| state.best = None)),
        ("impossible after 3 steps", Numbers(|state, _| state.since_best = u64::MAX)),
        ("`parameters` holds NaN", Numbers(|_, values| values[0][9] = f32::NAN)),
        ("`first_moment` holds inf", Numbers(|_, values| values[1][9] = f32::INFINITY)),
        ("`second_moment` holds -1", Numbers(|_, values| values[2][9] = -1.0)),
        ("`best` holds NaN", Numbers(|_, values| values[3][9] = f32::NAN)),
        ("state of run another", Numbers(|state, _| state.run_id = "another".into())),
    ];

    fn middle(bytes: &mut [u8]) -> &mut u8 {
        let middle = bytes.len() / 2;
        &mut bytes[middle]
    }

    /// Replaces a text in the header by one of the same length.
    fn rename(bytes: &mut [u8], from: &str, to: &str) {
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect(from);
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }

    fn results(run: &Run) -> Vec<Vec<u8>> {
        let names = ["run.json", "scores.json", "predictions.jsonl", "model/model.safetensors", "model/config.json"];
        names.map(|name| fs::read(run.folder.file(name)).expect(name)).to_vec()
    }

    /// The event of a discarded state and the one after it.
    fn discarded(run: &Run) -> Option<(String, Value)> {
        let log = fs::read_to_string(run.folder.file("log.jsonl")).expect("a log");
        let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let found = lines.find(|line| line["event"] == "discarded")?;
        Some((found["reason"].as_str()?.to_owned(), lines.next()?["event"].clone()))
    }

    #[test]
    fn a_state_that_cannot_be_right_is_discarded_with_its_reason_and_the_run_starts_over() {
        let place = place();
        let whole = five_steps(place.path(), "whole");
        train(&whole);
        assert_eq!(discarded(&whole), None);
        for (number, (reason, damage)) in TABLE.iter().enumerate() {
            let run = five_steps(place.path(), &number.to_string());
            stop_after(&run, 3);
            match damage {
                Bytes(damage) => {
                    let mut bytes = fs::read(run.folder.file(FILE)).expect("a state");
                    damage(&mut bytes);
                    fs::write(run.folder.file(FILE), bytes).expect("writes");
                }
                Numbers(damage) => {
                    let (mut state, mut values) = saved(&run);
                    damage(&mut state, &mut values);
                    write(&run.folder, &state, [0, 1, 2, 3].map(|tensor| &values[tensor][..])).expect("writes");
                }
            }
            train(&run);
            let (found, next) = discarded(&run).expect("a reason");
            assert!(found.contains(reason) && !found.is_empty(), "{number}: {found}, expected {reason}");
            assert_eq!(next, json!("start"), "{number}: {reason}");
            assert!(results(&run) == results(&whole), "{number}: {reason}");
            assert!(!run.folder.file("resume").exists());
        }
    }

    #[test]
    fn a_state_whose_place_is_taken_by_something_else_is_discarded_too() {
        let place = place();
        let run = five_steps(place.path(), "run");
        fs::create_dir_all(run.folder.file(FILE)).expect("a folder in its place");
        train(&run);
        assert_eq!(discarded(&run), Some(("is a directory".to_owned(), json!("start"))));
        assert_eq!(load(&run, &mut model(&run)), Ok(None), "no state at all");
    }
}
