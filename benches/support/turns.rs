//! Timing of calls that take turns.

use std::time::{Duration, Instant};
use wgpu_layernorm::{Context, Prepared};

/// A submit of the call alone.
pub(crate) fn time(context: &Context, call: &Prepared) -> Duration {
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    call.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    let commands = encoder.finish();
    let start = Instant::now();
    context.queue().submit([commands]);
    context.device().poll(wgpu::PollType::wait_indefinitely()).expect("the device is there");
    start.elapsed()
}
