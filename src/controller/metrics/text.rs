//! The text format of Prometheus, version 0.0.4: a page of families, each with its samples.

use std::fmt::Write as _;

use super::families::Family;

/// `Content-Type` of the page.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds by which things are counted that usually take less than a minute.
pub(super) const SHORT: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0];
/// Seconds by which migrations are counted, and waits for locks.
pub(super) const LONG: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0];

/// Counts by size.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    /// Of each bound what isn't above it, and above the bound before.
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    pub fn observe(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if let Some(at) = self.bounds.iter().position(|bound| value <= *bound) {
            self.counts[at] += 1;
        }
    }
}

/// The page.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// A family, and the samples that there are.
    pub fn family(&mut self, family: &Family, write: impl FnOnce(&mut Samples<'_>)) {
        let Family { name, kind, help, labels: _ } = family;
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        write(&mut Samples { text: &mut self.0, family });
    }

    /// A family of one sample without labels, if there is one.
    pub fn single(&mut self, family: &Family, value: Option<f64>) {
        self.family(family, |samples| {
            if let Some(value) = value {
                samples.add(&[], value);
            }
        });
    }

    pub fn text(self) -> String {
        self.0
    }
}

/// The samples of a family.
pub(super) struct Samples<'p> {
    text: &'p mut String,
    family: &'p Family,
}

impl Samples<'_> {
    /// A sample with the values of its family's labels, in their order.
    pub fn add(&mut self, values: &[&str], value: f64) {
        self.sample("", values, None, value);
    }

    /// The samples of a histogram.
    pub fn histogram(&mut self, values: &[&str], histogram: &Histogram) {
        let mut so_far = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            so_far += count;
            self.sample("_bucket", values, Some(&bound.to_string()), exact(so_far));
        }
        self.sample("_bucket", values, Some("+Inf"), exact(histogram.count));
        self.sample("_sum", values, None, histogram.sum);
        self.sample("_count", values, None, exact(histogram.count));
    }

    fn sample(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: f64) {
        debug_assert_eq!(self.family.labels.len(), values.len(), "{}", self.family.name);
        let _ = write!(self.text, "{}{suffix}", self.family.name);
        let labels = self.family.labels.iter().copied().zip(values.iter().copied());
        for (at, (label, value)) in labels.chain(bound.map(|bound| ("le", bound))).enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            escape(value, self.text);
            self.text.push('"');
        }
        let end = if values.is_empty() && bound.is_none() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}

fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

/// A count as the format has it. Beyond 2^53 it isn't exact any more.
#[allow(clippy::cast_precision_loss, reason = "no counter here gets that far")]
pub(super) fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::metrics::families::{DRIFT, LOCK_WAIT, MIGRATION_DURATION, RESIDENT};

    #[test]
    fn samples_have_their_labels_and_values() {
        let mut page = Page::default();
        page.family(&DRIFT, |samples| samples.add(&["shop", "a\"b\\c\nd", "checksum"], 2.0));
        page.single(&RESIDENT, Some(25_000_000.0));
        page.single(&RESIDENT, None);
        let text = page.text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"dunlin_drift{namespace="shop",name="a\"b\\c\nd",kind="checksum"} 2"#,
                "process_resident_memory_bytes 25000000"
            ]
        );
        assert!(text.starts_with("# HELP dunlin_drift What ") && text.contains("\n# TYPE dunlin_drift gauge\n"));
    }

    #[test]
    fn buckets_count_everything_up_to_their_bound() {
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        for value in [0.25, 0.5, 0.75, 7.0] {
            histogram.observe(value);
        }
        let mut page = Page::default();
        page.family(&MIGRATION_DURATION, |samples| samples.histogram(&["up"], &histogram));
        page.family(&LOCK_WAIT, |samples| samples.histogram(&[], &Histogram::new(&[1.0])));
        let text = page.text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"dunlin_migration_duration_seconds_bucket{direction="up",le="0.5"} 2"#,
                r#"dunlin_migration_duration_seconds_bucket{direction="up",le="1"} 3"#,
                r#"dunlin_migration_duration_seconds_bucket{direction="up",le="+Inf"} 4"#,
                r#"dunlin_migration_duration_seconds_sum{direction="up"} 8.5"#,
                r#"dunlin_migration_duration_seconds_count{direction="up"} 4"#,
                r#"dunlin_lock_wait_seconds_bucket{le="1"} 0"#,
                r#"dunlin_lock_wait_seconds_bucket{le="+Inf"} 0"#,
                "dunlin_lock_wait_seconds_sum 0",
                "dunlin_lock_wait_seconds_count 0",
            ]
        );
    }
}
