//! Where a hook's request goes: a URL, taken apart once, of which messages show no more than may be seen by everybody.

/// A URL of http or https, without a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query, which may hold a token.
    pub target: String,
    url: String,
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence saying what is wrong with it, which repeats nothing of it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let malformed = || "is no URL: write one such as https://ci.example.org/hook".to_owned();
        let (tls, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("is no URL of http or https".to_owned()),
        };
        if url.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return Err("has a blank, or a character that isn't ASCII: write it in percent-encoding".to_owned());
        }
        if url.contains('#') {
            return Err("has a fragment (#…), which is never sent: leave it out".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err("has a login before the host, which isn't sent: leave it out".to_owned());
        }
        let (host, port) = split_port(authority).ok_or_else(malformed)?;
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(malformed)?,
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { tls, host: host.to_owned(), port, target, url: url.to_owned() })
    }

    /// As it was written.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port, as a request names them.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { tls, host, port, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *port == if *tls { 443 } else { 80 } { host } else { format!("{host}:{port}") }
    }
}

/// Host and port; the host without the brackets that an IPv6 address has.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        let is_address = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
        return match behind.strip_prefix(':') {
            port @ Some(_) => is_address.then_some((host, port)),
            None => (is_address && behind.is_empty()).then_some((host, None)),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_name.then_some((host, port))
}

/// What everybody may see: without the query, in which tokens are.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_its_query() {
        for (url, authority, port, target, shown) in [
            ("https://ci.example.org", "ci.example.org", 443, "/", "https://ci.example.org/"),
            ("http://hooks:8080/a/b?token=x", "hooks:8080", 8080, "/a/b?token=x", "http://hooks:8080/a/b"),
            ("https://h?token=x", "h", 443, "/?token=x", "https://h/"),
            ("http://[::1]:80/x", "[::1]", 80, "/x", "http://[::1]/x"),
            ("https://[fe80::1]:8443", "[fe80::1]:8443", 8443, "/", "https://[fe80::1]:8443/"),
            ("https://10.0.0.1:443/x", "10.0.0.1", 443, "/x", "https://10.0.0.1/x"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((endpoint.authority().as_str(), endpoint.port), (authority, port), "{url}");
            assert_eq!((endpoint.target.as_str(), endpoint.to_string().as_str()), (target, shown), "{url}");
            assert_eq!(endpoint.url(), url);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for (url, says) in [
            ("ftp://example.org/secret", "no URL of http"),
            ("example.org/secret", "no URL of http"),
            ("https:///secret", "is no URL"),
            ("https://joe:secret@example.org/", "has a login"),
            ("https://example.org/#secret", "has a fragment"),
            ("https://example.org/se cret", "has a blank"),
            ("https://exämple.org/secret", "isn't ASCII"),
            ("https://example.org:0/secret", "is no URL"),
            ("https://example.org:65536/secret", "is no URL"),
            ("https://[::1/secret", "is no URL"),
            ("https://[::1]secret/", "is no URL"),
            ("https://a\\b/secret", "is no URL"),
        ] {
            let error = Endpoint::parse(url).expect_err(url);
            assert!(error.contains(says) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
