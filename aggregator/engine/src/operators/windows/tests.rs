//! Every function over windows against plain reckoning at every step.

use proptest::prelude::*;

use crate::operators::grid::{StepGrid, Window};
use crate::operators::windows::{Sample, WindowFunction, WindowStore};

const FUNCTIONS: [WindowFunction; 18] = [
    WindowFunction::Count,
    WindowFunction::CountPerSecond,
    WindowFunction::WholeSum,
    WindowFunction::WholeSumPerSecond,
    WindowFunction::Sum,
    WindowFunction::SumPerSecond,
    WindowFunction::Average,
    WindowFunction::GroupAverage,
    WindowFunction::Minimum,
    WindowFunction::Maximum,
    WindowFunction::StandardDeviation,
    WindowFunction::StandardVariance,
    WindowFunction::GroupDeviation,
    WindowFunction::GroupVariance,
    WindowFunction::First,
    WindowFunction::Last,
    WindowFunction::Quantile(0.3),
    WindowFunction::CounterRate,
];

/// `samples` in the order of time, not empty.
fn naive(function: WindowFunction, samples: &[Sample], range: i64) -> f64 {
    let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    let (count, sum) = (values.len() as f64, values.iter().sum::<f64>());
    let seconds = range as f64 / 1e9;
    let variance = || values.iter().map(|value| (value - sum / count).powi(2)).sum::<f64>() / count;
    match function {
        WindowFunction::Count => count,
        WindowFunction::CountPerSecond => count / seconds,
        WindowFunction::WholeSum | WindowFunction::Sum => sum,
        WindowFunction::WholeSumPerSecond | WindowFunction::SumPerSecond => sum / seconds,
        WindowFunction::Average | WindowFunction::GroupAverage => sum / count,
        WindowFunction::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
        WindowFunction::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        WindowFunction::StandardVariance | WindowFunction::GroupVariance => variance(),
        WindowFunction::StandardDeviation | WindowFunction::GroupDeviation => variance().sqrt(),
        WindowFunction::First => values[0],
        WindowFunction::Last => values[values.len() - 1],
        WindowFunction::Quantile(share) => {
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let rank = share * (count - 1.0);
            let (below, weight) = (rank.floor() as usize, rank.fract());
            sorted[below] * (1.0 - weight) + sorted[(below + 1).min(sorted.len() - 1)] * weight
        }
        WindowFunction::CounterRate => counter_rate(samples, range),
    }
}

fn counter_rate(samples: &[Sample], range: i64) -> f64 {
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    if samples.len() < 2 {
        return 0.0;
    }
    let resets: f64 = samples.windows(2).filter(|pair| pair[1].value < pair[0].value).map(|pair| pair[0].value).sum();
    let rise = last.value - first.value + resets;
    let sampled = (last.stamp - first.stamp) as f64 / 1000.0;
    let average = sampled / (samples.len() - 1) as f64;
    let mut before = (range / 1_000_000) as f64 / 1000.0;
    if rise > 0.0 && first.value >= 0.0 {
        before = before.min(sampled * (first.value / rise));
    }
    let stretched = sampled + if before < average * 1.1 { before } else { average / 2.0 };
    rise * (stretched / sampled) / (range as f64 / 1e9)
}

fn is_close(left: f64, right: f64) -> bool {
    (left.is_nan() && right.is_nan()) || left == right || (left - right).abs() <= 1e-9 * left.abs().max(right.abs()).max(1e-3)
}

/// Points of series 0 after samples went through several partial stores, in the given shares.
fn evaluate(function: WindowFunction, samples: &[(usize, Sample)], grid: StepGrid, window: Window) -> Vec<(u32, f64)> {
    let mut last = function.store(window.range, grid.count);
    for partition in 0..3 {
        let mut partial = function.store(window.range, grid.count);
        for (_, sample) in samples.iter().filter(|(to, _)| *to == partition) {
            if let Some(steps) = grid.steps_of(sample.stamp, window) {
                partial.add(0, steps, *sample);
            }
        }
        let words = partial.words();
        partial.records(0, &mut |steps, record| {
            assert_eq!(record.len(), words);
            last.merge(0, steps, record);
        });
    }
    points(last.as_mut())
}

fn points(store: &mut dyn WindowStore) -> Vec<(u32, f64)> {
    let mut points = Vec::new();
    store.points(0, &mut |step, value| points.push((step, value)));
    points
}

proptest! {
    #[test]
    fn functions_are_those_of_the_samples_of_each_window(
        samples in proptest::collection::vec((0usize..3, -60i64..120, -20i32..20), 0..60),
        start in -20i64..20, step in 1i64..9, length in 0i64..60, range in 1i64..50, offset in -10i64..10,
    ) {
        let grid = StepGrid::new(start, start + length, step);
        let window = Window { range, offset };
        let sample = |(arrival, &(partition, stamp, value)): (usize, &(usize, i64, i32))| {
            (partition, Sample { stamp, stream: (arrival % 2) as u32, arrival: arrival as u64, value: f64::from(value) })
        };
        let samples: Vec<(usize, Sample)> = samples.iter().enumerate().map(sample).collect();
        let mut ordered: Vec<Sample> = samples.iter().map(|(_, sample)| *sample).collect();
        ordered.sort_by_key(Sample::place);
        for function in FUNCTIONS {
            let mut expected = Vec::new();
            for step in 0..grid.count {
                let end = grid.time(step) - offset;
                let within: Vec<Sample> =
                    ordered.iter().filter(|sample| end - range < sample.stamp && sample.stamp <= end).copied().collect();
                if !within.is_empty() {
                    expected.push((step, naive(function, &within, range)));
                }
            }
            let found = evaluate(function, &samples, grid, window);
            prop_assert_eq!(found.len(), expected.len(), "{:?}", function);
            for ((step, value), (expected_step, expected_value)) in found.into_iter().zip(expected) {
                prop_assert_eq!(step, expected_step, "{:?}", function);
                prop_assert!(is_close(value, expected_value), "{:?} at {}: {} is not {}", function, step, value, expected_value);
            }
        }
    }
}

#[test]
fn a_sample_costs_the_same_however_many_windows_hold_it() {
    for function in FUNCTIONS {
        let mut narrow = function.store(1, 10_000);
        let mut wide = function.store(1, 10_000);
        let taken =
            |store: &mut dyn WindowStore, last: u32| (0..100).map(|_| store.add(0, (0, last), Sample::of_value(1.0))).sum::<usize>();
        // A change at another step may need a block of its own.
        let (few, many) = (taken(narrow.as_mut(), 0), taken(wide.as_mut(), 9_999));
        assert!(many <= 4 * few.max(1024), "{function:?}: {few} and {many} bytes");
    }
}
