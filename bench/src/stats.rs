//! Many values in a few numbers.

use serde_json::{Value, json};

/// Values in ascending order.
#[derive(Debug)]
pub struct Sorted(Vec<u64>);

impl Sorted {
    /// Sorts the values.
    pub fn new(values: impl IntoIterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        Self(values)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The least value that at most one in `1 / (1 - share)` values exceeds; 0 without values.
    pub fn quantile(&self, share: f64) -> u64 {
        let place = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(place.saturating_sub(1)).or(self.0.last()).copied().unwrap_or(0)
    }

    /// The middle.
    pub fn median(&self) -> u64 {
        self.quantile(0.5)
    }

    /// The least.
    pub fn min(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }

    /// The greatest.
    pub fn max(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }

    /// Number and quantiles of times in nanoseconds.
    pub fn times(&self) -> Value {
        json!({
            "count": self.len(),
            "p50_ns": self.median(),
            "p99_ns": self.quantile(0.99),
            "p99.9_ns": self.quantile(0.999),
            "max_ns": self.max(),
        })
    }
}
