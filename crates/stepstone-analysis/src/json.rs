//! Forms of the output that JSON lacks: infinite degrees of freedom are the text "inf", ordered pairs an object.

use serde::{Deserialize, Deserializer, Serializer};

/// `#[serde(with = "crate::json::df")]` for an `Option<f64>`.
pub mod df {
    use super::{Deserialize, Deserializer, Serializer, Text};
    use serde::Serialize;

    /// Writes a number, "inf" or null.
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(df: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        match df {
            Some(df) if df.is_infinite() => serializer.serialize_str("inf"),
            df => df.serialize(serializer),
        }
    }

    /// Reads what [`serialize`] writes.
    /// # Errors
    /// If there is anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Option::<Text>::deserialize(deserializer)?.map(super::value).transpose()
    }
}

/// `#[serde(with = "crate::json::map")]` for pairs in an order that matters, written as one object.
pub mod map {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the pairs as the entries of an object.
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(pairs: &[(String, T)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
    }

    /// Reads the entries of an object in their order.
    /// # Errors
    /// If there is anything else.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<(String, T)>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        struct Pairs<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Pairs<T> {
            type Value = Vec<(String, T)>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = entries.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs(std::marker::PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(f64),
    Word(String),
}

fn value<E: serde::de::Error>(text: Text) -> Result<f64, E> {
    match text {
        Text::Number(df) => Ok(df),
        Text::Word(word) if word == "inf" => Ok(f64::INFINITY),
        Text::Word(word) => Err(E::custom(format!("degrees of freedom are `{word}`, expected a number or \"inf\""))),
    }
}

#[cfg(test)]
mod tests {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Holder(#[serde(with = "super::df")] Option<f64>);

    #[test]
    fn infinite_and_undefined_df_survive_the_round_trip() {
        for (df, text) in [(Some(f64::INFINITY), "\"inf\""), (Some(2.5), "2.5"), (None, "null")] {
            assert_eq!(serde_json::to_string(&Holder(df)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Holder>(text).unwrap(), Holder(df));
        }
        assert!(serde_json::from_str::<Holder>("\"many\"").is_err());
    }
}
