//! Hash tables for look-ups alone.
//!
//! What a call is decided by among millions of records must not cost a walk down a
//! tree that lies cold in memory. These tables say where a thing lies, by a hash of
//! its name, and hold nothing else: who asks compares the name itself. There is no
//! iteration over all of them, whose order would be nobody's, so a run stays a
//! function of its seed. Hashes are keyed by a secret from the injected random
//! source: names that others choose cannot be made to collide.
//!
//! A table that is full doubles, in some milliseconds for a million entries.

use std::hash::{DefaultHasher, Hash, Hasher};

use hashbrown::HashTable;
use rand::Rng;

/// What names are hashed with.
#[derive(Clone, Copy)]
pub(super) struct HashKey([u64; 2]);

impl HashKey {
    pub(super) fn random(random: &mut impl Rng) -> Self {
        Self([random.next_u64(), random.next_u64()])
    }

    fn hash(self, name: &(impl Hash + ?Sized)) -> u32 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        name.hash(&mut hasher);
        let [.., a, b, c, d] = hasher.finish().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

/// Where things lie.
pub(super) struct Index {
    key: HashKey,
    table: HashTable<Entry>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    hash: u32,
    place: u32,
}

impl Index {
    pub(super) const fn new(key: HashKey) -> Self {
        Self { key, table: HashTable::new() }
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, things: usize) {
        self.table.reserve(things, |entry| spread(entry.hash));
    }

    /// The place whose thing has this name, of those that `has_name` is asked about.
    pub(super) fn find(&self, name: &(impl Hash + ?Sized), has_name: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = self.key.hash(name);
        let is = |entry: &Entry| entry.hash == hash && has_name(entry.place);
        self.table.find(spread(hash), is).map(|entry| entry.place)
    }

    /// Every place whose thing may have this name, in no order.
    pub(super) fn candidates(&self, name: &(impl Hash + ?Sized)) -> impl Iterator<Item = u32> {
        let hash = self.key.hash(name);
        let found = self.table.iter_hash(spread(hash));
        found.filter(move |entry| entry.hash == hash).map(|entry| entry.place)
    }

    pub(super) fn insert(&mut self, name: &(impl Hash + ?Sized), place: u32) {
        let hash = self.key.hash(name);
        self.table.insert_unique(spread(hash), Entry { hash, place }, |entry| spread(entry.hash));
    }

    pub(super) fn remove(&mut self, name: &(impl Hash + ?Sized), place: u32) {
        let hash = self.key.hash(name);
        if let Ok(entry) = self.table.find_entry(spread(hash), |entry| *entry == Entry { hash, place }) {
            entry.remove();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// A table takes its place from the low bits and a mark from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn things_are_found_by_name_until_they_are_removed() {
        let names: Vec<String> = (0..5_000).map(|n| format!("order-{n}")).collect();
        let mut index = Index::new(HashKey::random(&mut ChaCha8Rng::seed_from_u64(1)));
        let place = |n: usize| u32::try_from(n).unwrap();
        let find = |index: &Index, n: usize| index.find(&*names[n], |at| names[at as usize] == names[n]);
        for (n, name) in names.iter().enumerate() {
            assert_eq!(find(&index, n), None);
            index.insert(&**name, place(n));
        }
        for n in (0..names.len()).step_by(2) {
            index.remove(&*names[n], place(n));
        }
        for n in 0..names.len() {
            assert_eq!(find(&index, n), (n % 2 == 1).then_some(place(n)));
        }
        assert_eq!(index.len(), names.len() / 2);
    }

    #[test]
    fn things_of_one_name_are_all_candidates() {
        let mut index = Index::new(HashKey::random(&mut ChaCha8Rng::seed_from_u64(1)));
        for place in [3, 1, 2] {
            index.insert("order-81", place);
        }
        index.remove("order-81", 1);
        let mut found: Vec<u32> = index.candidates("order-81").collect();
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
    }
}
