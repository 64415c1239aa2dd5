//! Processor time per request, ours over nginx's, in pairs taken one after the other: whatever slows the machine down
//! slows both.

use clap::Args;

use crate::Row;
use crate::processes::{Backend, Done, Load, Proxy, wrk};
use crate::spread::Spread;

/// How much to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Pairs of ours and nginx, in the order ABBA.
    #[arg(long, default_value_t = 10)]
    pairs: u32,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Requests per second, where the rate is fixed.
    #[arg(long, default_value_t = 8000)]
    rate: u32,
    /// Also with bodies of 64 KiB.
    #[arg(long)]
    large: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { pairs: 10, seconds: 3, rate: 8000, large: true }
    }
}

/// A way to load a proxy.
#[derive(Clone, Copy)]
pub(crate) enum Offer {
    Rate(u32),
    Full,
}

/// What one measurement came to.
pub(crate) struct Sample {
    pub(crate) microseconds: f64,
    /// Whether the rate was held.
    pub(crate) sound: bool,
}

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let backend = Backend::start()?;
    let ours = Proxy::headgate(&backend)?;
    let nginx = Proxy::nginx(&backend)?;
    let mut cases = vec![
        (format!("CPU / nginx, {} a second", plan.rate), "/", Offer::Rate(plan.rate)),
        ("CPU / nginx, full load".to_owned(), "/", Offer::Full),
    ];
    if plan.large {
        cases.push(("CPU / nginx, 64 KiB body, full load".to_owned(), "/64k", Offer::Full));
    }
    let mut rows = Vec::new();
    for (what, path, offer) in cases {
        let (mut ratios, mut own, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..plan.pairs {
            let (a, b) = if pair % 2 == 0 {
                let a = sample(&ours, path, offer, plan.seconds)?;
                (a, sample(&nginx, path, offer, plan.seconds)?)
            } else {
                let b = sample(&nginx, path, offer, plan.seconds)?;
                (sample(&ours, path, offer, plan.seconds)?, b)
            };
            eprintln!(
                "{what}: {:.2} µs, nginx {:.2} µs{}",
                a.microseconds,
                b.microseconds,
                if a.sound && b.sound { "" } else { " (left out: the rate was not held)" }
            );
            if a.sound && b.sound {
                ratios.push(a.microseconds / b.microseconds);
                own.push(a.microseconds);
                theirs.push(b.microseconds);
            }
        }
        let (count, ratio) = (ratios.len(), Spread::of(ratios));
        rows.push(Row {
            what,
            figure: format!("{:.3}", ratio.median),
            goal: if path == "/" { "1.15" } else { "" },
            more: format!(
                "middle half {:.3} to {:.3} of {count} pairs; {:.1} µs, nginx {:.1} µs",
                ratio.low,
                ratio.high,
                Spread::of(own).median,
                Spread::of(theirs).median
            ),
        });
    }
    Ok(rows)
}

pub(crate) fn sample(proxy: &Proxy, path: &str, offer: Offer, seconds: u32) -> anyhow::Result<Sample> {
    match offer {
        Offer::Rate(rate) => {
            let mut load = Load::warm(proxy.address, path, rate * seconds, Some(rate))?;
            let before = proxy.cpu()?;
            let Done { requests, seconds: took } = load.run()?;
            let used = proxy.cpu()? - before;
            // A machine that is busy with something else does not hold the rate, and then the two were not offered the
            // same.
            let sound = took < f64::from(seconds) * 1.02;
            Ok(Sample { microseconds: used as f64 / requests / 1000.0, sound })
        }
        Offer::Full => {
            let before = proxy.cpu()?;
            let requests = wrk(proxy.address, path, seconds)?;
            Ok(Sample { microseconds: (proxy.cpu()? - before) as f64 / requests / 1000.0, sound: true })
        }
    }
}
