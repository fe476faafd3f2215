//! JSON in which no object has a name twice. `serde_json` takes the last of them into a map without a word.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// Refuses JSON in which an object has two values of one name, wherever it lies.
///
/// # Errors
/// What is no JSON, and the first name that comes again.
pub fn check_distinct_names(json: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<Distinct>(json).map(drop)
}

/// Any value.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("there are two of the name {name:?}")));
            }
            map.next_value::<Self>()?;
            names.insert(name);
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self, A::Error> {
        while values.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_again_is_refused_wherever_it_lies() {
        let check = |json: &str| check_distinct_names(json.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(
            check(r#"{"a": {"b": [1, -1, 0.5, true, null, "b"]}, "b": [{"a": 1}, {"a": 2}]}"#),
            Ok(())
        );
        for json in [r#"{"a": 1, "a": 1}"#, r#"[0, {"b": {"a": 1, "c": 2, "\u0061": 3}}]"#] {
            assert!(check(json).unwrap_err().starts_with(r#"there are two of the name "a""#), "{json}");
        }
        assert!(check("{").unwrap_err().contains("EOF"));
    }
}
