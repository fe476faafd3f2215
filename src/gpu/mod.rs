//! The kernels on wgpu.
//!
//! [`LayerNorm`] is for a pipeline of your own: it records into your compute pass, over your buffers, by
//! [`Kernels`] that all normalizations of a device share. [`Context`] is for everybody else: it finds an
//! adapter, uploads, runs and downloads.

mod adapters;
mod buffers;
mod call;
mod caps;
mod codes;
mod context;
mod cuts;
mod host;
mod info;
mod kernels;
mod layer_norm;
mod pipelines;
mod placed;
mod prepared;
mod results;
mod scratch;
mod simple;
mod uniforms;
mod warm;

pub use adapters::{AdapterChoice, adapters, describe_adapter};
#[cfg(feature = "verify")]
pub(crate) use buffers::Given;
pub use buffers::{
    BackwardBuffers, BufferRows, BufferStatistics, BufferVector, CodeBuffers, CodeUnit, ForwardBuffers,
};
pub use caps::{caps_of_device, required_features, required_limits, tuned_adapter};
pub use codes::CodesResult;
pub use context::Context;
pub use info::adapter_info_of_device;
pub use kernels::{Kernels, KernelsDescriptor};
pub use layer_norm::{LayerNorm, LayerNormDescriptor};
pub use prepared::Prepared;
pub use results::{BackwardResult, ForwardResult};
#[cfg(not(target_arch = "wasm32"))]
pub use simple::{layer_norm, rms_norm};
pub use warm::WarmOptions;

use crate::error::Error;
use std::pin::pin;
use std::task::{Poll, Waker};

/// Runs `work`, which creates objects on the device, and turns what wgpu reports into an error instead of
/// leaving it to the device's handler, which panics by default. In browsers the report comes too late for
/// that: there it goes to the handler, and from there to the console if nobody has set one.
pub(crate) fn checked<T>(
    device: &wgpu::Device,
    doing: &'static str,
    work: impl FnOnce() -> T,
) -> Result<T, Error> {
    if cfg!(target_arch = "wasm32") {
        return Ok(work());
    }
    let mut checked = pin!(checked_later(device, doing, work));
    match checked.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::Device { doing, message: "wgpu has not reported in time".to_owned() }),
    }
}

/// The same where the caller can wait, in browsers too.
async fn checked_later<T>(
    device: &wgpu::Device,
    doing: &'static str,
    work: impl FnOnce() -> T,
) -> Result<T, Error> {
    let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation]
        .map(|filter| device.push_error_scope(filter));
    let result = work();
    // All are popped before the first is waited for: scopes of other calls must not come to lie between them.
    let reports: Vec<_> = scopes.into_iter().rev().map(wgpu::ErrorScopeGuard::pop).collect();
    let mut first = None;
    for report in reports {
        first = first.or(report.await);
    }
    match first {
        None => Ok(result),
        Some(error) => Err(Error::Device { doing, message: error.to_string() }),
    }
}

/// A buffer larger than the device has would be an error of wgpu's, without the tensor's name.
pub(crate) fn check_buffer_size(limits: &wgpu::Limits, tensor: &str, bytes: u64) -> Result<(), Error> {
    let most = limits.max_buffer_size;
    if bytes > most {
        let what = format!("buffer size in bytes for {tensor}");
        return Err(Error::unsupported(what, most, format!("at least {bytes}")));
    }
    Ok(())
}
