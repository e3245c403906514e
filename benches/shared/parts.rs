//! Which parts of a bench run, and on what.

/// Runs a bench; it asks for each of its parts, by name, whether that is wanted.
pub fn run(parts: impl AsyncFnOnce(&dyn Fn(&str) -> bool)) {
    // `cargo bench` passes its own flags; what isn't a flag picks the parts that run.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|want| name.contains(want.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(parts(&runs));
}
