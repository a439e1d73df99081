//! Who runs where: relays on the upper half of the processors we may use, the generators on the lower, so that neither side is
//! ever moved to where it is dearer. On a single processor everybody shares it.

use crate::{allowance, sys};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_apart_where_there_are_two() {
        let halves = |processors: &[u32]| {
            let Place { server, ourselves } = Place::of(processors);
            (ourselves, server)
        };
        assert_eq!(halves(&[0, 1, 2, 3]), (vec![0, 1], vec![2, 3]));
        assert_eq!(halves(&[0, 2, 5]), (vec![0, 2], vec![5]));
        assert_eq!(halves(&[3]), (vec![3], vec![3]));
    }
}
