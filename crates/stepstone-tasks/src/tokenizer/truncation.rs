//! How many tokens stay of texts that are too long.

/// How many tokens stay of two texts that have room for `room`: the longer one is cut until both are as long, then both,
/// and of an odd number the second gets one more unless the first was longer.
///
/// Source: `truncate_encodings` of tokenizers 0.23, on whole texts. The crate itself stops tokenising a text once it has
/// `max_length` tokens, and then takes the wrong one of two long texts for the longer.
pub(super) fn longest_first(lengths: [usize; 2], room: usize) -> [usize; 2] {
    let [first, second] = lengths;
    if first + second <= room {
        return lengths;
    }
    let (shorter, longer) = (first.min(second), first.max(second));
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
