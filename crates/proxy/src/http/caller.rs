//! Who a request comes from: the peer of its connection, or who a trusted proxy says it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header::HeaderValue};

use crate::config::Http;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address of somebody of whom nothing is known.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The connection that carries requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier {
    pub(super) tls: bool,
    pub(super) peer: SocketAddr,
}

/// Who a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Whether it came under TLS, to the proxy that is in front if there is one.
    pub(super) tls: bool,
    pub(super) address: SocketAddr,
}

impl Caller {
    /// Of a request with these headers. A trusted proxy appends to `X-Forwarded-For` who it was asked by: the last of
    /// the addresses that is not itself a trusted proxy's is the first that nobody else can have written.
    pub(super) fn of(carrier: Carrier, headers: &HeaderMap, config: &Http) -> Self {
        let Carrier { tls, peer } = carrier;
        if !config.trusts(peer.ip()) {
            return Self { tls, address: peer };
        }
        let lists = headers.get_all(FORWARDED_FOR).into_iter().collect::<Vec<_>>();
        let written = lists.iter().rev().flat_map(|list| list.to_str().unwrap_or_default().rsplit(','));
        let mut address = peer;
        for text in written {
            let Some(ip) = read(text.trim()) else {
                // It was somebody, whom the proxy does not name: not this machine.
                if address.ip().to_canonical().is_loopback() {
                    address = NOBODY;
                }
                break;
            };
            address = SocketAddr::new(ip.to_canonical(), 0);
            if !config.trusts(ip) {
                break;
            }
        }
        // The last proxy's word: what a client has written comes before it. How the proxy comes itself says nothing of its
        // client.
        let proto = headers.get_all(FORWARDED_PROTO).into_iter().next_back();
        Self { tls: proto.map_or(tls, under_tls), address }
    }

    /// Whether it comes from this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

/// Whether that is the scheme of something under TLS; some proxies have one of their own for WebSockets.
fn under_tls(scheme: &HeaderValue) -> bool {
    ["https", "wss"].iter().any(|secure| scheme.as_bytes().eq_ignore_ascii_case(secure.as_bytes()))
}

/// An address, behind which some proxies write a port.
fn read(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse().ok().as_ref().map(SocketAddr::ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origins;

    fn config(trusted: &[&str]) -> Http {
        Http {
            origins: Origins::Any,
            trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
            ..Http::default()
        }
    }

    fn caller(peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> (String, bool) {
        carried(false, peer, headers, trusted)
    }

    fn carried(tls: bool, peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> (String, bool) {
        let carrier = Carrier { tls, peer: SocketAddr::new(peer.parse().unwrap(), 1) };
        let pairs =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        let caller = Caller::of(carrier, &map, &config(trusted));
        (caller.address.ip().to_string(), caller.tls)
    }

    #[test]
    fn nobodys_word_is_taken_but_a_trusted_proxys() {
        let forged = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https")];
        assert_eq!(caller("192.0.2.1", &forged, &["10.0.0.0/8"]), ("192.0.2.1".to_owned(), false));
        assert_eq!(caller("10.0.0.7", &forged, &["10.0.0.0/8"]), ("127.0.0.1".to_owned(), true));
    }

    #[test]
    fn the_last_address_that_is_not_a_trusted_proxys_counts() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"];
        for (list, wanted) in [
            ("192.0.2.9, 192.0.2.1", "192.0.2.1"),
            ("127.0.0.1, 192.0.2.1, 10.1.1.1", "192.0.2.1"),
            ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
            ("192.0.2.1, 2001:db8::5", "192.0.2.1"),
            ("192.0.2.1, nonsense, 10.1.1.1", "10.1.1.1"),
            ("192.0.2.1:4711, 10.1.1.1", "192.0.2.1"),
            ("[2001:db9::1]:4711", "2001:db9::1"),
            ("", "10.0.0.7"),
        ] {
            assert_eq!(caller("10.0.0.7", &[("x-forwarded-for", list)], &trusted).0, wanted, "{list}");
        }
        let twice = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(caller("10.0.0.7", &twice, &trusted).0, "192.0.2.1");
    }

    #[test]
    fn what_a_client_says_of_tls_comes_before_what_the_proxy_says() {
        let lies = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")];
        assert!(!caller("10.0.0.7", &lies, &["10.0.0.7/32"]).1);
    }

    #[test]
    fn a_trusted_proxy_is_believed_of_tls_though_it_comes_by_tls_itself() {
        let trusted = ["10.0.0.7/32"];
        for (proto, wanted) in [("https", true), ("wss", true), ("http", false), ("ws", false), ("", false)] {
            for tls in [false, true] {
                let headers = [("x-forwarded-proto", proto)];
                assert_eq!(carried(tls, "10.0.0.7", &headers, &trusted).1, wanted, "{proto} {tls}");
            }
        }
        assert!(carried(true, "10.0.0.7", &[], &trusted).1, "it says nothing");
        assert!(carried(true, "192.0.2.1", &[("x-forwarded-proto", "http")], &trusted).1, "it is nobody to say so");
    }

    #[test]
    fn a_request_through_a_proxy_on_this_machine_is_not_from_this_machine() {
        let carrier = Carrier { tls: false, peer: SocketAddr::from(([127, 0, 0, 1], 1)) };
        let mut headers = HeaderMap::new();
        for somebody in ["192.0.2.1", "192.0.2.1:4711", "unknown", "_hidden", "127.0.0.1, unknown", ""] {
            headers.insert(FORWARDED_FOR, HeaderValue::from_str(somebody).unwrap());
            let caller = Caller::of(carrier, &headers, &config(&["127.0.0.1/32"]));
            assert!(!caller.is_local(), "{somebody:?}");
        }
        let direct = Caller::of(carrier, &HeaderMap::new(), &config(&[]));
        assert!(direct.is_local());
    }
}
