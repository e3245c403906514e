//! libpq's TLS modes on rustls.
