//! Files that are made to be hard to read: whatever they hold, they are understood or refused, in time that grows with
//! their length and no faster.

use std::time::{Duration, Instant};

use dunlin::core::{
    bundle::{Bundle, BundleFile},
    format::{self, Format},
};

const MEGABYTE: usize = 1 << 20;

/// Pieces that open, nest, or nearly close something, each for a whole file.
const PIECES: &[&str] = &[
    "(",
    "((a)",
    "/*",
    "/* */ ",
    "/*/",
    "'",
    "''",
    "'a'\n",
    "E'\\'",
    "\"",
    "$",
    "$$",
    "$a$ $b$ ",
    "$a",
    "--",
    "-- migrate: x\n",
    "-- depends: 1\n",
    "-- x: y\n",
    "BEGIN ATOMIC ",
    "CREATE FUNCTION f() BEGIN ATOMIC ",
    "case ",
    "SELECT 1;",
    ";",
    "\\x ",
    "\\restrict\n",
    "COPY t FROM stdin;\n",
    "x.",
    "a+",
    "\u{1F986}",
    "\r",
    "SET standard_conforming_strings = off;",
    "BEGIN;COMMIT;",
];

fn read(heading: &str, piece: &str, length: usize) -> Duration {
    let text = format!("{heading}{}", piece.repeat(length / piece.len()));
    let file = BundleFile { name: "001_a.sql".to_owned(), bytes: text.into_bytes(), origin: "the test".to_owned() };
    let bundle = Bundle::new(vec![file]).expect("names are unique");
    let begun = Instant::now();
    if let Err(error) = format::read(&bundle, Format::Auto) {
        assert!(error.message.contains("001_a.sql"), "{piece:?}: no place in: {error}");
        assert!(error.message.len() < 100_000, "{piece:?}: {} bytes of message", error.message.len());
    }
    begun.elapsed()
}

/// Others are at work on this machine; what grows with the square of the length takes sixteen times as long.
fn is_in_proportion(short: Duration, four_times: Duration) -> bool {
    four_times <= 10 * short + Duration::from_secs(2)
}

#[test]
fn a_file_takes_time_in_proportion_to_its_length_whatever_it_repeats() {
    let mut wrong = Vec::new();
    for heading in ["", "-- migrate: no-transaction\n"] {
        for piece in PIECES {
            let (one, four) = (read(heading, piece, MEGABYTE / 8), read(heading, piece, MEGABYTE / 2));
            if !is_in_proportion(one, four) {
                wrong.push(format!("{heading:?}, {piece:?}: {one:?}, and four times as much: {four:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_file_of_four_megabytes_takes_some_four_times_as_long_as_one_of_one() {
    for piece in ["(", "/* ", "'a'\n", "$a", "-- x: y\n"] {
        let (one, four) = (read("", piece, MEGABYTE), read("", piece, 4 * MEGABYTE));
        assert!(is_in_proportion(one, four), "{piece:?}: {one:?}, and four times as much: {four:?}");
    }
}
