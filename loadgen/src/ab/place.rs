//! Who runs where: relays on the upper half of the processors we may use, the generators on the lower, so that neither side is
//! ever moved to where it is dearer. On a single processor everybody shares it.

use crate::{allowance, sys};

/// For the thread that made it; dropped, that thread may run anywhere again.
pub(super) struct Place {
    server: Vec<u32>,
    ourselves: Vec<u32>,
}

impl Place {
    pub(super) fn here() -> Place {
        Place::of(&allowance::ours())
    }

    fn of(processors: &[u32]) -> Place {
        let (ourselves, server) = processors.split_at(processors.len().div_ceil(2));
        let server = if server.is_empty() { ourselves } else { server };
        Place { server: server.to_vec(), ourselves: ourselves.to_vec() }
    }

    /// What this thread starts from now on serves.
    pub(super) fn for_the_server(&self) {
        sys::stay_on(&self.server);
    }

    pub(super) fn for_ourselves(&self) {
        sys::stay_on(&self.ourselves);
    }

    pub(super) fn words(&self) -> String {
        format!("relays on processors {:?}, generators on {:?}", self.server, self.ourselves)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        sys::stay_on(&[self.ourselves.as_slice(), self.server.as_slice()].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_apart_where_there_are_two() {
        let halves = |processors: &[u32]| {
            let place = Place::of(processors);
            (place.ourselves.clone(), place.server.clone())
        };
        assert_eq!(halves(&[0, 1, 2, 3]), (vec![0, 1], vec![2, 3]));
        assert_eq!(halves(&[0, 2, 5]), (vec![0, 2], vec![5]));
        assert_eq!(halves(&[3]), (vec![3], vec![3]));
    }

    #[test]
    fn afterwards_this_thread_may_run_where_it_could_before() {
        let before = allowance::ours();
        let place = Place::here();
        place.for_the_server();
        place.for_ourselves();
        drop(place);
        assert_eq!(allowance::ours(), before);
    }
}
