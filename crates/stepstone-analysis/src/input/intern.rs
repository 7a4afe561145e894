//! Text columns as small numbers: each piece of the file numbers its own names, then the numbers are merged.

use std::borrow::Cow;
use std::collections::HashMap;

/// Texts of one column, numbered in order of first appearance.
#[derive(Default)]
pub(super) struct TextNumbers<'a> {
    list: Vec<Cow<'a, str>>,
    index: HashMap<Cow<'a, str>, u32>,
    last: u32,
}

impl<'a> TextNumbers<'a> {
    /// The number of `name`. Sorted files repeat the last name, which costs one comparison.
    pub(super) fn number(&mut self, name: Cow<'a, str>) -> u32 {
        // This comparison saves the hashing of nearly every cell of a sorted file.
        if self.list.get(self.last as usize).is_some_and(|last| *last == name) {
            return self.last;
        }
        let next = self.list.len() as u32;
        self.last = *self.index.entry(name.clone()).or_insert(next);
        if self.last == next {
            self.list.push(name);
        }
        self.last
    }
}

/// One sorted list for all pieces, and for each piece what its numbers become: a number is then the rank of its name.
pub(super) fn merge(pieces: &[TextNumbers<'_>]) -> (Vec<String>, Vec<Vec<u32>>) {
    let mut all: Vec<String> = pieces.iter().flat_map(|names| names.list.iter().map(ToString::to_string)).collect();
    // Sorted by bytes, so that numbers do not depend on the cut into pieces or on the locale.
    all.sort_unstable();
    all.dedup();
    let rank = |name: &Cow<'_, str>| {
        let found = all.binary_search_by(|known| known.as_str().cmp(name));
        found.expect("every name of a piece went into the list") as u32
    };
    let ranks = pieces.iter().map(|names| names.list.iter().map(rank).collect()).collect();
    (all, ranks)
}
