//! A call that is ready to be recorded.

use super::checked;
use super::cuts::{Cut, Source, Stage, dispatches};
use super::kernels::Kernels;
use super::scratch::{Buffers, Bytes};
use super::uniforms::{Chunk, Uniforms};
use crate::error::Error;
use crate::plan::Uniform;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A checked call over given buffers: every pipeline, bind group and dispatch is there. It can be recorded
/// any number of times, from any thread, and with fewer rows than it was prepared for. It keeps the buffers
/// alive.
#[derive(Debug)]
pub struct Prepared {
    inner: Arc<Inner>,
}

/// What the device's scratch knows of a call too.
#[derive(Debug)]
pub(super) struct Inner {
    kernels: Kernels,
    /// That of the normalization, for errors.
    label: Option<Arc<str>>,
    capacity: u64,
    scratch: Bytes,
    stages: Vec<Stage>,
    cuts: Vec<Cut>,
    bound: RwLock<Bound>,
}

/// What follows rows and scratch.
#[derive(Debug, Default)]
struct Bound {
    groups: Vec<Group>,
    /// The dispatches of each number of rows so far.
    steps: HashMap<u64, Vec<Step>>,
}

/// A cut's buffers with the uniforms of a chunk.
#[derive(Debug)]
struct Group {
    cut: usize,
    chunk: Arc<Chunk>,
    /// None where scratch has become another buffer since.
    bind_group: Option<wgpu::BindGroup>,
}

/// One dispatch.
#[derive(Clone, Copy, Debug)]
struct Step {
    group: usize,
    /// Of its uniform in the chunk.
    offset: u32,
    workgroups: [u32; 2],
}

impl Prepared {
    /// Numbers of rows that a call remembers. When there are more, it forgets all but its own.
    pub const ROW_COUNTS: usize = 256;

    /// Binds a call's buffers for all its rows.
    pub(super) fn new(
        kernels: &Kernels,
        label: Option<Arc<str>>,
        capacity: u64,
        scratch: Bytes,
        stages: Vec<Stage>,
        cuts: Vec<Cut>,
    ) -> Result<Self, Error> {
        let kernels = kernels.clone();
        let uses_shared = cuts.iter().any(Cut::uses_shared_scratch);
        let scratch = if uses_shared { scratch } else { [0; 2] };
        let bound = RwLock::default();
        let inner = Arc::new(Inner { kernels, label, capacity, scratch, stages, cuts, bound });
        if uses_shared {
            inner.kernels.shared().attach_scratch(&inner)?;
        }
        inner.add(capacity)?;
        Ok(Self { inner })
    }

