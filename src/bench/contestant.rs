//! Things that are timed in turn.

use super::measure::Bench;
use super::summary::Summary;
use super::timer::{Clock, Sample};
use crate::error::Error;
use std::time::Duration;

/// What came of timing two things in turn.
pub(super) struct Duel {
    pub(super) clock: Clock,
    pub(super) rounds: usize,
    /// In a submit, of each.
    pub(super) calls: [u32; 2],
    /// Of one call, of each.
    pub(super) times: [Summary; 2],
}

/// Which set of buffers is next.
pub(super) struct Turn {
    pub(super) next: usize,
    pub(super) sets: usize,
}

impl Turn {
    pub(super) fn take(&mut self) -> usize {
        let set = self.next;
        self.next = (set + 1) % self.sets;
        set
    }
}

/// Something that is timed; `record` takes the number of the set.
pub(super) struct Contestant<R> {
    pub(super) record: R,
    /// In a submit.
    pub(super) calls: u32,
    pub(super) samples: Vec<Sample>,
}

/// The most calls in a submit: recording takes time and memory too.
const MOST_CALLS: u32 = 10_000;

impl<R: Fn(usize, &mut wgpu::ComputePass<'_>)> Contestant<R> {
    pub(super) const fn new(record: R) -> Self {
        Self { record, calls: 1, samples: Vec::new() }
    }

    pub(super) async fn submit(&self, bench: &Bench, turn: &mut Turn) -> Result<Sample, Error> {
        bench
            .timer
            .time(|pass| {
                for _ in 0..self.calls {
                    (self.record)(turn.take(), pass);
                }
            })
            .await
    }

    /// Finds out how many calls make up a submit of the least length.
    pub(super) async fn warm_up(&mut self, bench: &Bench, turn: &mut Turn) -> Result<(), Error> {
        let least = bench.options.least_submit;
        loop {
            // The faster of two, lest a hiccup, or what only the first submit pays for, pass for work.
            let first = self.submit(bench, turn).await?.wall;
            let time = first.min(self.submit(bench, turn).await?.wall);
            if time >= least || self.calls >= MOST_CALLS {
                return Ok(());
            }
            // Never past the aim by more than a little: a short submit says little about a long one.
            let growth = (1.1 * least.as_secs_f64() / time.as_secs_f64().max(1e-9)).clamp(1.2, 10.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 100,000")]
            let calls = (f64::from(self.calls) * growth).ceil() as u32;
            self.calls = calls.min(MOST_CALLS);
        }
    }

    pub(super) async fn run(&mut self, bench: &Bench, turn: &mut Turn) -> Result<(), Error> {
        let sample = self.submit(bench, turn).await?;
        self.samples.push(sample);
        Ok(())
    }

    /// Of one call.
    pub(super) fn summary(&self, clock: Clock) -> Summary {
        let times: Vec<Duration> = self.samples.iter().map(|sample| sample.by(clock)).collect();
        Summary::of(&times).unwrap_or_default().per_call(self.calls)
    }
}
