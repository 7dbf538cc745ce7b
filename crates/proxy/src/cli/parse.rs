//! Parsers of single arguments. Their errors end up behind clap's "invalid value 'x' for '--y'".

use serde_json::Value;

use super::{Ports, TableName};

/// The port of an application, where none is named.
const APP_PORT: u16 = 3000;

/// `6432,6480,6481,3000`, of which the last may be left out, or `0` for free ones.
pub(super) fn ports(text: &str) -> Result<Ports, String> {
    let port = |word: &str| word.trim().parse().map_err(|_| format!("{word:?} is not a port (0 to 65535)"));
    let ports = text.split(',').map(port).collect::<Result<Vec<_>, _>>()?;
    match ports[..] {
        [0] => Ok(Ports { postgres: 0, http: 0, admin: 0, app: 0 }),
        [postgres, http, admin] => Ok(Ports { postgres, http, admin, app: APP_PORT }),
        [postgres, http, admin, app] => Ok(Ports { postgres, http, admin, app }),
        _ => Err("three or four ports are expected, separated by commas, or 0 alone for free ones".into()),
    }
}

/// `name=JSON`
pub(super) fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text.split_once('=').ok_or("NAME=JSON is expected")?;
    if name.is_empty() {
        return Err("the claim has no name".into());
    }
    let value = serde_json::from_str(json)
        .map_err(|error| format!("the value is not JSON ({error}); a string needs its quotes: {name}='\"text\"'"))?;
    Ok((name.into(), value))
}

/// `todos`, `app.todos`, `app."Todos"`: as in SQL, what is not quoted is in lower case.
pub(super) fn table(text: &str) -> Result<TableName, String> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, behind) = identifier(rest)?;
        names.push(name);
        match behind.strip_prefix('.') {
            Some(next) => rest = next,
            None if behind.is_empty() => break,
            None => return Err(format!("{behind:?} is no part of a name; a name with such characters needs quotes")),
        }
    }
    let table = names.pop().unwrap_or_default();
    match names.len() {
        0 | 1 => Ok(TableName { schema: names.pop(), table }),
        _ => Err("a table's name has at most two parts: SCHEMA.TABLE".into()),
    }
}

/// The first name of a text, and what is behind it.
fn identifier(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$'))).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return if name.is_empty() { Err("a name is expected".into()) } else { Ok((name.to_lowercase(), rest)) };
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (part, behind) = rest.split_once('"').ok_or("a quote is not closed")?;
        name.push_str(part);
        match behind.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None if name.is_empty() => return Err("a name is expected".into()),
            None => return Ok((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_zero_stands_for_four_free_ports() {
        assert_eq!(ports("0"), ports("0,0,0,0"));
    }

    #[test]
    fn three_ports_are_needed_and_a_fourth_is_the_applications() {
        assert_eq!(ports("6432,0,6481"), Ok(Ports { postgres: 6432, http: 0, admin: 6481, app: 3000 }));
        assert_eq!(ports("6432, 0, 6481, 8080"), Ok(Ports { postgres: 6432, http: 0, admin: 6481, app: 8080 }));
        assert!(ports("6432").is_err());
        assert!(ports("1,2,3,4,5").is_err());
        assert!(ports("1,2,65536").is_err());
    }

    #[test]
    fn a_claim_is_a_name_and_json() {
        assert_eq!(claim("level=3"), Ok(("level".into(), json!(3))));
        assert_eq!(claim(r#"q="a=b""#), Ok(("q".into(), json!("a=b"))));
        assert!(claim("level").is_err());
        assert!(claim("=3").is_err());
    }

    #[test]
    fn an_unquoted_string_is_told_how_to_quote() {
        let error = claim("tenant=acme").expect_err("acme is not JSON");
        assert!(error.contains("needs its quotes"), "{error}");
    }

    #[test]
    fn a_table_is_named_as_in_sql() {
        let named = |schema: Option<&str>, table: &str| {
            Ok(TableName { schema: schema.map(str::to_owned), table: table.to_owned() })
        };
        assert_eq!(table("Todos"), named(None, "todos"));
        assert_eq!(table("app.todos"), named(Some("app"), "todos"));
        assert_eq!(table(r#""My App"."a.""b""#), named(Some("My App"), r#"a."b"#));
        for wrong in ["", "a.", ".a", "a.b.c", "a b", r#""a"#, r#""""#, "a;drop"] {
            assert!(table(wrong).is_err(), "{wrong}");
        }
    }
}
