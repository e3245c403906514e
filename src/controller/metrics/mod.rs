//! What `/metrics` says: names that dashboards of other controllers know, and our own.
//!
//! Of a MigrationSet everything comes from the status that a look ends with. Labels are bounded: names, reasons, classes of
//! SQLSTATE; never SQL, a host, a user or the text of an error. What is of a set goes with it.

mod families;
mod process;
mod queue;
mod requests;
mod sets;
mod text;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use hyper::StatusCode;

pub(super) use queue::Result;
pub(super) use requests::Counting;
pub(super) use sets::{Done, Looked};

use super::lease::{Leadership, Standing};
use crate::{COMMIT, core::desired::Owner, database::history::layout::LAYOUT, serve};
use text::Page;

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queue: queue::Queue,
    requests: requests::Requests,
    sets: sets::Sets,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves a number too few at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A set is asked for.
    pub fn asked(&self, name: &Owner) {
        self.lock().queue.asked(name, Instant::now());
    }

    /// A set that was asked for is left alone.
    pub fn dropped(&self, name: &Owner) {
        self.lock().queue.dropped(name);
    }

    /// A reconcile of a set begins.
    pub fn begins(&self, name: &Owner) -> UnderWay<'_> {
        let number = self.lock().queue.begins(name, Instant::now());
        UnderWay { metrics: self, number, result: None }
    }

    /// A look has come to its end, and its status is written.
    pub fn looked(&self, name: &Owner, looked: &Looked<'_>) {
        self.lock().sets.looked(name, looked);
    }

    /// A set is there no more.
    pub fn forget(&self, name: &Owner) {
        let mut inner = self.lock();
        inner.queue.dropped(name);
        inner.sets.forget(name);
    }

    /// The page.
    pub fn page(&self, leadership: &Leadership) -> serve::Page {
        serve::Page { status: StatusCode::OK, content_type: text::CONTENT_TYPE, text: self.text(leadership) }
    }

    fn text(&self, leadership: &Leadership) -> String {
        let mut page = Page::default();
        {
            let inner = self.lock();
            inner.sets.write(&mut page);
            inner.queue.write(&mut page, Instant::now());
            inner.requests.write(&mut page);
        }
        page.family(&families::LEADER, |samples| {
            if let Some(standing) = leadership.standing() {
                let leads = matches!(standing, Standing::Leading { .. });
                samples.add(&[leadership.lease_name()], if leads { 1.0 } else { 0.0 });
            }
        });
        page.family(&families::BUILD_INFO, |samples| {
            samples.add(&[env!("CARGO_PKG_VERSION"), COMMIT, &LAYOUT.to_string()], 1.0);
        });
        process::write(&mut page);
        page.text()
    }
}

/// A reconcile under way. One that is given up ends without a result.
#[derive(Debug)]
pub(super) struct UnderWay<'m> {
    metrics: &'m Metrics,
    number: u64,
    result: Option<Result>,
}

impl UnderWay<'_> {
    /// It has come to its end.
    pub fn ends(mut self, result: Result) {
        self.result = Some(result);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.metrics.lock().queue.ends(self.number, self.result, Instant::now());
    }
}
