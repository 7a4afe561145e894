//! A pool of threads that belongs to one device; rayon's global pool is never used.

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// Runs independent work items; with one thread, in order on the caller's.
#[derive(Debug)]
pub struct Threads {
    pool: Option<rayon::ThreadPool>,
}

impl Threads {
    /// A pool of `count` threads; 0 counts as 1.
    ///
    /// # Errors
    /// If the system refuses to start them.
    pub fn new(count: usize) -> Result<Threads, std::io::Error> {
        if count <= 1 {
            return Ok(Threads { pool: None });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().map_err(std::io::Error::other)?;
        Ok(Threads { pool: Some(pool) })
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Calls `work` once on each item, in any order and on any thread.
    pub fn for_each<T: Send>(&self, items: Vec<T>, work: impl Fn(T) + Sync + Send) {
        match &self.pool {
            Some(pool) if items.len() > 1 => {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
