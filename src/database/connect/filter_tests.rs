//! What is let in, however the bytes are cut.

use proptest::prelude::*;

use super::*;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(tag, body, &mut out);
    out
}

fn scram() -> Vec<u8> {
    message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")
}

fn only(list: &str) -> Filter {
    Filter::new(Methods::parse(list).unwrap(), None)
}

/// A filter behind `ReadyForQuery`.
fn open() -> Filter {
    let mut filter = Filter::new(Methods::ANY, Some("swordfish".to_owned()));
    filter.feed(&message(b'Z', b"I"), &mut Vec::new()).unwrap();
    filter
}

fn feed(filter: &mut Filter, bytes: &[u8]) -> Result<Vec<u8>, Closed> {
    let mut out = Vec::new();
    filter.feed(bytes, &mut out).map(|_| out)
}

fn error(fields: &[&str]) -> Vec<u8> {
    let body = fields.iter().fold(String::new(), |body, field| body + field + "\0");
    message(b'E', (body + "\0").as_bytes())
}

#[test]
fn a_session_is_open_at_ready_for_query_however_the_bytes_are_cut() {
    let login = [scram(), message(b'R', b"\0\0\0\x0br=1,s=2,i=4096"), message(b'R', b"\0\0\0\x0cv=3")].concat();
    let ready = [message(b'R', &[0; 4]), message(b'K', &[1; 8]), message(b'Z', b"I")].concat();
    let all = [&login[..], &message(b'S', b"TimeZone\0UTC\0"), &ready].concat();
    let (before, end) = all.split_at(all.len() - message(b'Z', b"I").len());
    for size in 1..all.len() {
        let mut filter = only("scram-sha-256");
        let mut out = Vec::new();
        for part in before.chunks(size) {
            filter.feed(part, &mut out).unwrap();
        }
        assert!(!filter.is_open(), "{size}");
        for part in end.chunks(size) {
            filter.feed(part, &mut out).unwrap();
        }
        assert!(filter.is_open(), "{size}");
        assert_eq!(out, [&login[..], &ready].concat(), "{size}");
    }
}

#[test]
fn an_excluded_method_closes_the_gate() {
    let clear = message(b'R', &[0, 0, 0, 3]);
    assert_eq!(feed(&mut only("scram-sha-256"), &clear), Err(Closed::Method(Method::Password)));
    assert_eq!(feed(&mut only("!password"), &clear), Err(Closed::Method(Method::Password)));
    assert_eq!(feed(&mut only("scram-sha-256"), &message(b'R', &[0; 4])), Err(Closed::Method(Method::None)));
    assert_eq!(feed(&mut only("none"), &scram()), Err(Closed::Method(Method::ScramSha256)));
    // A second request, behind one that is allowed.
    let both = [scram(), clear].concat();
    assert_eq!(feed(&mut only("scram-sha-256"), &both), Err(Closed::Method(Method::Password)));
}

#[test]
fn endless_talk_closes_the_gate() {
    assert_eq!(feed(&mut only("none"), &[b'N', 0x7f, 0, 0, 0]), Err(Closed::TooMuch));
    let notice = message(b'N', &[0; 1000]);
    let mut filter = Filter::new(Methods::ANY, None);
    assert!((0..1000).any(|_| feed(&mut filter, &notice).is_err()));
}

#[test]
fn what_nobody_reads_is_dropped_whatever_its_length() {
    let mut filter = open();
    for tag in *b"NASdcH" {
        let talk = [message(tag, &vec![7; 100_000]), message(b'C', b"SELECT 1\0")].concat();
        assert_eq!(feed(&mut filter, &talk).unwrap(), message(b'C', b"SELECT 1\0"), "{}", char::from(tag));
        let endless = feed(&mut filter, &[tag, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]);
        assert_eq!(endless, Ok(Vec::new()), "{}", char::from(tag));
        filter = open();
    }
}

#[test]
fn a_row_that_is_too_large_gives_way_to_one_that_says_so() {
    let body = [&[0, 2][..], &vec![7; ROW]].concat();
    let row = message(b'D', &body);
    for size in [1, 3, 4_096, row.len()] {
        let mut filter = open();
        let mut out = Vec::new();
        // One byte at a time is for where it matters.
        let (first, rest) = row.split_at(100);
        for part in first.chunks(size).chain(rest.chunks(4_096)) {
            filter.feed(part, &mut out).unwrap();
        }
        let length = u32::try_from(TOO_LARGE.len()).unwrap().to_be_bytes();
        let expected = [&[0, 2][..], &length, TOO_LARGE.as_bytes(), &[0xff; 4]].concat();
        assert_eq!(out, message(b'D', &expected), "{size}");
        assert_eq!(feed(&mut filter, &message(b'Z', b"T")).unwrap(), message(b'Z', b"T"));
    }
    let row = message(b'D', &body[..ROW]);
    assert_eq!(feed(&mut open(), &row).unwrap(), row);
}

