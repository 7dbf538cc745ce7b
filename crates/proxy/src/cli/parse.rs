//! Parsers of single arguments. Their errors end up behind clap's "invalid value 'x' for '--y'".

use serde_json::Value;

use super::Ports;

/// `6432,6480,6481`, or `0` for three free ones.
pub(super) fn ports(text: &str) -> Result<Ports, String> {
    let mut ports = [0; 3];
    let words: Vec<_> = text.split(',').collect();
    if words == ["0"] {
        return Ok(Ports { postgres: 0, http: 0, admin: 0 });
    }
    if words.len() != ports.len() {
        return Err("three ports are expected, separated by commas, or 0 alone for free ones".into());
    }
    for (port, word) in ports.iter_mut().zip(words) {
        *port = word.trim().parse().map_err(|_| format!("{word:?} is not a port (0 to 65535)"))?;
    }
    let [postgres, http, admin] = ports;
    Ok(Ports { postgres, http, admin })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_zero_stands_for_three_free_ports() {
        assert_eq!(ports("0"), ports("0,0,0"));
    }

    #[test]
    fn three_ports_are_needed() {
        assert_eq!(ports("6432,0,6481"), Ok(Ports { postgres: 6432, http: 0, admin: 6481 }));
        assert!(ports("6432").is_err());
        assert!(ports("1,2,3,4").is_err());
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
}
