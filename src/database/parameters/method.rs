//! `require_auth`: which ways of logging in a server may ask for (PostgreSQL 18 manual, 32.1.2).

/// A way of logging in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "libpq's own words")]
pub enum Method {
    Password,
    Md5,
    Gss,
    Sspi,
    ScramSha256,
    OAuth,
    None,
}

impl Method {
    const ALL: [(&'static str, Self); 7] = [
        ("password", Self::Password),
        ("md5", Self::Md5),
        ("gss", Self::Gss),
        ("sspi", Self::Sspi),
        ("scram-sha-256", Self::ScramSha256),
        ("oauth", Self::OAuth),
        ("none", Self::None),
    ];

    /// libpq's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, it)| *it == self).map_or("", |(name, _)| name)
    }
}

/// The ways that are allowed; all of them, unless `require_auth` says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// All of them.
    pub const ANY: Self = Self(0x7f);

    /// Whether a server may ask for this one.
    #[must_use]
    pub fn allow(self, method: Method) -> bool {
        self.0 & Self::bit(method) != 0
    }

    fn bit(method: Method) -> u8 {
        1 << method as u8
    }

    /// A list of methods, or one of methods that are excluded, each with an exclamation mark.
    pub(in crate::database) fn parse(list: &str) -> Result<Self, String> {
        let items: Vec<&str> = list.split(',').map(str::trim).collect();
        let excluded = items.iter().filter(|it| it.starts_with('!')).count();
        if excluded != 0 && excluded != items.len() {
            return Err("a method is required and another one excluded; write one kind".to_owned());
        }
        let mut named = 0;
        for item in items {
            let name = item.strip_prefix('!').unwrap_or(item);
            let Some((_, method)) = Method::ALL.iter().find(|(known, _)| *known == name) else {
                return Err("the methods are scram-sha-256, md5, password, none, gss, sspi and oauth".to_owned());
            };
            if named & Self::bit(*method) != 0 {
                return Err(format!("{name} is given twice"));
            }
            named |= Self::bit(*method);
        }
        let allowed = Self(if excluded == 0 { named } else { Self::ANY.0 & !named });
        let usable = [Method::ScramSha256, Method::Md5, Method::Password, Method::None];
        if usable.iter().any(|it| allowed.allow(*it)) {
            Ok(allowed)
        } else {
            Err("it leaves only gss, sspi or oauth, which aren't supported; allow scram-sha-256".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_allows_and_an_excluding_list_excludes() {
        let required = Methods::parse("scram-sha-256,none").unwrap();
        assert!(required.allow(Method::ScramSha256) && required.allow(Method::None));
        assert!(!required.allow(Method::Password) && !required.allow(Method::Md5));
        let excluding = Methods::parse("!password,!md5").unwrap();
        assert!(excluding.allow(Method::ScramSha256) && !excluding.allow(Method::Password));
    }

    #[test]
    fn lists_that_libpq_refuses_are_refused() {
        for list in ["password,!md5", "scram", "md5,md5", "", "gss"] {
            assert!(Methods::parse(list).is_err(), "{list}");
        }
    }
}
