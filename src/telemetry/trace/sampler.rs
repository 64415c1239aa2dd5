//! Which traces are recorded.

/// Decides by what the caller has decided and by the trace's id, so that every service decides alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Whether a caller's decision is followed.
    parent_based: bool,
    /// Of traces without such a decision, so many in 2^56.
    share: u64,
}

/// All of 2^56.
const ALL: u64 = 1 << 56;

impl Sampler {
    /// Records this share of traces, from 0 to 1.
    pub fn new(parent_based: bool, share: f64) -> Self {
        Self { parent_based, share: (share.clamp(0.0, 1.0) * ALL as f64) as u64 }
    }

    /// Whether a trace is recorded. `caller` is what the caller has decided, if there is one; `percent` is what the
    /// route says of traces without such a decision.
    pub fn decide(self, trace: [u8; 16], caller: Option<bool>, percent: Option<u8>) -> bool {
        match caller {
            Some(decided) if self.parent_based => decided,
            Some(_) | None => {
                let share = percent.map_or(self.share, |percent| ALL / 100 * u64::from(percent.min(100)));
                // The last seven bytes are those that are random (W3C Trace Context level 2, 3.2.2.3.1).
                let [.., a, b, c, d, e, f, g] = trace;
                let random = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
                share >= ALL / 100 * 100 || random < share
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(sampler: Sampler, percent: Option<u8>) -> usize {
        (0..1000u64)
            .filter(|number| {
                let mut trace = [7; 16];
                let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                trace[9..].copy_from_slice(&spread[..7]);
                sampler.decide(trace, None, percent)
            })
            .count()
    }

    #[test]
    fn callers_decide_then_routes_then_the_share() {
        let none = Sampler::new(true, 0.0);
        assert!(none.decide([0; 16], Some(true), Some(0)));
        assert!(!Sampler::new(true, 1.0).decide([0; 16], Some(false), Some(100)));
        assert!(Sampler::new(false, 1.0).decide([0xff; 16], Some(false), None));
        assert_eq!((share(none, None), share(none, Some(100)), share(Sampler::new(true, 1.0), None)), (0, 1000, 1000));
        for (sampler, percent) in [(none, Some(10)), (Sampler::new(true, 0.1), None)] {
            assert!((80..120).contains(&share(sampler, percent)));
        }
    }
}
