//! The queue of reconciles: who waits, who is worked on, and how long that takes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    families,
    text::{Histogram, Page, SHORT, exact},
};
use crate::{controller::looks::MOST, core::desired::Owner};

/// The name of the controller and of its queue, in labels.
const CONTROLLER: &str = "migrationset";

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::controller) enum Result {
    /// Nothing is due until something happens.
    Success,
    /// It is looked at again after a while.
    RequeueAfter,
    /// Its status couldn't be written.
    Error,
}

impl Result {
    /// All of them, and what controller-runtime also has.
    const NAMES: [&str; 4] = ["success", "requeue_after", "error", "requeue"];
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: HashMap<Owner, Instant>,
    working: HashMap<u64, Instant>,
    begun: u64,
    adds: u64,
    retries: u64,
    results: [u64; Result::NAMES.len()],
    waited: Histogram,
    worked: Histogram,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            working: HashMap::new(),
            begun: 0,
            adds: 0,
            retries: 0,
            results: Default::default(),
            waited: Histogram::new(SHORT),
            worked: Histogram::new(SHORT),
        }
    }
}

impl Queue {
    /// A set is asked for; one that waits already does so only once.
    pub fn asked(&mut self, name: &Owner, now: Instant) {
        if !self.waiting.contains_key(name) {
            self.waiting.insert(name.clone(), now);
            self.adds += 1;
        }
    }

    /// A set is there no more, or is left alone.
    pub fn dropped(&mut self, name: &Owner) {
        self.waiting.remove(name);
    }

    /// A reconcile begins: of a set that was asked for, or whose time has come. Answers with its number.
    pub fn begins(&mut self, name: &Owner, now: Instant) -> u64 {
        let asked = self.waiting.remove(name).unwrap_or_else(|| {
            self.adds += 1;
            now
        });
        self.waited.observe(now.saturating_duration_since(asked).as_secs_f64());
        self.begun += 1;
        self.working.insert(self.begun, now);
        self.begun
    }

    /// It ends, with a result unless it was given up.
    pub fn ends(&mut self, number: u64, result: Option<Result>, now: Instant) {
        let Some(since) = self.working.remove(&number) else { return };
        self.worked.observe(now.saturating_duration_since(since).as_secs_f64());
        if let Some(result) = result {
            self.results[result as usize] += 1;
            self.retries += u64::from(result == Result::Error);
        }
    }

    pub fn write(&self, page: &mut Page, now: Instant) {
        page.family(&families::RECONCILES, |samples| {
            for (name, count) in Result::NAMES.iter().zip(self.results) {
                samples.add(&[CONTROLLER, name], exact(count));
            }
        });
        let under_way = self.working.values().map(|since| now.saturating_duration_since(*since));
        let longest = under_way.clone().max().unwrap_or_default();
        for (family, value) in [
            (&families::RECONCILE_ERRORS, exact(self.results[Result::Error as usize])),
            (&families::ACTIVE_WORKERS, exact(self.working.len() as u64)),
            (&families::MAX_CONCURRENT, exact(MOST as u64)),
            (&families::QUEUE_DEPTH, exact(self.waiting.len() as u64)),
            (&families::QUEUE_ADDS, exact(self.adds)),
            (&families::QUEUE_RETRIES, exact(self.retries)),
            (&families::UNFINISHED_WORK, under_way.sum::<Duration>().as_secs_f64()),
            (&families::LONGEST_RUNNING, longest.as_secs_f64()),
        ] {
            page.family(family, |samples| samples.add(&[CONTROLLER], value));
        }
        for (family, histogram) in [
            (&families::RECONCILE_TIME, &self.worked),
            (&families::QUEUE_DURATION, &self.waited),
            (&families::WORK_DURATION, &self.worked),
        ] {
            page.family(family, |samples| samples.histogram(&[CONTROLLER], histogram));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "counts, and seconds that are whole, are exact")]

    use super::*;

    fn name(name: &str) -> Owner {
        Owner { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn value(queue: &Queue, now: Instant, family: &str) -> f64 {
        let mut page = Page::default();
        queue.write(&mut page, now);
        let text = page.text();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{family}{{")) || line.starts_with(&format!("{family} ")));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).expect("it is there")
    }

    #[test]
    fn whoever_waits_is_counted_once_until_it_is_worked_on() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for set in ["a", "a", "b", "c"] {
            queue.asked(&name(set), now);
        }
        assert_eq!((value(&queue, now, "workqueue_depth"), value(&queue, now, "workqueue_adds_total")), (3.0, 3.0));
        queue.dropped(&name("c"));
        let later = now + Duration::from_secs(2);
        let a = queue.begins(&name("a"), later);
        assert_eq!(value(&queue, later, "workqueue_depth"), 1.0);
        assert_eq!(value(&queue, later, "workqueue_queue_duration_seconds_sum"), 2.0);
        assert_eq!(value(&queue, later, "controller_runtime_active_workers"), 1.0);
        // Its time has come without anybody asking.
        let d = queue.begins(&name("d"), later + Duration::from_secs(1));
        assert_eq!(value(&queue, later, "workqueue_adds_total"), 4.0);
        let end = later + Duration::from_secs(3);
        assert_eq!(value(&queue, end, "workqueue_unfinished_work_seconds"), 5.0);
        assert_eq!(value(&queue, end, "workqueue_longest_running_processor_seconds"), 3.0);
        queue.ends(a, Some(Result::Error), end);
        queue.ends(d, None, end);
        assert_eq!(value(&queue, end, "controller_runtime_active_workers"), 0.0);
        assert_eq!(value(&queue, end, "workqueue_work_duration_seconds_count"), 2.0);
        assert_eq!(value(&queue, end, "controller_runtime_reconcile_errors_total"), 1.0);
        assert_eq!(value(&queue, end, "workqueue_retries_total"), 1.0);
    }
}
