//! The values of a set's variables: put into a section, and taken out of what is said.
//!
//! A value reaches the server and nothing else. What is stored, hashed or shown is the text of the file; what the server says
//! is searched for values that are secret.

mod redact;
mod substitute;

use std::{borrow::Cow, collections::BTreeMap, fmt};

use sha2::{Digest as _, Sha256};

use super::{
    bundle::hexadecimal,
    sql::variables::{Use, uses},
};
pub use substitute::{Misuse, Misused, Sent};

/// The variables that a set declares, by their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables {
    by_name: BTreeMap<String, Variable>,
}

/// A value, and where it comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from, and so whether it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From the spec, a file, a flag or a ConfigMap: whoever reads those reads it.
    Plain,
    /// From a Secret, or the environment of a command. The history is told of another value by `version`, which nothing
    /// of the value is in: a hash of a short one would give it away to whoever tries all of them.
    Secret {
        /// What is another when the value is.
        version: String,
    },
}

/// Why a value can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value has a NUL byte, which PostgreSQL can't be sent: remove it")]
pub struct HasNul;

impl Variable {
    /// A value that PostgreSQL can be sent.
    ///
    /// # Errors
    /// [`HasNul`].
    pub fn new(value: String, origin: Origin) -> Result<Self, HasNul> {
        if value.contains('\0') { Err(HasNul) } else { Ok(Self { value, origin }) }
    }

    /// Whether it must not be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.origin, Origin::Secret { .. })
    }
}

/// Without its value, whatever it is.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("value", &"…").field("origin", &self.origin).finish()
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.by_name).finish()
    }
}

impl FromIterator<(String, Variable)> for Variables {
    fn from_iter<T: IntoIterator<Item = (String, Variable)>>(variables: T) -> Self {
        Self { by_name: variables.into_iter().collect() }
    }
}

impl Variables {
    /// The variable of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.by_name.iter().map(|(name, variable)| (name.as_str(), variable))
    }

    /// The names that a text uses, in order, each once.
    #[must_use]
    pub fn used<'a>(&'a self, text: &str) -> Vec<(&'a str, &'a Variable)> {
        let mut used: Vec<(&str, &Variable)> = uses(text).iter().filter_map(|found| self.entry(found)).collect();
        used.sort_unstable_by_key(|(name, _)| *name);
        used.dedup_by_key(|(name, _)| *name);
        used
    }

    fn entry(&self, found: &Use<'_>) -> Option<(&str, &Variable)> {
        self.by_name.get_key_value(found.name).map(|(name, variable)| (name.as_str(), variable))
    }

    /// What is another when a value that the text uses is; None where it uses none.
    #[must_use]
    pub fn fingerprint(&self, text: &str) -> Option<String> {
        let used = self.used(text);
        if used.is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        for (name, Variable { value, origin }) in used {
            let (kind, counts) = match origin {
                Origin::Plain => ("plain", value),
                Origin::Secret { version } => ("secret", version),
            };
            for part in [name, kind, counts] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        Some(hexadecimal(&hash.finalize()))
    }

    /// A text of the server's, with every secret value in it as the variable that it is the value of.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        redact::redact(self, text)
    }

    /// The same of a text that may be absent.
    pub fn redact_in(&self, text: &mut Option<String>) {
        if let Some(text) = text
            && let Cow::Owned(redacted) = self.redact(text)
        {
            *text = redacted;
        }
    }

    /// Whether a text uses a secret.
    #[must_use]
    pub fn uses_secret(&self, text: &str) -> bool {
        self.by_name.values().any(Variable::is_secret)
            && self.used(text).iter().any(|(_, variable)| variable.is_secret())
    }

    /// Up to three declared names that may have been meant.
    #[must_use]
    pub fn close(&self, name: &str) -> Vec<&str> {
        let mut close: Vec<(usize, &str)> = self
            .by_name
            .keys()
            .map(|known| (super::format::distance(&known.to_lowercase(), &name.to_lowercase()), known.as_str()))
            .filter(|(distance, known)| *distance <= 2 && *distance < known.chars().count())
            .collect();
        close.sort_unstable();
        close.into_iter().take(3).map(|(_, known)| known).collect()
    }
}

/// Variables for tests: values that aren't secret, and secret ones.
#[cfg(test)]
pub(crate) fn variables(plain: &[(&str, &str)], secret: &[(&str, &str)]) -> Variables {
    let variable = |value: &str, origin| Variable::new(value.to_owned(), origin).expect("no NUL");
    let plain = plain.iter().map(|(name, value)| ((*name).to_owned(), variable(value, Origin::Plain)));
    let secret = secret
        .iter()
        .map(|(name, value)| ((*name).to_owned(), variable(value, Origin::Secret { version: "1".to_owned() })));
    plain.chain(secret).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_shown() {
        let variables = variables(&[("a", "plain value")], &[("b", "hunter2")]);
        let shown = format!("{variables:?} {:#?}", variables.get("b"));
        assert!(!shown.contains("hunter2") && !shown.contains("plain value"), "{shown}");
        assert_eq!(Variable::new("a\0b".to_owned(), Origin::Plain), Err(HasNul));
    }

    /// Only what a section uses counts, and of a secret nothing but which version it is.
    #[test]
    fn another_value_is_another_fingerprint_where_it_is_used() {
        let of = |variables: &Variables| variables.fingerprint("SELECT :'a', :\"b\"");
        let first = variables(&[("a", "1"), ("c", "1")], &[("b", "hunter2")]);
        assert_eq!(first.fingerprint("SELECT ':''a'''"), None);
        assert_ne!(of(&first), None);
        assert_eq!(of(&first), of(&variables(&[("a", "1"), ("c", "2")], &[("b", "hunter2")])));
        assert_ne!(of(&first), of(&variables(&[("a", "2"), ("c", "1")], &[("b", "hunter2")])));
        assert_eq!(of(&first), of(&variables(&[("a", "1")], &[("b", "hunter3")])), "nothing of a secret is hashed");
        let mut other = first.clone();
        other.by_name.insert(
            "b".to_owned(),
            Variable { value: "hunter2".to_owned(), origin: Origin::Secret { version: "2".to_owned() } },
        );
        assert_ne!(of(&first), of(&other));
    }

    #[test]
    fn names_that_may_have_been_meant_are_close() {
        let variables = variables(&[("tenant", "x"), ("Tenant2", "x"), ("region", "x"), ("a", "x")], &[]);
        assert_eq!(variables.close("tenat"), ["tenant", "Tenant2"]);
        assert_eq!(variables.close("TENANT"), ["tenant", "Tenant2"]);
        assert_eq!(variables.close("b"), [""; 0]);
    }
}
