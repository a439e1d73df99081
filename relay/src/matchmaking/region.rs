//! Where people are, as their app says, and where they want a partner to be (matching.md §1.2, A7). No address is looked at.

use serde::{Deserialize, Serialize};

/// A country by its two capital letters (ISO 3166-1 alpha-2), or none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Country(u16);

impl Country {
    /// Nothing was said.
    pub const UNKNOWN: Country = Country(0);

    /// `None` for anything but two capital letters.
    pub fn parse(code: &str) -> Option<Country> {
        let &[a @ b'A'..=b'Z', b @ b'A'..=b'Z'] = code.as_bytes() else { return None };
        Some(Country(u16::from_be_bytes([a, b])))
    }

    /// Its two capital letters; `None` if nothing was said.
    pub fn letters(self) -> Option<[u8; 2]> {
        (self != Country::UNKNOWN).then(|| self.0.to_be_bytes())
    }
}

/// Countries one ticket may ask for.
pub const MAX_COUNTRIES: usize = 5;

/// Countries a partner may be in; none means any.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Countries([Country; MAX_COUNTRIES]);

impl Countries {
    pub const ANY: Countries = Countries([Country::UNKNOWN; MAX_COUNTRIES]);

    /// `None` for more than [`MAX_COUNTRIES`], or one that is unknown.
    pub fn new(wanted: &[Country]) -> Option<Countries> {
        let mut countries = Countries::ANY;
        if wanted.len() > MAX_COUNTRIES || wanted.contains(&Country::UNKNOWN) {
            return None;
        }
        countries.0[..wanted.len()].copy_from_slice(wanted);
        Some(countries)
    }

    /// Those that are asked for, by their letters.
    pub fn letters(&self) -> impl Iterator<Item = [u8; 2]> + '_ {
        self.0.iter().filter_map(|country| country.letters())
    }

    /// Whether somebody there will do. Who has not said where they are is nowhere that was asked for.
    pub fn admit(&self, country: Country) -> bool {
        *self == Countries::ANY || country != Country::UNKNOWN && self.0.contains(&country)
    }
}

/// One side of the mutual criterion.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) home: Country,
    pub(super) wanted: Countries,
}

impl Region {
    /// Each is where the other wants somebody to be. Symmetric.
    pub(super) fn suits(&self, other: &Region) -> bool {
        self.wanted.admit(other.home) && other.wanted.admit(self.home)
    }
}

impl std::fmt::Debug for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Country[redacted]")
    }
}

impl std::fmt::Debug for Countries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Countries[redacted]")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn country(code: &str) -> Country {
        Country::parse(code).unwrap()
    }

    #[test]
    fn countries_are_two_capital_letters() {
        assert_ne!(country("VN"), country("NV"));
        for bad in ["", "V", "vn", "VNM", "V1", "É"] {
            assert_eq!(Country::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_criterion_is_mutual_and_the_unknown_is_nowhere() {
        let region = |home, wanted: &[Country]| Region { home, wanted: Countries::new(wanted).unwrap() };
        let (vn, de) = (country("VN"), country("DE"));
        for (a, b, suits) in [
            (region(vn, &[]), region(de, &[]), true),
            (region(vn, &[de]), region(de, &[]), true),
            (region(vn, &[de]), region(de, &[vn, de]), true),
            (region(vn, &[de]), region(de, &[de]), false),
            (region(vn, &[vn]), region(de, &[]), false),
            (region(Country::UNKNOWN, &[]), region(de, &[]), true),
            (region(Country::UNKNOWN, &[]), region(de, &[vn]), false),
            (region(Country::UNKNOWN, &[de]), region(de, &[]), true),
        ] {
            assert_eq!((a.suits(&b), b.suits(&a)), (suits, suits));
        }
    }

    #[test]
    fn no_more_than_five_are_asked_for() {
        let codes = ["VN", "DE", "FR", "BR", "JP", "KE"].map(country);
        assert!(Countries::new(&codes[..5]).is_some() && Countries::new(&codes).is_none());
        assert!(Countries::new(&[Country::UNKNOWN]).is_none());
    }
}
