//! A map whose first few entries lie inside it: nearly every allocation has one channel and one or two permissions, and
//! with thousands of allocations each further place in memory is a cache miss per packet.

use std::collections::HashMap;
use std::hash::Hash;

use crate::hashing::{Seeded, seeded};

/// `N` entries inside, any more in a seeded hash table, which few ever need. A key is in one place only.
pub(crate) struct SmallMap<K, V, const N: usize> {
    few: [Option<(K, V)>; N],
    #[allow(clippy::box_collection)] // one word instead of six, in each of many thousands
    many: Option<Box<HashMap<K, V, Seeded>>>,
}

impl<K: Eq + Hash, V, const N: usize> SmallMap<K, V, N> {
    pub(crate) const fn new() -> SmallMap<K, V, N> {
        SmallMap { few: [const { None }; N], many: None }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self.few.iter().flatten().find(|(known, _)| known == key) {
            Some((_, value)) => Some(value),
            None => self.many.as_ref()?.get(key),
        }
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// `seed`: of the hash table, should this be the first entry that needs one.
    pub(crate) fn insert(&mut self, key: K, value: V, seed: u64) {
        if let Some((_, known)) = self.few.iter_mut().flatten().find(|(known, _)| *known == key) {
            *known = value;
        } else if let Some(known) = self.many.as_mut().and_then(|many| many.get_mut(&key)) {
            *known = value;
        } else if let Some(place) = self.few.iter_mut().find(|place| place.is_none()) {
            *place = Some((key, value));
        } else {
            self.many.get_or_insert_with(|| Box::new(HashMap::with_hasher(seeded(seed)))).insert(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        match self.few.iter_mut().find(|place| place.as_ref().is_some_and(|(known, _)| known == key)) {
            Some(place) => place.take().map(|(_, value)| value),
            None => self.change_many(|many| many.remove(key)).flatten(),
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        for place in &mut self.few {
            if place.as_ref().is_some_and(|(key, value)| !keep(key, value)) {
                *place = None;
            }
        }
        self.change_many(|many| many.retain(|key, value| keep(key, value)));
    }

    /// The table goes with its last entry.
    fn change_many<T>(&mut self, change: impl FnOnce(&mut HashMap<K, V, Seeded>) -> T) -> Option<T> {
        let many = self.many.as_mut()?;
        let changed = change(many);
        if many.is_empty() {
            self.many = None;
        }
        Some(changed)
    }

    pub(crate) fn len(&self) -> usize {
        self.few.iter().flatten().count() + self.many.as_ref().map_or(0, |many| many.len())
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let few = self.few.iter().flatten().map(|(key, value)| (key, value));
        few.chain(self.many.iter().flat_map(|many| many.iter()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn it_behaves_like_a_hash_map(steps in prop::collection::vec((0..4_u8, 0..8_u8, any::<u16>()), 0..60)) {
            let (mut map, mut model) = (SmallMap::<u8, u16, 2>::new(), HashMap::new());
            for (step, key, value) in steps {
                match step {
                    0 | 1 => {
                        map.insert(key, value, 1);
                        model.insert(key, value);
                    }
                    2 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    _ => {
                        map.retain(|_, kept| *kept > value);
                        model.retain(|_, kept| *kept > value);
                    }
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert!((0..8).all(|key| map.get(&key) == model.get(&key)));
                let (mut values, mut expected): (Vec<_>, Vec<_>) = (map.values().collect(), model.values().collect());
                values.sort();
                expected.sort();
                prop_assert_eq!(values, expected);
            }
        }
    }
}
