//! The exact state of a run in progress, so that a killed run goes on with the same bits.

use crate::error::TrainError;
use crate::folder::RunFolder;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::fs;
use stepstone_engine::{Arena, Device};
use stepstone_models::{NamedTensor, write_safetensors};

/// Numbers of the state; the arenas stand beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) run_id: String,
    /// Steps done.
    pub(crate) step: u64,
    /// The step after which the dev split was scored last.
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

const ARENAS: [(&str, Arena); 3] =
    [("parameters", Arena::Parameters), ("first_moment", Arena::FirstMoment), ("second_moment", Arena::SecondMoment)];

/// Writes `resume/state.safetensors`, replacing the one before.
pub(crate) fn save(
    folder: &RunFolder,
    state: &State,
    device: &dyn Device,
    best: &[f32],
    len: usize,
) -> Result<(), TrainError> {
    let dir = folder.file("resume");
    fs::create_dir_all(&dir).map_err(TrainError::write(&dir))?;
    let mut data: Vec<(&str, Vec<f32>)> = Vec::new();
    for (name, arena) in ARENAS {
        let mut values = vec![0.0; len];
        device.store(arena, 0, &mut values);
        data.push((name, values));
    }
    let arenas = data.iter().map(|(name, values)| (*name, values.as_slice())).chain([("best", best)]);
    let tensors: Vec<NamedTensor> =
        arenas.map(|(name, data)| NamedTensor { name: name.into(), shape: vec![data.len()], data }).collect();
    let text = serde_json::to_string(state).map_err(std::io::Error::other).map_err(TrainError::write(&dir))?;
    let path = dir.join("state.safetensors");
    Ok(write_safetensors(&path, &tensors, ("state", text))?)
}

/// Loads the state into `device`, if there is one of this run; returns it with the best weights so far. A damaged state
/// is none: the run starts again.
pub(crate) fn load(folder: &RunFolder, run_id: &str, device: &mut dyn Device, len: usize) -> Option<(State, Vec<f32>)> {
    let bytes = fs::read(folder.file("resume/state.safetensors")).ok()?;
    let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
    let state: State = serde_json::from_str(header.metadata().as_ref()?.get("state")?).ok()?;
    let file = SafeTensors::deserialize(&bytes).ok()?;
    let values = |name: &str| {
        let view = file.tensor(name).ok()?;
        Some(view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<f32>>())
    };
    let arenas: Vec<Vec<f32>> = ARENAS.iter().map(|(name, _)| values(name)).collect::<Option<_>>()?;
    if state.run_id != run_id || arenas.iter().any(|values| values.len() != len) {
        return None;
    }
    for ((_, arena), data) in ARENAS.iter().zip(&arenas) {
        device.load(*arena, 0, data);
    }
    Some((state, values("best")?))
}
