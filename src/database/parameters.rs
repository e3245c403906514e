//! Connection parameters: from a Secret's keys or a URL to hosts, login and TLS, by an allow-list.

/// How to reach a database. `Debug` and `Display` print `…` for every value.
#[derive(Clone)]
 
pub struct Parameters {}