    /// Records the call into a compute pass, over all the rows that it was prepared for. Submits nothing, and
    /// allocates nothing beyond what the same wgpu calls by hand do, but where the device's scratch has
    /// become another buffer since the call was recorded last: it is bound to that one then. Bind group 0 and
    /// the pipeline of the pass are those of the kernel afterwards.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        let bound = self.inner.read();
        if bound.record(&self.inner, self.inner.capacity, pass) {
            return;
        }
        drop(bound);
        let mut bound = self.inner.write();
        self.inner.bind_again(&mut bound);
        bound.record(&self.inner, self.inner.capacity, pass);
    }

    /// Records the call as [`Prepared::record`] does, but over the first `rows` rows. One pass may have the
    /// same call with several numbers of rows, and each result is, bit for bit, that of a call which was
    /// prepared for so many; where rows lie [side by side](crate::plan::Strides::Across), if both numbers are
    /// multiples of four. Of a [modulation](crate::Channels::of_samples), each sample has fewer tokens.
    /// Without rows nothing is done, but for dgain and dbias: what they are overwritten with is 0.
    ///
    /// The first time a number of rows is met, its uniform is written by the queue, which is done before
    /// whatever is submitted next. From then on nothing is allocated for it, as long as there are no more
    /// than [`Prepared::ROW_COUNTS`] numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there are more rows than the call was prepared for, where rows are groups and
    /// not those of whole samples, and where rows lie [side by side](crate::plan::Strides::Across) and are no
    /// multiple of four; [`Error::Device`] where wgpu fails. Nothing has been recorded then.
    pub fn record_rows(&self, pass: &mut wgpu::ComputePass<'_>, rows: u64) -> Result<(), Error> {
        self.try_record_rows(pass, rows).map_err(|error| error.labeled(self.inner.label.as_deref()))
    }

    fn try_record_rows(&self, pass: &mut wgpu::ComputePass<'_>, rows: u64) -> Result<(), Error> {
        let capacity = self.inner.capacity;
        if rows > capacity {
            return Err(Error::invalid(
                "rows",
                rows,
                format!("{capacity} at most, as the call was prepared"),
            ));
        }
        let across = self.inner.stages.iter().find(|stage| stage.plan.is_across());
        if let Some(access_rows) = across.map(|stage| u64::from(stage.plan.access_rows()))
            && !rows.is_multiple_of(access_rows)
        {
            let needs = format!("a multiple of {access_rows}: rows that lie side by side share accesses");
            return Err(Error::invalid("rows", rows, needs));
        }
        if let Some(channels) = self.inner.stages.iter().find_map(|stage| stage.plan.channels) {
            channels.check_rows(rows)?;
        }
        if self.inner.read().record(&self.inner, rows, pass) {
            return Ok(());
        }
        let mut bound = self.inner.write();
        self.inner.add_to(&mut bound, rows)?;
        bound.record(&self.inner, rows, pass);
        Ok(())
    }

    /// Records the call into a compute pass of its own, for whoever has none.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let label = self.inner.stages.first().map(|stage| stage.label.as_str());
        let descriptor = wgpu::ComputePassDescriptor { label, timestamp_writes: None };
        self.record(&mut encoder.begin_compute_pass(&descriptor));
    }

    /// The rows that the call was prepared for: the most that it can be recorded with.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.inner.capacity
    }

    /// How many dispatches [`Prepared::record`] records.
    #[must_use]
    pub fn dispatch_count(&self) -> usize {
        self.inner.read().steps.get(&self.inner.capacity).map_or(0, Vec::len)
    }

    /// The device's scratch as far as the call uses it: buffers, and bytes from their starts on.
    #[cfg(feature = "verify")]
    pub(crate) fn scratch(&self) -> Vec<(wgpu::Buffer, u64)> {
        let Inner { kernels, scratch, .. } = &*self.inner;
        let buffers = kernels.shared().scratch().into_iter().zip(*scratch);
        buffers.filter_map(|(buffer, bytes)| Some((buffer?, bytes))).filter(|(_, bytes)| *bytes > 0).collect()
    }
}

