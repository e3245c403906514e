//! Placeholder.
/// One.
#[derive(Debug)]
pub struct Destructive {
    /// l
    pub line: u32,
    /// w
    pub what: String,
}
/// All.
pub fn destructive(_text: &str, _script: &super::Script) -> Vec<Destructive> {
    Vec::new()
}
