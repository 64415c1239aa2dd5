//! What many measurements of one thing come to.

/// The middle of some numbers, and where the middle half of them lies.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
    pub(crate) count: usize,
}

impl Spread {
    /// Not a number where there are none.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (numbers.len().saturating_sub(1)) as f64;
            let below = numbers.get(place.floor() as usize).copied().unwrap_or(f64::NAN);
            let above = numbers.get(place.ceil() as usize).copied().unwrap_or(f64::NAN);
            below + (above - below) * place.fract()
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75), count: numbers.len() }
    }
}
