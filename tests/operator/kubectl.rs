//! `kubectl dunlin` against a real API server and a real operator: what each verb prints and changes, how it refuses, and
//! its exit code.

mod completion;
mod decide;
mod kubelet;
mod logs;
mod plugin;
mod read;
mod rights;
mod waits;
