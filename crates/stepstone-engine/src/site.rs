//! The place of a dropout in a model. The engine sees only numbers; the model that assigns them owns their names.

/// The place of a dropout; its number is part of the counter that generates the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site(pub u32);

/// A dropout with its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutSite {
    /// Probability of dropping an element, from 0 to 1.
    pub probability: f32,
    /// The place.
    pub site: Site,
}

impl Site {
    /// Number `layer * 1,024 + kind * 64`; attention adds the number of the head to it.
    ///
    /// Two dropouts of one model need different numbers, or they would share masks; hence at most 64 heads and 16
    /// kinds.
    ///
    /// # Panics
    /// If `kind` is 16 or more.
    pub fn new(layer: usize, kind: u32) -> Self {
        assert!(kind < 16, "a layer has 16 kinds of dropout, found kind {kind}");
        // Every mask of every finished run depends on these numbers; another formula would change all scores.
        Self(layer as u32 * 1024 + kind * 64)
    }

    /// The place of one attention head.
    pub(crate) fn with_head(self, head: usize) -> Self {
        // The numbers of two kinds differ by at least 64, so up to 64 heads fit in between.
        Self(self.0 + head as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every (layer, kind, head) has a number of its own, so no two dropouts of a model share a mask.
    #[test]
    fn places_have_different_numbers() {
        let mut seen = std::collections::BTreeSet::new();
        for layer in 0..24 {
            for kind in 0..16 {
                for head in 0..64 {
                    assert!(seen.insert(Site::new(layer, kind).with_head(head).0), "{layer} {kind} {head}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "found kind 16")]
    fn a_kind_beyond_the_last_is_refused() {
        let _ = Site::new(0, 16);
    }
}
