//! Texts into tokens, and strings into what they hold.

use proptest::prelude::*;

use super::{
    lexer::{TokenKind, tokens},
    literal::Literal,
};

/// The tokens of a text, blocks in angle brackets.
fn shown(text: &str) -> String {
    let shown = tokens(text).unwrap_or_else(|trouble| panic!("{text:?}: {trouble:?}")).into_iter().map(|token| {
        match token.kind {
            TokenKind::NewLine => "¶".to_owned(),
            TokenKind::Indent => "<".to_owned(),
            TokenKind::Dedent => ">".to_owned(),
            TokenKind::Word | TokenKind::Number | TokenKind::String | TokenKind::Symbol => {
                text[token.start..token.end].to_owned()
            }
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_text_is_read_as_python_reads_it() {
    for (text, expected) in [
        ("", ""),
        ("\n\n  # nothing\n", ""),
        ("a", "a ¶"),
        ("a\n", "a ¶"),
        ("a # why\nb", "a ¶ b ¶"),
        ("a\r\nb\rc", "a ¶ b ¶ c ¶"),
        ("if a:\n  b\n\n # out of line\n  c\nd", "if a : ¶ < b ¶ c ¶ > d ¶"),
        ("if a:\n\tb\n        c\n", "if a : ¶ < b ¶ c ¶ >"),
        ("if a:\n  if b:\n    c\n", "if a : ¶ < if b : ¶ < c ¶ > >"),
        ("if a:\n  b  # the end", "if a : ¶ < b ¶ >"),
        ("f(a,\n    # why\nb)\n", "f ( a , b ) ¶"),
        ("a = [1,\n2]\n  \nb", "a = [ 1 , 2 ] ¶ b ¶"),
        ("a = \\\n  b\n", "a = b ¶"),
        ("a->b:=c==d**=e...", "a -> b := c == d **= e ... ¶"),
        ("größe = 0x1F_ff", "größe = 0x1F_ff ¶"),
        (r#"f"a" "b" 'c"' "#, r#"f"a" "b" 'c"' ¶"#),
        (r#""a\"b" '\'' "\\""#, r#""a\"b" '\'' "\\" ¶"#),
        (r#"r"\" a" r'\\'"#, r#"r"\" a" r'\\' ¶"#),
        ("\"\"\"a\n'b\" \"\"c\"\"\"d", "\"\"\"a\n'b\" \"\"c\"\"\" d ¶"),
        ("'''a''' ''", "'''a''' '' ¶"),
        ("'a\\\nb' c", "'a\\\nb' c ¶"),
        // PEP 701: the quotes of the string itself, in a placeholder.
        ("f'{a['b']}' f\"{{}\" c", "f'{a['b']}' f\"{{}\" c ¶"),
        ("f'''{a:{b}}''' f\"{'}'}\"", "f'''{a:{b}}''' f\"{'}'}\" ¶"),
        ("bar'x' Rb'x' xr'y'", "bar 'x' Rb'x' xr 'y' ¶"),
    ] {
        assert_eq!(shown(text), expected, "{text:?}");
    }
}

#[test]
fn what_no_text_of_python_has_is_named_with_its_place() {
    for (text, at, says) in [
        ("a = 'b\nc", 4, "isn't closed"),
        ("a = \"\"\"b\n\"\"", 4, "isn't closed"),
        ("a = r'\\'", 4, "isn't closed"),
        ("f'{a'", 2, "isn't closed"),
        ("f(a", 1, "bracket isn't closed"),
        ("f(a]", 3, "closes none"),
        ("a)", 1, "closes none"),
        ("a \\ b", 2, "continues no line"),
        ("a $ b", 2, "nothing in Python"),
        ("if a:\n    b\n  c\n", 14, "indented as no line"),
    ] {
        let trouble = tokens(text).expect_err(text);
        assert_eq!(trouble.at, at, "{text:?}: {trouble:?}");
        assert!(trouble.message.contains(says), "{text:?}: {trouble:?}");
    }
}

fn value(source: &str) -> Result<Literal, super::Trouble> {
    let mut literal = Literal::default();
    literal.append(source, 0).map(|()| literal)
}

#[test]
fn a_string_holds_what_python_makes_of_it() {
    for (source, expected) in [
        (r#""""#, ""),
        (r"'a'", "a"),
        (r#""it's""#, "it's"),
        (r#""a\nb\t\\ \' \" \a\b\f\v\r""#, "a\nb\t\\ ' \" \x07\x08\x0c\x0b\r"),
        (r#""\x41\u00e9\U0001F600""#, "Aé😀"),
        (r#""\101\0\18""#, "A\0\x018"),
        (r#""a\d\.b""#, r"a\d\.b"),
        ("\"a\\\nb\"", "ab"),
        ("\"a\\\r\nb\"", "ab"),
        ("'''a\r\nb\rc\nd'''", "a\nb\nc\nd"),
        (r"r'a\n\'b'", r"a\n\'b"),
        (r"R'\x4'", r"\x4"),
        ("u'a'", "a"),
        ("f'{{a}} b'", "{a} b"),
        (r"rf'\d{{2}}'", r"\d{2}"),
        ("\"\"\"\n  SELECT 1\n\"\"\"", "\n  SELECT 1\n"),
        ("'größe'", "größe"),
    ] {
        assert_eq!(value(source).expect(source).text, expected, "{source:?}");
    }
}

#[test]
fn a_string_that_is_not_known_or_is_no_text_is_refused() {
    for (source, at, says) in [
        ("b'a'", 0, "bytes"),
        ("Rb'a'", 0, "bytes"),
        ("t'a'", 0, "template"),
        ("f'a {b} c'", 4, "`{b}` gets its value when it runs"),
        ("f'a {{{b!r}'", 6, "`{b!r}`"),
        ("f'}'", 2, "`}`"),
        (r"'a \N{DASH}'", 3, "write the character itself"),
        (r"'\x4'", 1, "lacks digits"),
        (r"'\u12'", 1, "lacks digits"),
        (r"'\ud800'", 1, "no character"),
    ] {
        let trouble = value(source).expect_err(source);
        assert_eq!(trouble.at, at, "{source:?}: {trouble:?}");
        assert!(trouble.message.contains(says), "{source:?}: {trouble:?}");
    }
}

#[test]
fn every_byte_of_a_string_has_its_place_in_the_file() {
    let mut literal = Literal::default();
    literal.append(r"'a\tb'", 100).expect("a string");
    literal.append("'''ü\r\nc'''", 200).expect("a string");
    assert_eq!(literal.text, "a\tbü\nc");
    let places: Vec<usize> = literal.text.char_indices().map(|(at, _)| literal.place(at)).collect();
    assert_eq!(places, [101, 102, 104, 203, 205, 207]);
}

/// `SQLAlchemy` reads colons in `text()`: sqlalchemy/sql/compiler.py.
#[test]
fn text_takes_an_escaped_colon_for_a_colon() {
    for (source, expected) in [
        ("'a::text, b[1:2], \\'12:30\\', x:=1'", "a::text, b[1:2], '12:30', x:=1"),
        (r"'a \\:b, \\: c'", "a :b, : c"),
        (r"'\\:\\:b \\::b'", r"::b \::b"),
        ("':a: b'", ":a: b"),
    ] {
        let literal = value(source).expect(source).without_escaped_colons();
        assert_eq!(literal.expect(source).text, expected, "{source:?}");
    }
    for (source, at) in [("'a = :b'", 5), ("' \\' :b\\''", 5), ("'$:b'", 2), ("':1'", 1)] {
        let trouble = value(source).expect(source).without_escaped_colons().expect_err(source);
        assert_eq!(trouble.at, at, "{source:?}: {trouble:?}");
        assert!(trouble.message.contains("parameter to text()"), "{trouble:?}");
    }
}

/// Texts that matter to a lexer of Python, in any order.
pub(super) fn python_like() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "'",
        "\"",
        "'''",
        "\"\"\"",
        "r'",
        "f\"",
        "b'",
        "{",
        "}",
        "{{",
        "(",
        ")",
        "[",
        "]",
        "\\",
        "\\\n",
        "\n",
        "\r\n",
        "\r",
        " ",
        "    ",
        "\t",
        "#",
        ":",
        ";",
        ",",
        ".",
        "=",
        "+",
        "%",
        "def up(self, engine):\n    ",
        "def down(a): ",
        "class A(B):\n",
        "engine",
        ".execute_sql(",
        "text(",
        "pass",
        "return",
        "if ",
        "SELECT 1",
        "version",
        "é",
        "\\N",
        "\\x4",
        "@",
        "await ",
        "async ",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever a text holds, it is read or refused at a place of it; tokens stand in order and on characters.
    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![python_like(), "(?s).{0,60}"]) {
        match tokens(&text) {
            Ok(tokens) => {
                prop_assert!(tokens.windows(2).all(|pair| pair[0].end <= pair[1].start));
                prop_assert!(tokens.iter().all(|token| text.get(token.start..token.end).is_some()));
                let count = |kind| tokens.iter().filter(|token| token.kind == kind).count();
                prop_assert_eq!(count(TokenKind::Indent), count(TokenKind::Dedent));
            }
            Err(trouble) => prop_assert!(text.is_char_boundary(trouble.at)),
        }
    }
}
