//! How many runs a machine should train at once, and with how many threads each.

use crate::error::StudyError;
use crate::file::table_of;
use crate::plan::Plan;
use std::fs;

/// Share of the free memory that runs may take.
// The rest is for other programs that grow while a study runs for hours.
const MEMORY_SHARE: f64 = 0.9;

/// Number of runs at once, and threads of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Runs at once.
    pub count: usize,
    /// Threads of each.
    pub threads: usize,
}

impl Slots {
    /// One run per core, with one thread each; fewer runs, with more threads each, if fewer are `open` or fit into
    /// memory. `wanted` overrides the number of runs.
    ///
    /// # Errors
    /// If the largest run alone needs more memory than there is.
    pub fn choose(plan: &Plan, open: usize, cores: usize, wanted: Option<usize>) -> Result<Self, StudyError> {
        let Some(largest) = plan.tasks.iter().max_by_key(|task| task.peak_bytes) else {
            return Ok(Self { count: 1, threads: cores });
        };
        let available = available_bytes();
        if largest.peak_bytes > available {
            let layers = plan.study.layers(largest.task.name, largest.role);
            let set = |key: &str| format!("`{key}` in {}", table_of(key, &layers));
            return Err(StudyError::Memory {
                hint: format!("in the study file, lower {} or {}", set("max_length"), set("batch_size")),
                task: format!("{} as {}", largest.task.name, largest.role),
                need_mib: largest.peak_bytes >> 20,
                available_mib: available >> 20,
            });
        }
        // Any slot may get the largest run, so every slot has room for it.
        Ok(divide(cores, open, (available / largest.peak_bytes) as usize, wanted))
    }
}

fn divide(cores: usize, open: usize, fit: usize, wanted: Option<usize>) -> Slots {
    // The user's own number is not limited by memory, because the estimate errs on the high side.
    let count = wanted.unwrap_or_else(|| cores.min(open).min(fit)).max(1);
    Slots { count, threads: (cores / count).max(1) }
}

/// Memory that a process may still take, in bytes: the system's `MemAvailable`, within the limits of the control group
/// and of the process. If no limit can be read, unlimited memory is assumed.
fn available_bytes() -> u64 {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    });
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // A group without a limit holds the word `max`, which is not a number; version 1 of control groups has no such
    // file.
    let group = number("/sys/fs/cgroup/memory.max")
        .map(|max| max.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    let process = rustix::process::getrlimit(rustix::process::Resource::As).current;
    let all = [system, group, process].into_iter().flatten().min().unwrap_or(u64::MAX);
    (all as f64 * MEMORY_SHARE) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;
    use proptest::prelude::*;

    #[test]
    fn a_run_too_large_for_the_memory_is_named_with_its_role() {
        let mut plan = plan("", "");
        plan.tasks[1].peak_bytes = u64::MAX;
        let error = Slots::choose(&plan, 5, 2, Some(1)).expect_err("all the memory there could be");
        let StudyError::Memory { task, need_mib, .. } = &error else { panic!("{error:?}") };
        assert_eq!((task.as_str(), *need_mib), ("mnli as intermediate", u64::MAX >> 20));
    }

    proptest! {
        #[test]
        fn no_machine_is_asked_for_more_than_it_has_and_no_run_for_less_than_a_thread(
            cores in 1..200usize, open in 0..500usize, fit in 1..500usize, wanted in prop::option::of(1..50usize)
        ) {
            let Slots { count, threads } = divide(cores, open, fit, wanted);
            prop_assert!(count >= 1 && threads >= 1);
            prop_assert!(count * threads <= cores.max(count));
            match wanted {
                Some(wanted) => prop_assert_eq!(count, wanted),
                None => prop_assert!(count <= cores && count <= fit && count <= open.max(1)),
            }
        }
    }

    #[test]
    fn threads_go_to_fewer_runs_when_runs_or_memory_are_short() {
        let table = [
            // cores, open runs, runs that fit, wanted -> runs at once, threads
            ((8, 40, 100, None), (8, 1)),
            ((8, 3, 100, None), (3, 2)),
            ((8, 40, 2, None), (2, 4)),
            ((8, 0, 100, None), (1, 8)),
            ((2, 40, 100, Some(1)), (1, 2)),
            ((2, 40, 100, Some(5)), (5, 1)),
        ];
        for ((cores, open, fit, wanted), (count, threads)) in table {
            let slots = divide(cores, open, fit, wanted);
            assert_eq!(slots, Slots { count, threads }, "{cores} cores, {open} open, {fit} fit, {wanted:?}");
        }
    }

    #[test]
    fn some_memory_is_available() {
        assert!(available_bytes() > 1 << 20);
    }
}
