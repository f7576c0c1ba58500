//! A set of small integers: what permission, role and group sets are while requests are decided.
//!
//! Law: asking never allocates, and an index beyond the set is simply not in it.

/// A set of indexes into a catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// An empty set with room for indexes below `size`.
    #[must_use]
    pub fn with_room(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    /// Every index below `size`.
    #[must_use]
    pub fn all_below(size: usize) -> Self {
        let mut bits = Self::with_room(size);
        for index in 0..size {
            bits.insert(index);
        }
        bits
    }

    pub fn insert(&mut self, index: usize) {
        let word = index / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % 64);
    }

    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Adds every member of `other`.
    pub fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }

    /// Keeps the members that are in `other` too.
    pub fn keep(&mut self, other: &Self) {
        for (place, mine) in self.0.iter_mut().enumerate() {
            *mine &= other.0.get(place).copied().unwrap_or(0);
        }
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(word, bits)| {
            (0..64).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| word * 64 + bit)
        })
    }
}

impl FromIterator<usize> for Bits {
    fn from_iter<I: IntoIterator<Item = usize>>(indexes: I) -> Self {
        let mut bits = Self::default();
        for index in indexes {
            bits.insert(index);
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bit_set_behaves_like_a_set(a in proptest::collection::btree_set(0usize..300, 0..40),
                                        b in proptest::collection::btree_set(0usize..300, 0..40)) {
            let mut bits: Bits = a.iter().copied().collect();
            bits.add(&b.iter().copied().collect());
            let both: BTreeSet<usize> = a.union(&b).copied().collect();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), both.iter().copied().collect::<Vec<_>>());
            for index in 0..400 {
                prop_assert_eq!(bits.contains(index), both.contains(&index));
            }
        }
    }

    #[test]
    fn all_below_stops_where_it_says() {
        let bits = Bits::all_below(65);
        assert!(bits.contains(64) && !bits.contains(65));
        assert_eq!(bits.iter().count(), 65);
    }
}
