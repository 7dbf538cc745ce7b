//! JSON objects as a signed token may hold them, and as a session may carry them.
//!
//! Stricter than RFC 8259: no member name twice (two readers could disagree about which one
//! counts), no deep nesting, and no U+0000, which a `jsonb` cannot hold.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How deep objects and arrays may nest, the outermost object included.
const MAX_DEPTH: u32 = 32;

/// Reads one object.
///
/// # Errors
/// The rule that the text breaks and where. The message holds nothing of the text itself.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { room: MAX_DEPTH }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| error.to_string())?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err("not a JSON object".to_owned()),
    }
}

/// The same JSON in ASCII: outer whitespace removed, every other character escaped, nothing else
/// changed. `text` must be valid JSON, where only strings hold such characters.
pub(crate) fn ascii(text: &str) -> String {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Reads a value into which `room` more levels fit.
#[derive(Clone, Copy)]
struct Strict {
    room: u32,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.room.checked_sub(1) {
            Some(room) => Ok(Self { room }),
            None => Err(E::custom(format_args!("nested more than {MAX_DEPTH} deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        if value.contains('\0') {
            return Err(E::custom("the character U+0000 in a string"));
        }
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name.contains('\0') {
                return Err(A::Error::custom("the character U+0000 in a member name"));
            }
            if object.insert(name, members.next_value_seed(inner)?).is_some() {
                return Err(A::Error::custom("a member name occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        object(text).expect_err(text)
    }

    #[test]
    fn an_object_is_read_with_all_its_types() {
        let text = r#" {"a":null,"b":[true,-1,18446744073709551615,1.5,"x"],"c":{}} "#;

        let members = object(text).unwrap();

        assert_eq!(Value::Object(members), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn only_an_object_will_do() {
        for text in ["[]", "1", "\"{}\"", "null"] {
            assert_eq!(refusal(text), "not a JSON object");
        }
        for text in ["", "{", "{}{}", "{} x", "{'a':1}", "{\"a\":1,}", "\u{feff}{}"] {
            refusal(text);
        }
    }

    #[test]
    fn a_member_name_may_occur_once_at_every_depth() {
        for text in [r#"{"sub":"a","sub":"a"}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            assert!(refusal(text).starts_with("a member name occurs twice"));
        }
        assert!(object(r#"{"a":{"a":{"a":1}}}"#).is_ok());
    }

    #[test]
    fn nesting_ends_at_thirty_two() {
        let nested = |arrays: usize| format!("{{\"a\":{}{}}}", "[".repeat(arrays), "]".repeat(arrays));

        assert!(object(&nested(31)).is_ok());
        assert!(refusal(&nested(32)).starts_with("nested more than 32 deep"));
        assert!(refusal(&nested(30_000)).starts_with("nested more than 32 deep"));
    }

    #[test]
    fn what_jsonb_cannot_hold_is_refused() {
        assert!(refusal(r#"{"a":"x\u0000"}"#).starts_with("the character U+0000 in a string"));
        assert!(refusal(r#"{"\u0000":1}"#).starts_with("the character U+0000 in a member name"));
        refusal(r#"{"a":"\ud800"}"#);
        refusal(r#"{"a":1e999}"#);
    }

    #[test]
    fn a_refusal_quotes_nothing() {
        for text in [r#"{"secret":1,"secret":1}"#, r#"{"secret" "secret"}"#, r#"{"secret":secret}"#] {
            assert!(!refusal(text).contains("secret"), "{}", refusal(text));
        }
    }

    #[test]
    fn ascii_escapes_in_utf_16_and_keeps_the_rest() {
        let text = "\n{\"name\": \"Zoë 😀\", \"b\":\"\\u00eb\",\"a\":1.0}\n";

        let ascii = ascii(text);

        assert_eq!(ascii, r#"{"name": "Zo\u00eb \ud83d\ude00", "b":"\u00eb","a":1.0}"#);
        assert_eq!(object(&ascii), object(text));
    }
}
