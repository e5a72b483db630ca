//! The TOML schema of a specification, with the place of each part.
//!
//! Enters: text. Leaves: a [`Document`]. Refuses: unknown keys, wrong kinds of values. What the strings say is checked by
//! others.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::source::{Source, SpecError};

/// A string and its place.
pub(super) type Words = Spanned<String>;
/// Named things; their order in the file is that of their spans.
pub(super) type Named<T> = BTreeMap<Words, Spanned<T>>;

/// A file.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) engine: Words,
    #[serde(default)]
    pub(super) libraries: Vec<Words>,
    #[serde(default)]
    pub(super) executable: bool,
    #[serde(default)]
    pub(super) tables: BTreeMap<Words, BTreeMap<Words, Words>>,
    #[serde(default)]
    pub(super) types: Named<Short<TypeEntry>>,
    #[serde(default)]
    pub(super) probe: Vec<Spanned<Probe>>,
}

/// `types.NAME` as a table.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypeEntry {
    pub(super) size: Spanned<u32>,
    pub(super) align: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) class: bool,
    #[serde(default)]
    pub(super) members: BTreeMap<Words, Words>,
    pub(super) tensor: Option<Spanned<Short<TensorEntry>>>,
    pub(super) text: Option<Words>,
}

/// `[[probe]]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Probe {
    pub(super) name: Words,
    pub(super) op: Option<Words>,
    pub(super) use_v1: Option<Spanned<bool>>,
    pub(super) api: Option<Spanned<Api>>,
    pub(super) libraries: Option<Vec<Words>>,
    pub(super) executable: Option<bool>,
    pub(super) signature: Option<Words>,
    pub(super) symbol: Option<Spanned<OneOrMore>>,
    pub(super) matches: Option<Matches>,
    #[serde(default)]
    pub(super) when: Vec<Spanned<ConditionEntry>>,
    pub(super) unwinds: Option<bool>,
    pub(super) duration: Option<bool>,
    pub(super) r#if: Option<Words>,
    #[serde(default)]
    pub(super) each: BTreeMap<Words, Spanned<Vec<Words>>>,
    #[serde(default)]
    pub(super) tensors: Named<Short<TensorEntry>>,
    #[serde(default)]
    pub(super) fields: Named<Short<FieldEntry>>,
    #[serde(default)]
    pub(super) variant: Vec<Spanned<Variant>>,
}

/// `[[probe.variant]]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    pub(super) signature: Option<Words>,
    pub(super) symbol: Option<Spanned<OneOrMore>>,
    pub(super) matches: Option<Matches>,
    #[serde(default)]
    pub(super) when: Vec<Spanned<ConditionEntry>>,
    pub(super) unwinds: Option<bool>,
    pub(super) duration: Option<bool>,
    pub(super) r#if: Option<Words>,
    pub(super) each: Option<BTreeMap<Words, Spanned<Vec<Words>>>>,
    #[serde(default)]
    pub(super) tensors: Named<Short<TensorEntry>>,
    #[serde(default)]
    pub(super) fields: Named<Short<FieldEntry>>,
}

/// What a symbol that is found at several addresses means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Matches {
    One,
    All,
}

/// `api`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Api {
    Driver,
    Runtime,
}

/// One of `when`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionEntry {
    pub(super) present: Option<Words>,
    pub(super) absent: Option<Words>,
    pub(super) library: Option<Words>,
    pub(super) mapped: Option<Words>,
    pub(super) unmapped: Option<Words>,
    pub(super) build_id: Option<Spanned<OneOrMore>>,
}

/// `tensors.NAME`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TensorEntry {
    pub(super) of: Option<Words>,
    pub(super) shape: Option<Words>,
    pub(super) dtype: Option<Words>,
    pub(super) r#if: Option<Words>,
    /// Only in the prelude: layouts that expressions cannot say.
    pub(super) reader: Option<Words>,
}

/// `fields.NAME`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldEntry {
    pub(super) of: Words,
    pub(super) r#if: Option<Words>,
}

impl Document {
    pub(super) fn parse(source: &Source) -> Result<Self, SpecError> {
        toml::from_str(&source.text).map_err(|error| source.toml(&error))
    }
}

/// The entries of a table in the order of the file.
pub(super) fn in_order<T>(table: &BTreeMap<Words, T>) -> Vec<(&Words, &T)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// A table, or the string that is short for it.
#[derive(Debug)]
pub(super) enum Short<T> {
    Text(String),
    Table(Box<T>),
}

/// A string, or a list of strings.
#[derive(Debug)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<Words>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Short<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a table")
            }

            fn visit_str<E>(self, text: &str) -> Result<Short<T>, E> {
                Ok(Short::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Short<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|table| Short::Table(Box::new(table)))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMore;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(OneOrMore::More(words))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
