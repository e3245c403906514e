//! A page of `docs/runbooks/`, taken apart by the convention that its index states.

use std::path::PathBuf;

use crate::support::markdown::{Block, blocks, outside_of_blocks};

/// The sections of a page, in their order.
pub const SECTIONS: [&str; 6] =
    ["What you see", "What it means", "Find the cause", "Ways out", "What happens next", "Keep it from coming again"];
/// The last section of a page that is tried out.
pub const TRY_IT: &str = "Try it";

/// One page.
pub struct Page {
    pub name: String,
    pub text: String,
}

/// One of the ways out that a page offers.
pub struct Way {
    pub title: String,
    pub blocks: Vec<Block>,
}

/// Where the pages are.
pub fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "docs", "runbooks"].iter().collect()
}

impl Page {
    pub fn read(name: &str) -> Self {
        let path = folder().join(format!("{name}.md"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { name: name.to_owned(), text }
    }

    /// The titles of its sections, in order.
    pub fn sections(&self) -> Vec<&str> {
        outside_of_blocks(&self.text).filter_map(|line| line.strip_prefix("## ")).collect()
    }

    pub fn blocks(&self, section: &str) -> Vec<Block> {
        blocks(self.section(section))
    }

    /// The only block of this language and word in a section.
    pub fn block(&self, section: &str, language: &str, word: &str) -> Block {
        let mut found = self.blocks(section);
        found.retain(|block| block.language == language && block.word == word);
        assert_eq!(found.len(), 1, "{}: {section} has one block of {language} {word}", self.name);
        found.remove(0)
    }

    pub fn ways(&self) -> Vec<Way> {
        let mut parts = self.section("Ways out").split("\n### ");
        let before = blocks(parts.next().unwrap_or_default());
        assert!(before.is_empty(), "{}: every block of \"Ways out\" stands under a way: {before:?}", self.name);
        let way = |part: &str| {
            let (title, text) = part.split_once('\n').unwrap_or((part, ""));
            Way { title: title.to_owned(), blocks: blocks(text) }
        };
        parts.map(way).collect()
    }

    pub fn section(&self, title: &str) -> &str {
        let (_, rest) = self
            .text
            .split_once(&format!("\n## {title}\n"))
            .unwrap_or_else(|| panic!("{} has no section {title:?}", self.name));
        rest.split_once("\n## ").map_or(rest, |(section, _)| section)
    }
}

/// Whether a text is what a page shows: `…` stands for anything, and it doesn't matter where lines are broken.
pub fn is_as_shown(shown: &str, real: &str) -> bool {
    let [shown, real] = [shown, real].map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut parts = shown.split('…').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = real.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[test]
fn three_dots_stand_for_anything_and_nothing_else_does() {
    for (shown, real, expected) in [
        ("applied", "applied", true),
        ("applied", "applied 3", false),
        ("applied …", "applied 3", true),
        ("… applied", "3 applied", true),
        ("a … b … c", "a 1 b 2 c", true),
        ("a … b … c", "a 1 c 2 b", false),
        ("a … a", "a", false),
        ("one\ntwo", "one   two\n", true),
        ("one", "two", false),
    ] {
        assert_eq!(is_as_shown(shown, real), expected, "{shown:?} {real:?}");
    }
}
