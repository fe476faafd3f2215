//! The time of a submit.

use crate::error::Error;
use crate::gpu::{Context, checked};
use std::time::Duration;
use web_time::Instant;

/// What a time was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Timestamps that the GPU writes at the start and the end of a pass.
    GpuTimestamps,
    /// From the hand-over of a submit to the end of its work, as the host sees it.
    Wall,
}

impl Clock {
    /// `gpu_timestamps` or `wall`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GpuTimestamps => "gpu_timestamps",
            Self::Wall => "wall",
        }
    }

    /// Timestamps where they can be trusted: none is missing, and in the middle they tell about the time that
    /// the host sees. A GPU that is idle for most of a submit would be news; a timestamp that counts in
    /// another unit would not.
    pub(super) fn choose(samples: &[Sample]) -> Self {
        let wall = median(samples.iter().map(|sample| sample.wall));
        let gpu: Option<Vec<Duration>> = samples.iter().map(|sample| sample.gpu).collect();
        match (gpu.and_then(median), wall) {
            (Some(gpu), Some(wall)) if gpu <= wall.mul_f64(1.1) && gpu >= wall / 4 => Self::GpuTimestamps,
            _ => Self::Wall,
        }
    }
}

fn median(durations: impl IntoIterator<Item = Duration>) -> Option<Duration> {
    let mut durations: Vec<Duration> = durations.into_iter().collect();
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied()
}

/// The time of one submit by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) wall: Duration,
    /// `None` where the device has no timestamps, or the second is not after the first.
    pub(super) gpu: Option<Duration>,
}

impl Sample {
    pub(super) fn by(&self, clock: Clock) -> Duration {
        match (clock, self.gpu) {
            (Clock::GpuTimestamps, Some(gpu)) => gpu,
            _ => self.wall,
        }
    }
}

/// Times submits on a device.
#[derive(Debug)]
pub(super) struct Timer {
    context: Context,
    timestamps: Option<wgpu::QuerySet>,
    /// The two timestamps; read back after each submit, which in browsers is also how its end is known.
    resolved: wgpu::Buffer,
}

const TIMESTAMPS: u32 = 2;
const RESOLVED_BYTES: u64 = TIMESTAMPS as u64 * size_of::<u64>() as u64;

impl Timer {
    pub(super) fn new(context: &Context) -> Result<Self, Error> {
        let device = context.device();
        let has_timestamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let (timestamps, resolved) = checked(device, "creating timestamp queries", || {
            let timestamps = has_timestamps.then(|| {
                device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("bench/timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: TIMESTAMPS,
                })
            });
            let resolved = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("bench/timestamps"),
                size: RESOLVED_BYTES,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            (timestamps, resolved)
        })?;
        Ok(Self { context: context.clone(), timestamps, resolved })
    }

    /// Runs what `record` records into a pass, alone in a submit.
    pub(super) async fn time(
        &self,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
    ) -> Result<Sample, Error> {
        let device = self.context.device();
        let commands = checked(device, "recording what is timed", || {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some("bench"),
                    timestamp_writes: self.timestamps.as_ref().map(|query_set| {
                        wgpu::ComputePassTimestampWrites {
                            query_set,
                            beginning_of_pass_write_index: Some(0),
                            end_of_pass_write_index: Some(1),
                        }
                    }),
                });
                record(&mut pass);
            }
            if let Some(timestamps) = &self.timestamps {
                encoder.resolve_query_set(timestamps, 0..TIMESTAMPS, &self.resolved, 0);
            }
            encoder.finish()
        })?;
        let start = Instant::now();
        checked(device, "running what is timed", || self.context.queue().submit([commands]))?;
        #[cfg(not(target_arch = "wasm32"))]
        {
            device.poll(wgpu::PollType::wait_indefinitely()).map_err(|error| Error::Device {
                doing: "waiting for what is timed",
                message: error.to_string(),
            })?;
            let wall = start.elapsed();
            let gpu = match self.timestamps {
                Some(_) => self.read_timestamps().await?,
                None => None,
            };
            Ok(Sample { wall, gpu })
        }
        #[cfg(target_arch = "wasm32")]
        {
            let gpu = self.read_timestamps().await?;
            Ok(Sample { wall: start.elapsed(), gpu })
        }
    }

    /// The time between the two timestamps. Ends after all work that was submitted before.
    async fn read_timestamps(&self) -> Result<Option<Duration>, Error> {
        let downloads = self.context.run(&[], &[&self.resolved]).await?;
        let timestamps: Vec<u64> =
            downloads.first().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).unwrap_or_default();
        let [start, end] = timestamps[..] else { return Ok(None) };
        let ticks = end.checked_sub(start).filter(|ticks| *ticks > 0);
        let period = f64::from(self.context.queue().get_timestamp_period());
        Ok(ticks
            .filter(|_| self.timestamps.is_some())
            .map(|ticks| ticks as f64 * period * 1e-9)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(wall: u64, gpu: Option<u64>) -> Sample {
        Sample { wall: Duration::from_millis(wall), gpu: gpu.map(Duration::from_millis) }
    }

    #[test]
    fn timestamps_that_agree_with_the_host_are_taken() {
        assert_eq!(Clock::choose(&[sample(11, Some(10)), sample(12, Some(10))]), Clock::GpuTimestamps);
        // One hiccup of the host says nothing about the GPU.
        let hiccup = [sample(11, Some(10)), sample(500, Some(10)), sample(11, Some(10))];
        assert_eq!(Clock::choose(&hiccup), Clock::GpuTimestamps);
    }

    #[test]
    fn timestamps_that_cannot_be_right_are_not() {
        let wrong = [
            &[sample(11, None), sample(11, Some(10))][..],
            &[sample(11, Some(1)), sample(11, Some(1))],
            &[sample(11, Some(1000)), sample(11, Some(1000))],
            &[],
        ];
        for samples in wrong {
            assert_eq!(Clock::choose(samples), Clock::Wall, "{samples:?}");
        }
        assert_eq!(sample(11, None).by(Clock::GpuTimestamps), Duration::from_millis(11));
    }
}
