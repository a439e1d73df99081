//! Reads one TOML table: each value with its place, each wrong type and unknown key as a problem.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Kind};
use super::problems::{Collector, quoted, suggestion};

/// A value and the byte offset where it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// One table and its name as messages call it, e.g. `[relay]`.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) name: &'a str,
    /// Where the table begins, for what is missing in it.
    pub(super) at: usize,
    entries: Option<&'a DeTable<'a>>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Table<'a> {
    pub(super) fn new(name: &'a str, at: usize, entries: &'a DeTable<'a>) -> Table<'a> {
        Table { name, at, entries: Some(entries) }
    }

    /// A table nobody wrote: every value in it is absent.
    pub(super) fn absent(name: &'a str) -> Table<'a> {
        Table { name, at: 0, entries: None }
    }

    /// Complains of every key that is not in `known`; `elsewhere` may say where it would be right.
    pub(super) fn refuse_unknown(&self, known: &[&str], elsewhere: fn(&str) -> Option<String>, found: &mut Collector) {
        for (key, _) in self.entries() {
            let written: &str = key.get_ref();
            if !known.contains(&written) {
                let hint = elsewhere(written).unwrap_or_else(|| suggestion(written, known.iter().copied()));
                found.value(key.span().start, format!("unknown key {} in {}{hint}", quoted(written), self.name));
            }
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a Spanned<std::borrow::Cow<'a, str>>, Value<'a>)> {
        self.entries.into_iter().flat_map(|entries| entries.iter())
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entries().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    pub(super) fn string(&self, key: &str, found: &mut Collector) -> Option<At<String>> {
        string(&self.label(key), self.get(key)?, found)
    }

    pub(super) fn boolean(&self, key: &str, found: &mut Collector) -> Option<At<bool>> {
        let value = self.get(key)?;
        let read = value.get_ref().as_bool().map(|it| At { at: value.span().start, value: it });
        if read.is_none() {
            wrong_type(&self.label(key), value, "true or false", found);
        }
        read
    }

    /// A whole number within the bounds of its row in `keys`.
    pub(super) fn number(&self, key: &str, found: &mut Collector) -> Option<At<u64>> {
        let value = self.get(key)?;
        let max = match keys::find(self.name.trim_matches(['[', ']']), key).map(|key| key.kind) {
            Some(Kind::Number { most }) => most,
            _ => 0,
        };
        let at = value.span().start;
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_type(&self.label(key), value, "a whole number", found);
            return None;
        };
        let read = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|number| *number <= max);
        if read.is_none() {
            found.value(at, format!("{} is a whole number from 0 to {max}", self.label(key)));
        }
        read.map(|number| At { at, value: number })
    }

    pub(super) fn list(&self, key: &str, found: &mut Collector) -> Option<&'a [Spanned<DeValue<'a>>]> {
        let value = self.get(key)?;
        let read = value.get_ref().as_array().map(|array| array.iter().as_slice());
        if read.is_none() {
            wrong_type(&self.label(key), value, "a list, written [ … ]", found);
        }
        read
    }

    pub(super) fn strings(&self, key: &str, found: &mut Collector) -> Option<Vec<At<String>>> {
        let items = self.list(key, found)?;
        let label = format!("each entry of {}", self.label(key));
        Some(items.iter().filter_map(|item| string(&label, item, found)).collect())
    }

    /// The table under `key`, called `name` in messages.
    pub(super) fn table(&self, key: &str, name: &'a str, found: &mut Collector) -> Option<Table<'a>> {
        let value = self.get(key)?;
        let read = value.get_ref().as_table().map(|entries| Table::new(name, value.span().start, entries));
        if read.is_none() {
            wrong_type(&self.label(key), value, "a table", found);
        }
        read
    }

    /// `relay.realm` for the key `realm` of `[relay]`.
    fn label(&self, key: &str) -> String {
        match self.name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(section) => format!("{section}.{key}"),
            None => format!("{key} in {}", self.name),
        }
    }
}

/// `value` as a string; `label` names it in the complaint.
pub(super) fn string(label: &str, value: &Spanned<DeValue<'_>>, found: &mut Collector) -> Option<At<String>> {
    let read = value.get_ref().as_str().map(|text| At { at: value.span().start, value: text.to_owned() });
    if read.is_none() {
        wrong_type(label, value, "a string in quotes", found);
    }
    read
}

/// Says what was expected and of which type the value is; never the value, it may be a secret.
pub(super) fn wrong_type(label: &str, value: &Spanned<DeValue<'_>>, expected: &str, found: &mut Collector) {
    let article = if matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
    let written = value.get_ref().type_str();
    found.value(value.span().start, format!("{label} is {expected}, not {article} {written}"));
}
