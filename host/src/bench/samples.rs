//! Many measurements of one thing, and the two numbers that are shown of them.

use std::time::Instant;

/// Numbers of one unit. Times of calls are in microseconds.
#[derive(Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes the time of `work`, which is `calls` calls.
    pub async fn time<T>(&mut self, calls: u32, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let made = work.await;
        self.add(began.elapsed().as_nanos() as f64 / 1_000.0 / f64::from(calls));
        made
    }

    pub fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The smallest sample that `percent` of all samples do not exceed. NaN if there are none.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(numbers: impl IntoIterator<Item = u32>) -> Samples {
        Samples(numbers.into_iter().map(f64::from).collect())
    }

    #[test]
    fn a_percentile_is_a_sample_and_no_smaller_one_would_do() {
        let hundred = samples((1..=100).rev());
        assert_eq!((hundred.median(), hundred.percentile(99), hundred.percentile(100)), (50.0, 99.0, 100.0));
        let three = samples([9, 1, 5]);
        assert_eq!((three.median(), three.percentile(99), three.percentile(1)), (5.0, 9.0, 1.0));
    }

    #[test]
    fn one_slow_sample_does_not_move_the_median() {
        assert_eq!(samples([7, 7, 7, 7, 90_000]).median(), 7.0);
        assert!(Samples::default().median().is_nan());
    }
}
