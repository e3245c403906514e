//! Opening a session: hosts in turn, TLS, authentication, `target_session_attrs`, a deadline on everything.
