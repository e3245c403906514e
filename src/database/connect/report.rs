//! A server's error report, as far as it is let in: fields of a bounded length, text without control characters, no
//! password.

/// The most that is kept of a field, and of all fields together.
const FIELD: usize = 16 * 1024;
const FIELDS: usize = 64 * 1024;

/// An error report as it comes: pairs of a letter and a text that ends in NUL, and a NUL at the end.
#[derive(Default)]
pub(super) struct Report {
    fields: Vec<Field>,
    kept: usize,
    open: bool,
    ended: bool,
}

struct Field {
    letter: u8,
    text: Vec<u8>,
    cut: bool,
}

impl Report {
    /// Takes the next part of its body.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.ended {
                return;
            }
            if !self.open {
                bytes = rest;
                self.ended = first == 0;
                self.open = !self.ended;
                // A field costs something, even if it is empty.
                self.kept += size_of::<Field>();
                if self.open && self.kept <= FIELDS {
                    self.fields.push(Field { letter: first, text: Vec::new(), cut: false });
                }
                continue;
            }
            let end = bytes.iter().position(|&byte| byte == 0);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.kept <= FIELDS
                && let Some(field) = self.fields.last_mut()
            {
                let fits = part.len().min(FIELD - field.text.len());
                field.text.extend_from_slice(&part[..fits]);
                field.cut |= fits < part.len();
                self.kept += fits;
            }
            self.open = end.is_none();
            bytes = &bytes[end.map_or(bytes.len(), |end| end + 1)..];
        }
    }

    /// The body of the report that is let in; None if it lacks what every report has.
    pub(super) fn written(self, secret: Option<&str>) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        let mut seen = Vec::new();
        for Field { letter, text, cut } in self.fields {
            let text = readable(&text, cut);
            let sound = match letter {
                b'C' => text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                b'P' | b'p' | b'L' => text.parse::<u32>().is_ok(),
                // What was meant by it is said in the local language, too; tokio-postgres knows these alone.
                b'V' => ["ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "DEBUG", "INFO", "LOG"].contains(&&*text),
                _ => true,
            };
            if !sound || seen.contains(&letter) {
                continue;
            }
            seen.push(letter);
            let text = match secret {
                Some(secret) if is_prose(letter) => text.replace(secret, "…"),
                _ => text,
            };
            body.push(letter);
            body.extend(text.bytes());
            body.push(0);
        }
        // tokio-postgres wants the query of an internal position.
        if seen.contains(&b'p') && !seen.contains(&b'q') {
            body.extend_from_slice(b"q\0");
        }
        body.push(0);
        let complete = [b'S', b'C', b'M'].iter().all(|letter| seen.contains(letter));
        complete.then_some(body)
    }

    /// The message that takes the place of what a server mustn't send.
    pub(super) fn of_violation(what: &str) -> Vec<u8> {
        let body = format!(
            "SFATAL\0VFATAL\0C08P01\0Mwhat answers there doesn't keep to PostgreSQL's protocol: {what}; check host and port\0\0"
        );
        let mut message = Vec::new();
        super::filter::put(b'E', body.as_bytes(), &mut message);
        message
    }
}

/// Whether a field is text for people: message, DETAIL, HINT, CONTEXT and the query inside a function.
fn is_prose(letter: u8) -> bool {
    matches!(letter, b'M' | b'D' | b'H' | b'W' | b'q')
}

/// A file may have set another encoding than UTF-8, and a stranger may send anything.
fn readable(text: &[u8], cut: bool) -> String {
    let text = String::from_utf8_lossy(text);
    let mut text: String =
        text.chars().map(|it| if it.is_control() && !matches!(it, '\n' | '\t') { ' ' } else { it }).collect();
    if cut {
        text.push('…');
    }
    text
}