#[test]
fn what_is_too_large_or_unknown_ends_the_session_with_an_error_of_class_08() {
    for (tag, length) in [(b'T', 1_u32 << 20), (b'C', 4096), (b'Z', 4096), (b'T', 0x7fff_ffff), (b'?', 5), (b'D', 3)] {
        let mut out = Vec::new();
        let head = [&[tag][..], &length.to_be_bytes()].concat();
        let result = open().feed(&head, &mut out);
        assert!(matches!(result, Err(Closed::Nonsense(_))), "{}: {result:?}", char::from(tag));
        assert!(out.starts_with(b"E") && out.windows(6).any(|part| part == b"C08P01"), "{}", char::from(tag));
    }
}

#[test]
fn an_error_is_shortened_and_keeps_its_code_and_position() {
    let long = format!("M{}é", "é swordfish ".repeat(1 << 16));
    let fields = ["SERROR", "VERROR", "C42601", &long, "P12", "Fscan.l", "L1", "Rbase_yyerror"];
    let out = feed(&mut open(), &error(&fields)).unwrap();
    assert!(out.len() < 40_000, "{}", out.len());
    let text = String::from_utf8(out[5..].to_vec()).expect("it is UTF-8");
    assert!(text.starts_with("SERROR\0VERROR\0C42601\0Mé … é … "), "{}", &text[..60]);
    assert!(text.ends_with("…\0P12\0Fscan.l\0L1\0Rbase_yyerror\0\0"));
    let many = vec!["Dx"; 100_000].join("\0");
    let out = feed(&mut open(), &error(&["SERROR", "C42601", "Ma", &many])).unwrap();
    assert_eq!(out, error(&["SERROR", "C42601", "Ma", "Dx"]));
}

#[test]
fn an_error_is_text_whatever_encoding_it_came_in() {
    let body = b"SERROR\0C22P02\0Mgr\xf6\xdfer \x1b[31m\nred\0P\xe9\0Vlaut\0p3\0\0";
    let out = feed(&mut open(), &message(b'E', body)).unwrap();
    let expected = "SERROR\0C22P02\0Mgr\u{fffd}\u{fffd}er  [31m\nred\0p3\0q\0\0";
    assert_eq!(out, message(b'E', expected.as_bytes()));
    for lacking in [&["SERROR", "Mx"][..], &["SERROR", "C4260", "Mx"], &["SERROR", "C42601"], &[]] {
        assert!(feed(&mut open(), &error(lacking)).is_err(), "{lacking:?}");
    }
}

#[test]
fn what_stands_for_a_large_row_is_let_in_at_its_end() {
    let mut filter = open();
    let beginning = [b'D', 0, 0x20, 0, 5, 0xff, 0xff];
    assert!(feed(&mut filter, &beginning).unwrap().is_empty());
    assert!(feed(&mut filter, &vec![0; 0x20_0000 - 2]).unwrap().is_empty());
    assert!(!feed(&mut filter, &[0]).unwrap().is_empty());
}

#[test]
fn the_names_of_columns_are_text() {
    let describe = |name: &[u8]| message(b'T', &[&[0, 1][..], name, &[0], &[5; 18]].concat());
    assert_eq!(feed(&mut open(), &describe(b"gr\xf6\xdfe")).unwrap(), describe(b"gr??e"));
    assert_eq!(feed(&mut open(), &describe("größe".as_bytes())).unwrap(), describe("größe".as_bytes()));
    for nonsense in [&[0, 2, b'a', 0][..], &[0], &[0, 1, b'a'], &[0, 0, 1]] {
        assert!(feed(&mut open(), &message(b'T', nonsense)).is_err(), "{nonsense:?}");
    }
}

proptest! {
    /// What is let in doesn't depend on how the bytes are cut, and never is more than came but for a short report.
    #[test]
    fn any_bytes_are_let_in_or_not_however_they_are_cut(
        parts in prop::collection::vec(
            prop_oneof![
                3 => (prop::sample::select(b"CIZDTNASEdcHtGK12".to_vec()), prop::collection::vec(any::<u8>(), 0..40))
                    .prop_map(|(tag, body)| message(tag, &body)),
                1 => prop::collection::vec(any::<u8>(), 0..12),
                2 => Just(error(&["SERROR", "C42601", "Mno", "P3"])),
            ],
            0..12,
        ),
        size in 1_usize..64,
        opened in any::<bool>(),
    ) {
        let bytes = parts.concat();
        let filter = || if opened { open() } else { Filter::new(Methods::ANY, None) };
        let mut whole = Vec::new();
        let at_once = filter().feed(&bytes, &mut whole).err();
        let mut cut = Vec::new();
        let mut one = filter();
        let in_parts = bytes.chunks(size).find_map(|part| one.feed(part, &mut cut).err());
        prop_assert_eq!(at_once, in_parts);
        prop_assert_eq!(&whole, &cut);
        prop_assert!(whole.len() <= 3 * bytes.len() + 200);
    }
}
