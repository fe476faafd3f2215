//! What one dispatch of a call leaves for another: buffers that all calls of a device share.
//!
//! The contract that makes sharing safe: a device has one queue, and each call is recorded in one piece and
//! carries nothing out of itself. So whatever is in scratch when a call starts is nobody's.

use super::prepared::Inner;
use super::{check_buffer_size, checked};
use crate::error::Error;
use crate::plan::Tensor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The two tensors of scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Partials,
    RowPartials,
}

impl Part {
    const ALL: [Self; 2] = [Self::Partials, Self::RowPartials];

    pub(super) const fn tensor(self) -> Tensor {
        match self {
            Self::Partials => Tensor::Partials,
            Self::RowPartials => Tensor::RowPartials,
        }
    }
}

/// Bytes of each [`Part`].
pub(super) type Bytes = [u64; 2];

/// A buffer for each [`Part`] that a call has needed so far.
pub(super) type Buffers = [Option<wgpu::Buffer>; 2];

#[derive(Debug, Default)]
pub(super) struct Scratch {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buffers: Buffers,
    /// The calls that are bound to them.
    users: Vec<Weak<Inner>>,
    /// The number of users at which those that are gone are looked for next.
    sweep_at: usize,
}

impl Scratch {
    /// The buffers as they are now.
    pub(super) fn buffers(&self) -> Buffers {
        self.lock().buffers.clone()
    }

    /// Bytes of both buffers.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().buffers.iter().flatten().map(wgpu::Buffer::size).sum()
    }

    /// Makes the buffers large enough for calls to come.
    pub(super) fn reserve(
        &self,
        device: &wgpu::Device,
        limits: &wgpu::Limits,
        needs: Bytes,
    ) -> Result<(), Error> {
        Self::resize(self.lock(), device, limits, |has| most(has, needs))
    }

    /// Makes the buffers large enough for a call, and keeps them so for as long as it is there.
    pub(super) fn attach(
        &self,
        device: &wgpu::Device,
        limits: &wgpu::Limits,
        user: &Arc<Inner>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        if state.users.len() >= state.sweep_at {
            state.users.retain(|user| user.strong_count() > 0);
            state.sweep_at = 2 * state.users.len() + 16;
        }
        state.users.push(Arc::downgrade(user));
        let needs = user.scratch_bytes();
        Self::resize(state, device, limits, |has| most(has, needs))
    }

    /// Makes the buffers as small as the calls that are still there allow.
    pub(super) fn trim(&self, device: &wgpu::Device, limits: &wgpu::Limits) -> Result<(), Error> {
        let state = self.lock();
        let users: Vec<Arc<Inner>> = state.users.iter().filter_map(Weak::upgrade).collect();
        let needs = users.iter().map(|user| user.scratch_bytes()).fold([0; 2], most);
        Self::resize(state, device, limits, |_| needs)
    }

    /// Calls that were bound to buffers of other sizes let go of them, and are bound anew when they are
    /// recorded next.
    fn resize(
        mut state: MutexGuard<'_, State>,
        device: &wgpu::Device,
        limits: &wgpu::Limits,
        wanted: impl Fn(Bytes) -> Bytes,
    ) -> Result<(), Error> {
        let has = Part::ALL.map(|part| state.buffers[part as usize].as_ref().map_or(0, wgpu::Buffer::size));
        let wanted = wanted(has);
        if has == wanted {
            return Ok(());
        }
        let mut buffers = state.buffers.clone();
        for part in Part::ALL {
            let (place, bytes) = (part as usize, wanted[part as usize]);
            if bytes != has[place] {
                buffers[place] = if bytes == 0 { None } else { Some(create(device, limits, part, bytes)?) };
            }
        }
        state.buffers = buffers;
        let users = state.users.clone();
        // A call takes its own lock first and this one then.
        drop(state);
        users.iter().filter_map(Weak::upgrade).for_each(|user| user.let_go_of_scratch());
        Ok(())
    }

    /// A thread that panicked while it held the lock left buffers that are whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The larger of each part.
fn most(a: Bytes, b: Bytes) -> Bytes {
    Part::ALL.map(|part| a[part as usize].max(b[part as usize]))
}

fn create(
    device: &wgpu::Device,
    limits: &wgpu::Limits,
    part: Part,
    size: u64,
) -> Result<wgpu::Buffer, Error> {
    check_buffer_size(limits, part.tensor().name(), size)?;
    checked(device, "creating the scratch buffer", || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(&format!("layer_norm/{}", part.tensor().name())),
            size,
            // A copy, so that `verify` can poison it.
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    })
}
