//! A pool of threads that belongs to one device; rayon's global pool is never used.

use crate::simd::InstructionSet;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Runs independent work items; with one thread, in order on the thread of the caller.
#[derive(Debug)]
pub struct Threads {
    pool: Option<rayon::ThreadPool>,
    /// Memory that stays from call to call: the system clears fresh pages, which takes as long as writing to them.
    scratch: Mutex<Vec<f32>>,
    set: InstructionSet,
    packing_nanoseconds: AtomicU64,
}

impl Threads {
    /// A pool of `count` threads that compute with the best instruction set; 0 counts as 1.
    ///
    /// # Errors
    /// If the system refuses to start them.
    pub fn new(count: usize) -> Result<Self, std::io::Error> {
        Self::with_instructions(count, InstructionSet::best())
    }

    /// The same with a given instruction set; tests compare all of them.
    ///
    /// # Errors
    /// As [`Threads::new`].
    pub fn with_instructions(count: usize, set: InstructionSet) -> Result<Self, std::io::Error> {
        let started = || rayon::ThreadPoolBuilder::new().num_threads(count).build().map_err(std::io::Error::other);
        let pool = if count > 1 { Some(started()?) } else { None };
        Ok(Self { pool, scratch: Mutex::default(), set, packing_nanoseconds: AtomicU64::new(0) })
    }

    /// The instruction set that the kernels use.
    pub fn instructions(&self) -> InstructionSet {
        self.set
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Wall time that products have spent on packing their right operands.
    pub fn packing_time(&self) -> Duration {
        Duration::from_nanos(self.packing_nanoseconds.load(Ordering::Relaxed))
    }

    pub(crate) fn add_packing_time(&self, time: Duration) {
        // Relaxed is enough: the sum guards no other memory.
        self.packing_nanoseconds.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Calls `work` on a thread of the pool.
    ///
    /// From there, handing out items is cheap. From outside the pool, every call would put the caller to sleep and wake it
    /// again: 3 to 8 % of a step.
    pub fn within<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Calls `work` once on each item, in any order and on any thread.
    pub fn for_each<T: Send>(&self, items: Vec<T>, work: impl Fn(T) + Sync + Send) {
        match &self.pool {
            Some(pool) if items.len() > 1 => {
                // One item a task: items are few and large, and two that stick together would leave a thread idle.
                pool.install(|| items.into_par_iter().with_max_len(1).for_each(&work));
            }
            _ => items.into_iter().for_each(work),
        }
    }

    /// Maps items to results in the order of the items.
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
        match &self.pool {
            Some(pool) if items.len() > 1 => {
                pool.install(|| items.into_par_iter().with_max_len(1).map(&work).collect())
            }
            _ => items.into_iter().map(work).collect(),
        }
    }

    /// Lends `len` floats, with whatever an earlier call left in them. Must not be called from inside `work`.
    pub(crate) fn with_scratch<R>(&self, len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
        // The contents are undefined anyway, so what a panic left will do.
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        work(&mut scratch[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_item_is_worked_once() {
        for count in [1, 2, 3] {
            for len in [0usize, 1, 2, 7, 1000] {
                let threads = Threads::new(count).unwrap();
                let mut seen = vec![0usize; len];
                let calls = AtomicUsize::new(0);
                threads.for_each(seen.iter_mut().enumerate().collect(), |(i, cell): (usize, &mut usize)| {
                    *cell += i + 1;
                    calls.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(seen, (1..=len).collect::<Vec<_>>(), "{count} threads, {len} items");
                assert_eq!(calls.into_inner(), len);
            }
        }
    }

    #[test]
    fn results_keep_the_order_of_their_items() {
        for count in [1, 2, 3] {
            let threads = Threads::new(count).unwrap();
            assert_eq!(threads.count(), count);
            for len in [0usize, 1, 2, 7, 1000] {
                let doubled = threads.map((0..len).collect(), |i| 2 * i);
                assert_eq!(doubled, (0..len).map(|i| 2 * i).collect::<Vec<_>>(), "{count} threads, {len} items");
            }
        }
    }
}
