//! The uniforms of all dispatches of a device, in slots of shared buffers.
//!
//! A slot is written once, before anything that was recorded with it is submitted, and never again: what was
//! recorded stays as it is, in whatever order command buffers are submitted. Equal uniforms share a slot. A
//! buffer of slots is let go when nothing prepared uses it any more; what was recorded with it keeps it until
//! it has run.

use super::checked;
use crate::error::Error;
use crate::plan::Uniform;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Slots of a buffer.
const CHUNK_SLOTS: u32 = 64;

/// The words of a uniform.
type Words = [u32; Uniform::BYTES / 4];

/// A buffer of slots.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) buffer: wgpu::Buffer,
}

/// A place for one uniform.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) chunk: Arc<Chunk>,
    /// The dynamic offset of a bind group over the chunk.
    pub(super) offset: u32,
}

/// A slot with what belongs there.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) slot: Slot,
    words: Words,
    /// Whether nobody has written it yet.
    is_new: bool,
}

#[derive(Debug)]
pub(super) struct Uniforms {
    /// Bytes from one slot to the next.
    stride: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The chunk that slots are taken from, and how many were.
    current: Option<(Arc<Chunk>, u32)>,
    slots: HashMap<Words, (Weak<Chunk>, u32)>,
    /// The number of slots at which those whose chunk is gone are looked for next.
    sweep_at: usize,
}

impl Uniforms {
    pub(super) fn new(limits: &wgpu::Limits) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "a few hundred bytes")]
        let bytes = Uniform::BYTES as u32;
        let stride = bytes.next_multiple_of(limits.min_uniform_buffer_offset_alignment.max(4));
        Self { stride, state: Mutex::default() }
    }

    /// A slot for these numbers: the one that has them already, or a new one, which must be
    /// [written](Self::write) and then [published](Self::publish).
    pub(super) fn reserve(&self, device: &wgpu::Device, uniform: &Uniform) -> Result<Reserved, Error> {
        let words: Words = bytemuck::cast(*uniform);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((chunk, offset)) = state.slots.get(&words)
            && let Some(chunk) = chunk.upgrade()
        {
            let slot = Slot { chunk, offset: *offset };
            return Ok(Reserved { slot, words, is_new: false });
        }
        let (chunk, used) = match state.current.take() {
            Some((chunk, used)) if used < CHUNK_SLOTS => (chunk, used),
            _ => (Arc::new(self.chunk(device)?), 0),
        };
        state.current = Some((Arc::clone(&chunk), used + 1));
        Ok(Reserved { slot: Slot { chunk, offset: used * self.stride }, words, is_new: true })
    }

    fn chunk(&self, device: &wgpu::Device) -> Result<Chunk, Error> {
        let buffer = checked(device, "creating a uniform buffer", || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("layer_norm/uniforms"),
                size: u64::from(CHUNK_SLOTS * self.stride),
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        Ok(Chunk { buffer })
    }

    /// Writes what is new. Errors are wgpu's to report, to the caller's error scope.
    pub(super) fn write(queue: &wgpu::Queue, reserved: &[Reserved]) {
        for Reserved { slot, words, .. } in reserved.iter().filter(|reserved| reserved.is_new) {
            queue.write_buffer(&slot.chunk.buffer, slot.offset.into(), bytemuck::bytes_of(words));
        }
    }

    /// Lets others share what has been written.
    pub(super) fn publish(&self, reserved: &[Reserved]) {
        if reserved.iter().all(|reserved| !reserved.is_new) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for Reserved { slot, words, .. } in reserved.iter().filter(|reserved| reserved.is_new) {
            state.slots.insert(*words, (Arc::downgrade(&slot.chunk), slot.offset));
        }
        if state.slots.len() >= state.sweep_at {
            state.slots.retain(|_, (chunk, _)| chunk.strong_count() > 0);
            state.sweep_at = 2 * state.slots.len() + CHUNK_SLOTS as usize;
        }
    }
}
