//! How many tokens of a long input are kept.

/// Number of tokens to keep of each of two texts so that both fit into `room`. The longer text is truncated until both
/// have the same length, then both are. If `room` is odd, the longer text keeps one more; of equal texts, the second.
///
/// Source: `truncate_encodings` of tokenizers 0.23, applied to whole texts. The crate itself stops tokenizing a text
/// after `max_length` tokens, and can then mistake the shorter of two long texts for the longer one.
pub(super) fn longest_first(lengths: [usize; 2], room: usize) -> [usize; 2] {
    let [first, second] = lengths;
    if first + second <= room {
        return lengths;
    }
    let (shorter, longer) = (first.min(second), first.max(second));
    // The longer text is cut to what the shorter one leaves, but never below the shorter one's length.
    let longer = longer.min(shorter.max(room.saturating_sub(shorter)));
    let (shorter, longer) = if shorter + longer <= room { (shorter, longer) } else { (room / 2, room / 2 + room % 2) };
    if first > second { [longer, shorter] } else { [shorter, longer] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_text_is_cut_first_and_the_room_is_filled() {
        let table = [
            ([3, 4], 7, [3, 4]),
            ([9, 2], 6, [4, 2]),
            ([2, 9], 6, [2, 4]),
            ([9, 8], 7, [4, 3]),
            ([8, 9], 7, [3, 4]),
            ([9, 9], 7, [3, 4]),
            ([0, 9], 5, [0, 5]),
            ([9, 9], 0, [0, 0]),
        ];
        for (lengths, room, kept) in table {
            assert_eq!(longest_first(lengths, room), kept, "{lengths:?} in {room}");
        }
    }
}
