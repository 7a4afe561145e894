//! `#[serde(with = "crate::json::df")]` for an `Option<f64>` that may be infinite.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a number, "inf" or null.
/// # Errors
/// Those of the serializer.
#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(crate) fn serialize<S: Serializer>(df: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match df {
        // JSON has no infinity, and null already means undefined.
        Some(df) if df.is_infinite() => serializer.serialize_str("inf"),
        df => df.serialize(serializer),
    }
}

/// Reads what [`serialize`] writes.
/// # Errors
/// If there is anything else.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Option::<Text>::deserialize(deserializer)?.map(value).transpose()
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
    struct Holder(#[serde(with = "crate::json::df")] Option<f64>);

    #[test]
    fn infinite_and_undefined_df_survive_the_round_trip() {
        for (df, text) in [(Some(f64::INFINITY), "\"inf\""), (Some(2.5), "2.5"), (None, "null")] {
            assert_eq!(serde_json::to_string(&Holder(df)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Holder>(text).unwrap(), Holder(df));
        }
        assert!(serde_json::from_str::<Holder>("\"many\"").is_err());
    }
}
