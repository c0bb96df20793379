//! Where a component's requests may go: `api.example.org`, `api.example.org:8443`, `http://10.0.0.7:8080`.
//! Without a scheme it is HTTPS; HTTP in the clear must be written out.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The longest name of a host (RFC 1035).
const HOST_CHARACTERS_MAX: usize = 253;

/// One place that requests may go to. A request goes there only if scheme, host and port are the same: no
/// pattern stands for many.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpHost {
    /// HTTPS, or HTTP in the clear.
    pub encrypted: bool,
    /// In lower case; an address of IPv6 in brackets.
    pub host: String,
    /// The port; 443 or 80 where none is written.
    pub port: u16,
}

impl HttpHost {
    /// The port that a scheme has by itself.
    #[must_use]
    pub fn usual_port(encrypted: bool) -> u16 {
        if encrypted { 443 } else { 80 }
    }
}

impl FromStr for HttpHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (encrypted, place) = match text.split_once("://") {
            None => (true, text),
            Some(("https", place)) => (true, place),
            Some(("http", place)) => (false, place),
            Some((scheme, _)) => {
                return Err(format!("{scheme:?} is not a scheme of requests: write https or http"));
            }
        };
        let said = || {
            format!(
                "{text:?} is not a host: write a name in lower case or an address, with a port if it needs one"
            )
        };
        // The colons of an address of IPv6 stand within its brackets.
        let after_address = place.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match place.get(after_address..).and_then(|rest| rest.rfind(':')) {
            Some(at) => (place.get(..after_address + at), place.get(after_address + at + 1..)),
            None => (Some(place), None),
        };
        let host = host.and_then(host_as_compared).ok_or_else(said)?;
        let port = port.map(number).unwrap_or(Some(Self::usual_port(encrypted))).ok_or_else(said)?;
        Ok(Self { encrypted, host, port })
    }
}

/// A port as digits alone.
fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// A name or an address, if it is one.
fn host_as_compared(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(legal);
    (text.len() <= HOST_CHARACTERS_MAX && text.split('.').all(label)).then(|| text.to_owned())
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == Self::usual_port(self.encrypted) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_read_with_its_scheme_and_port() {
        for (written, read) in [
            ("api.example.org", "https://api.example.org"),
            ("https://api.example.org:443", "https://api.example.org"),
            ("api.example.org:8443", "https://api.example.org:8443"),
            ("http://billing", "http://billing"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "https://[::1]:8080"),
            ("[0:0::1]", "https://[::1]"),
        ] {
            assert_eq!(written.parse::<HttpHost>().map(|host| host.to_string()), Ok(read.to_owned()));
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for wrong in [
            "",
            "*",
            "*.example.org",
            "API.example.org",
            "example.org/path",
            "user@example.org",
            "ftp://example.org",
            "example.org:",
            "example.org:0",
            "example.org:+80",
            "example.org:65536",
            "a..b",
            "example.org.",
            "::1",
            "[::1",
            "[example.org]",
            "http://",
            "a b",
        ] {
            assert!(wrong.parse::<HttpHost>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(written in "(https?://)?([a-z0-9.-]{1,12}|\\[[0-9a-f:]{2,9}\\])(:[0-9]{1,6})?") {
            if let Ok(host) = written.parse::<HttpHost>() {
                prop_assert_eq!(host.to_string().parse::<HttpHost>(), Ok(host));
            }
        }

        #[test]
        fn any_text_is_read_without_harm(written in any::<String>()) {
            let _ = written.parse::<HttpHost>();
        }
    }
}
