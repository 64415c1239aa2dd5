//! What it costs to ask before a request passes: processor time per request with a limit of the process, and with a token
//! that has been seen before, each over the same request where nothing is asked, in pairs taken one after the other from
//! one proxy.

use clap::Args;

use crate::Row;
use crate::objects::{self, LIMITED, PLAIN, TOKEN};
use crate::processes::{Backend, Load, Proxy};
use crate::spread::Spread;

/// How much to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Pairs of asked and not asked for each way of asking, in the order ABBA.
    #[arg(long, default_value_t = 15)]
    pairs: u32,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Requests per second.
    #[arg(long, default_value_t = 8000)]
    rate: u32,
}

/// One way of asking.
struct Case {
    what: &'static str,
    path: &'static str,
    /// What every request of the pair brings, also where nobody looks at it.
    header: Option<String>,
    /// Microseconds for a request with and without.
    pairs: Vec<(f64, f64)>,
}

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let backend = Backend::start()?;
    let proxy = Proxy::serving(&objects::all(&backend))?;
    objects::are_in_force(proxy.address)?;
    let token = Some(objects::authorization()?);
    let mut cases = [
        Case { what: "CPU with a local limit", path: LIMITED, header: None, pairs: Vec::new() },
        Case { what: "CPU with a cached JWT", path: TOKEN, header: token, pairs: Vec::new() },
    ];
    for pair in 0..plan.pairs {
        for Case { what, path, header, pairs } in &mut cases {
            let sample = |path| sample(&proxy, path, header.as_deref(), plan);
            let (with, without) = if pair % 2 == 0 {
                let with = sample(path)?;
                (with, sample(PLAIN)?)
            } else {
                let without = sample(PLAIN)?;
                (sample(path)?, without)
            };
            // A machine that is busy with something else does not hold the rate, and then the two were not offered the
            // same.
            match (with, without) {
                (Some(with), Some(without)) => {
                    eprintln!("{what}: {with:.2} µs, without {without:.2} µs");
                    pairs.push((with, without));
                }
                (None, _) | (_, None) => eprintln!("{what}: left out, since the rate was not held"),
            }
        }
    }
    Ok(cases.into_iter().map(|case| row(case, plan.rate)).collect())
}

/// Microseconds of the processor for each request; none when the rate was not held.
fn sample(proxy: &Proxy, path: &str, header: Option<&str>, plan: &Plan) -> anyhow::Result<Option<f64>> {
    let mut load = Load::warm_with(proxy.address, path, plan.rate * plan.seconds, Some(plan.rate), header)?;
    let before = proxy.cpu()?;
    let done = load.run()?;
    let used = proxy.cpu()? - before;
    Ok((done.seconds < f64::from(plan.seconds) * 1.02).then_some(used as f64 / done.requests / 1000.0))
}

fn row(Case { what, pairs, .. }: Case, rate: u32) -> Row {
    let count = pairs.len();
    let ratio = Spread::of(pairs.iter().map(|(with, without)| with / without).collect());
    let (with, without): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    Row {
        what: format!("{what} / without, {rate} a second"),
        figure: format!("{:.3}", ratio.median),
        goal: "1.03",
        more: format!(
            "middle half {:.3} to {:.3} of {count} pairs; {:.1} µs, without {:.1} µs",
            ratio.low,
            ratio.high,
            Spread::of(with).median,
            Spread::of(without).median
        ),
    }
}
