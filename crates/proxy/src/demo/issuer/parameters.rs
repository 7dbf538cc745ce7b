//! The parameters of a request to an OAuth endpoint, from a query or a form.

use std::collections::BTreeMap;

use url::form_urlencoded;

/// Parameters by name. One without a value is none (RFC 6749, section 3.1).
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads them; the name of one that is there twice is the error, since nobody could say which one counts.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty()) {
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(name.into_owned());
            }
        }
        Ok(Self(parameters))
    }

    /// The value of one of them.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded_and_an_empty_one_is_none() {
        let parameters = Parameters::parse(b"state=a%26b+c&nonce=&scope").unwrap();
        assert_eq!(parameters.value("state"), Some("a&b c"));
        assert_eq!(parameters.value("nonce"), None);
        assert_eq!(parameters.value("scope"), None);
    }

    #[test]
    fn a_parameter_that_is_there_twice_is_an_error() {
        assert_eq!(Parameters::parse(b"code=1&state=2&code=1").unwrap_err(), "code");
    }
}
