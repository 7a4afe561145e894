//! The exact state of a run in progress, so that a killed run continues with the same bits.

use crate::error::TrainError;
use crate::folder::RunFolder;
use crate::inference::DeviceModel;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::fs;
use stepstone_engine::{Arena, Device};
use stepstone_models::{NamedTensor, write_safetensors};

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

// Gradients are left out, because they are zero between steps.
const ARENAS: [(&str, Arena); 3] =
    [("parameters", Arena::Parameters), ("first_moment", Arena::FirstMoment), ("second_moment", Arena::SecondMoment)];
/// Path within the run folder.
const FILE: &str = "resume/state.safetensors";

/// Writes the state, replacing the previous one.
pub(crate) fn save(
    folder: &RunFolder,
    state: &State,
    device: &dyn Device,
    len: usize,
    best: &[f32],
) -> Result<(), TrainError> {
    let path = folder.file(FILE);
    let dir = folder.file("resume");
    fs::create_dir_all(&dir).map_err(TrainError::write(&dir))?;
    // The moments are saved with the weights, because AdamW takes different steps without them.
    let mut data: Vec<(&str, Vec<f32>)> = Vec::new();
    for (name, arena) in ARENAS {
        let mut values = vec![0.0; len];
        device.store(arena, 0, &mut values);
        data.push((name, values));
    }
    let arenas = data.iter().map(|(name, values)| (*name, values.as_slice())).chain([("best", best)]);
    let tensors: Vec<NamedTensor> =
        arenas.map(|(name, data)| NamedTensor { name: name.into(), shape: vec![data.len()], data }).collect();
    let text = serde_json::to_string(state).map_err(std::io::Error::other).map_err(TrainError::write(&path))?;
    Ok(write_safetensors(&path, &tensors, ("state", text))?)
}

/// Loads the state into the device, if there is one of this run; returns it with the best weights so far. A damaged
/// state counts as absent: the run starts again, and nothing in the device has changed.
pub(crate) fn load(folder: &RunFolder, run_id: &str, model: &mut DeviceModel) -> Option<(State, Vec<f32>)> {
    let bytes = fs::read(folder.file(FILE)).ok()?;
    let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
    let state: State = serde_json::from_str(header.metadata().as_ref()?.get("state")?).ok()?;
    let file = SafeTensors::deserialize(&bytes).ok()?;
    let len = model.classifier.layout.len;
    let values = |name: &str| {
        let view = file.tensor(name).ok()?;
        let values: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        // A version with another layout of parameters may have written the file.
        (values.len() == len).then_some(values)
    };
    // Everything is read before anything is loaded: half a state would mix two points of the run.
    let arenas: Vec<Vec<f32>> = ARENAS.iter().map(|(name, _)| values(name)).collect::<Option<_>>()?;
    let best = values("best")?;
    // A folder may have been copied from another run.
    if state.run_id != run_id {
        return None;
    }
    for ((_, arena), data) in ARENAS.iter().zip(&arenas) {
        model.device.load(*arena, 0, data);
    }
    Some((state, best))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{place, run};
    use serde_json::json;
    use std::path::Path;
    use stepstone_models::Answers;

    fn model(place: &Path) -> DeviceModel {
        let run = run(place, "run", &json!({}));
        DeviceModel::new(&run.start.config, run.recipe().head, Answers::Classes(2), 1).expect("a model")
    }

    /// A model whose arenas hold different numbers, its best weights and the state of run `r`.
    fn saved(place: &Path) -> (RunFolder, DeviceModel, Vec<f32>, State) {
        let mut model = model(place);
        let len = model.classifier.layout.len;
        for (number, (_, arena)) in ARENAS.iter().enumerate() {
            let values: Vec<f32> = (0..len).map(|i| (i + number) as f32 / 7.0).collect();
            model.device.load(*arena, 0, &values);
        }
        let best = vec![0.1; len];
        let state = State {
            run_id: "r".into(),
            step: 7,
            evaluated: 5,
            best: Some(Best { step: 5, score: 0.1 + 0.2 }),
            since_best: 1,
            loss_sum: 1.0 / 3.0,
            loss_steps: 2,
            loss: 0.7,
        };
        let folder = RunFolder::new(&place.join("run"));
        save(&folder, &state, &model.device, len, &best).expect("saves");
        (folder, model, best, state)
    }

    fn stored(model: &DeviceModel, arena: Arena) -> Vec<f32> {
        let mut values = vec![0.0; model.classifier.layout.len];
        model.device.store(arena, 0, &mut values);
        values
    }

    #[test]
    fn a_saved_state_comes_back_bit_for_bit() {
        let place = place();
        let (folder, written, best, state) = saved(place.path());
        let mut read = model(place.path());
        assert_eq!(load(&folder, "r", &mut read), Some((state, best)));
        for (name, arena) in ARENAS {
            assert!(stored(&read, arena) == stored(&written, arena), "{name}");
        }
    }

    #[test]
    fn a_state_that_is_damaged_or_of_another_run_is_discarded_whole() {
        let place = place();
        let (folder, written, best, state) = saved(place.path());
        let path = folder.file(FILE);
        let bytes = fs::read(&path).expect("a state");
        let mut other = model(place.path());
        assert_eq!(load(&folder, "another", &mut other), None);
        for cut in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).expect("file");
            assert_eq!(load(&folder, "r", &mut other), None, "cut at {cut}");
        }
        // A version with another layout of parameters would leave such a file.
        save(&folder, &state, &written.device, best.len(), &best[1..]).expect("saves");
        assert_eq!(load(&folder, "r", &mut other), None, "best weights of another length");
        fs::remove_file(&path).expect("file");
        assert_eq!(load(&folder, "r", &mut other), None, "no state at all");
        for (name, arena) in ARENAS {
            assert!(stored(&other, arena).iter().all(|value| *value == 0.0), "{name} was touched");
        }
    }
}
