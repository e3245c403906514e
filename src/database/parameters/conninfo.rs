//! The two forms of a connection string, as libpq reads them (PostgreSQL 18 manual, 32.1.1; `fe-connect.c`,
//! `conninfo_uri_parse_options` and `conninfo_parse`). Only the grammar: what the names mean is the table's affair.

use super::{error::Problem, table::Given};

/// Reads a URL or a string of keywords and values.
pub(super) fn parse(text: &str) -> Result<Given, Problem> {
    if text.is_empty() {
        return Err(Problem::Form("is empty; write postgresql://user:password@host:5432/database"));
    }
    if text.len() > 16 * 1024 {
        return Err(Problem::Form("is longer than 16 KiB"));
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("postgres" | "postgresql") => uri(text.split_once("://").map(|(_, rest)| rest).unwrap_or_default()),
        Some(scheme) if scheme.starts_with("jdbc:") => {
            Err(Problem::Form("is a JDBC URL; a postgres:// URL is needed, with user and password in it"))
        }
        Some(scheme) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
            Err(Problem::Form("has a scheme other than postgres:// or postgresql://"))
        }
        _ if text.contains('=') => keywords(text),
        _ => Err(Problem::Form(
            "is neither a URL (postgres://user:password@host/dbname) nor keywords and values (host=… dbname=…)",
        )),
    }
}

/// What stands behind `postgres://`.
fn uri(mut rest: &str) -> Result<Given, Problem> {
    let mut given = Given::default();
    // libpq looks for `@` up to the first slash: a password may hold a raw `?` or `:`, never a raw `/` or `@`.
    let stop = rest.find(['@', '/']).unwrap_or(rest.len());
    if rest[stop..].starts_with('@') {
        let (login, behind) = (&rest[..stop], &rest[stop + 1..]);
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        if !user.is_empty() {
            given.set("user", decode(user, "user")?)?;
        }
        if let Some(password) = password.filter(|it| !it.is_empty()) {
            given.set("password", decode(password, "password")?)?;
        }
        rest = behind;
    }
    if rest.split('?').next().is_some_and(|it| it.contains('@')) {
        // libpq would look half a password up as a host, and a status would show it.
        return Err(Problem::Form(
            "has an @ too many; in user and password, write / : @ ? # % as %2F %3A %40 %3F %23 %25",
        ));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    // An address in brackets holds neither; a slash inside is found as a missing bracket.
    authority(&rest[..end], &mut given)?;
    rest = &rest[end..];
    if let Some(path) = rest.strip_prefix('/') {
        let end = path.find('?').unwrap_or(path.len());
        if end > 0 {
            given.set("dbname", decode(&path[..end], "dbname")?)?;
        }
        rest = &path[end..];
    }
    if let Some(query) = rest.strip_prefix('?') {
        parameters(query, &mut given)?;
    }
    Ok(given)
}

/// `host:port,host:port`, an IPv6 address in brackets.
fn authority(text: &str, given: &mut Given) -> Result<(), Problem> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    let mut rest = text;
    loop {
        let host;
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = inner.find(']') else {
                return Err(Problem::parameter("host", "an IPv6 address lacks its closing bracket"));
            };
            host = &inner[..end];
            if host.is_empty() {
                return Err(Problem::parameter("host", "the brackets hold no IPv6 address"));
            }
            rest = &inner[end + 1..];
            if !(rest.is_empty() || rest.starts_with([':', ','])) {
                return Err(Problem::parameter("host", "something other than a port follows an IPv6 address"));
            }
        } else {
            let end = rest.find([':', ',']).unwrap_or(rest.len());
            host = &rest[..end];
            rest = &rest[end..];
        }
        hosts.push(host);
        let mut port = "";
        if let Some(behind) = rest.strip_prefix(':') {
            let end = behind.find(',').unwrap_or(behind.len());
            port = &behind[..end];
            rest = &behind[end..];
        }
        ports.push(port);
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    if hosts.iter().any(|it| !it.is_empty()) || hosts.len() > 1 {
        given.set("host", decode(&hosts.join(","), "host")?)?;
    }
    if ports.iter().any(|it| !it.is_empty()) {
        given.set("port", decode(&ports.join(","), "port")?)?;
    }
    Ok(())
}

/// `name=value&name=value`. A parameter overrides what stands before the question mark, as in libpq; given twice here,
/// it is refused, so that nobody has to know which of two `sslmode`s counts.
fn parameters(query: &str, given: &mut Given) -> Result<(), Problem> {
    let mut seen = Vec::new();
    for pair in query.split('&').filter(|it| !it.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Problem::Form(
                "has a parameter behind the question mark without an equals sign; a ? of user or password is written %3F",
            ));
        };
        let name = String::from_utf8(decode(name, "name")?)
            .map_err(|_| Problem::Form("has a parameter whose name isn't UTF-8"))?;
        let value = decode(value, "value")?;
        // JDBC's spelling, which libpq reads in URLs too.
        let (name, value) =
            if name == "ssl" && value == b"true" { ("sslmode".to_owned(), b"require".to_vec()) } else { (name, value) };
        if seen.contains(&name) {
            return Err(Problem::Twice(super::table::shorten(&name)));
        }
        given.set(&name, value)?;
        seen.push(name);
    }
    Ok(())
}

/// Percent-decoding; a plus sign is a plus sign.
fn decode(text: &str, part: &'static str) -> Result<Vec<u8>, Problem> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|it| char::from(it).to_digit(16));
        let code = digit().and_then(|high| digit().map(|low| high * 16 + low));
        match code.and_then(|it| u8::try_from(it).ok()) {
            Some(0) => return Err(Problem::parameter(part, "%00 is not allowed")),
            Some(code) => decoded.push(code),
            None => {
                return Err(Problem::parameter(
                    part,
                    "a % is not followed by two hexadecimal digits; a % of its own is written %25",
                ));
            }
        }
    }
    Ok(decoded)
}

/// `name = value name='quoted value'`, backslash escaping the next character.
fn keywords(text: &str) -> Result<Given, Problem> {
    let mut given = Given::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|it: char| it == '=' || it.is_ascii_whitespace()).unwrap_or(rest.len());
        let name = &rest[..end];
        let Some(behind) = rest[end..].trim_start().strip_prefix('=') else {
            return Err(Problem::Form("has a keyword without an equals sign behind it"));
        };
        let (value, behind) = keyword_value(behind.trim_start())?;
        given.set(name, value.into_bytes())?;
        rest = behind.trim_start();
    }
    Ok(given)
}

fn keyword_value(text: &str) -> Result<(String, &str), Problem> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, it)| it)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            it if !quoted && it.is_ascii_whitespace() => return Ok((value, &text[at..])),
            it => value.push(it),
        }
    }
    if quoted {
        return Err(Problem::Form("has a quoted value without its closing quote"));
    }
    Ok((value, ""))
}