impl Bound {
    /// Records the dispatches of a number of rows. False, with nothing recorded, if they are not bound.
    fn record(&self, inner: &Inner, rows: u64, pass: &mut wgpu::ComputePass<'_>) -> bool {
        let Some(steps) = self.steps.get(&rows) else { return false };
        if steps.iter().any(|step| self.groups[step.group].bind_group.is_none()) {
            return false;
        }
        let mut current = None;
        for Step { group, offset, workgroups: [x, y] } in steps {
            let Group { cut, bind_group, .. } = &self.groups[*group];
            let stage = inner.cuts[*cut].stage;
            if current != Some(stage) {
                pass.set_pipeline(&inner.stages[stage].compiled.pipeline);
                current = Some(stage);
            }
            pass.set_bind_group(0, bind_group.as_ref(), &[*offset]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
        true
    }

    /// Forgets all numbers of rows but one, and what only they were bound to.
    fn forget(&mut self, keep: u64) {
        self.steps.retain(|rows, _| *rows == keep);
        let mut groups: Vec<Option<Group>> = std::mem::take(&mut self.groups).into_iter().map(Some).collect();
        let mut places = HashMap::new();
        for step in self.steps.values_mut().flatten() {
            let old = step.group;
            if let Some(group) = groups[old].take() {
                places.insert(old, self.groups.len());
                self.groups.push(group);
            }
            step.group = places[&old];
        }
    }
}

impl Inner {
    /// Bytes that the call needs of the device's scratch.
    pub(super) fn scratch_bytes(&self) -> Bytes {
        self.scratch
    }

    /// Lets go of scratch that has become another buffer.
    pub(super) fn let_go_of_scratch(&self) {
        for group in &mut self.write().groups {
            if self.cuts[group.cut].uses_shared_scratch() {
                group.bind_group = None;
            }
        }
    }

    fn add(&self, rows: u64) -> Result<(), Error> {
        self.add_to(&mut self.write(), rows)
    }

    /// Adds a number of rows.
    fn add_to(&self, bound: &mut Bound, rows: u64) -> Result<(), Error> {
        let shared = self.kernels.shared();
        let dispatches = dispatches(&self.stages, &self.cuts, rows, self.kernels.caps());
        if bound.steps.len() >= Prepared::ROW_COUNTS {
            bound.forget(self.capacity);
        }
        let reserved = dispatches
            .iter()
            .map(|(cut, dispatch)| {
                let Cut { stage, uniform, .. } = &self.cuts[*cut];
                let uniform = uniform.of(&self.stages[*stage].plan, dispatch);
                shared.uniforms.reserve(&shared.device, &uniform)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        // What is bound is kept only if wgpu has no complaint.
        let stale: Vec<usize> =
            (0..bound.groups.len()).filter(|group| bound.groups[*group].bind_group.is_none()).collect();
        let mut new: Vec<Group> = Vec::new();
        let result = checked(&shared.device, "creating bind groups", || {
            Uniforms::write(&shared.queue, &reserved);
            self.bind_again(bound);
            let mut buffers = None;
            let mut steps = Vec::with_capacity(dispatches.len());
            for ((cut, dispatch), reserved) in dispatches.iter().zip(&reserved) {
                let slot = &reserved.slot;
                let is_its = |group: &Group| group.cut == *cut && Arc::ptr_eq(&group.chunk, &slot.chunk);
                let group = bound.groups.iter().chain(&new).position(is_its).unwrap_or_else(|| {
                    let buffers = buffers.get_or_insert_with(|| shared.scratch());
                    let bind_group = Some(self.bind_group(*cut, &slot.chunk, buffers));
                    new.push(Group { cut: *cut, chunk: Arc::clone(&slot.chunk), bind_group });
                    bound.groups.len() + new.len() - 1
                });
                steps.push(Step { group, offset: slot.offset, workgroups: dispatch.workgroups });
            }
            steps
        });
        if result.is_err() {
            stale.iter().for_each(|group| bound.groups[*group].bind_group = None);
        }
        let steps = result?;
        shared.uniforms.publish(&reserved);
        bound.groups.append(&mut new);
        bound.steps.insert(rows, steps);
        Ok(())
    }

    /// Binds what has let go of its scratch.
    fn bind_again(&self, bound: &mut Bound) {
        let mut buffers = None;
        for group in bound.groups.iter_mut().filter(|group| group.bind_group.is_none()) {
            let buffers = buffers.get_or_insert_with(|| self.kernels.shared().scratch());
            group.bind_group = Some(self.bind_group(group.cut, &group.chunk, buffers));
        }
    }

    fn bind_group(&self, cut: usize, chunk: &Chunk, scratch: &Buffers) -> wgpu::BindGroup {
        let Cut { stage, windows, .. } = &self.cuts[cut];
        let Stage { compiled, label, .. } = &self.stages[*stage];
        let bound = |buffer, offset, length| {
            let size = wgpu::BufferSize::new(length);
            wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
        };
        let mut entries = Vec::with_capacity(1 + windows.len());
        let resource = bound(&chunk.buffer, 0, Uniform::BYTES as u64);
        entries.push(wgpu::BindGroupEntry { binding: 0, resource });
        for (binding, window) in (1..).zip(windows) {
            let buffer = match &window.source {
                Source::Given(buffer) => Some(buffer),
                Source::Shared(part) => scratch[*part as usize].as_ref(),
            };
            // Scratch is there for as long as a call is that needs it.
            let Some(buffer) = buffer else { continue };
            let resource = bound(buffer, window.begin, window.length);
            entries.push(wgpu::BindGroupEntry { binding, resource });
        }
        self.kernels.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(label),
            layout: &compiled.layout,
            entries: &entries,
        })
    }

    /// A thread that panicked while it held the lock left a state that is whole: groups are added before the
    /// steps that use them.
    fn read(&self) -> RwLockReadGuard<'_, Bound> {
        self.bound.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Bound> {
        self.bound.write().unwrap_or_else(PoisonError::into_inner)
    }
}
