//! Running, checking and timing workloads.

use super::check::Inputs;
use super::contestant::{Contestant, Duel, Turn};
use super::copy::{CopyCall, CopyForm, CopyKernel};
use super::set::{Set, padded};
use super::summary::Summary;
use super::timer::{Clock, Sample, Timer};
use super::workload::Workload;
use crate::error::Error;
use crate::gpu::{Context, LayerNorm, describe_adapter, required_features, required_limits};
use crate::plan::Plan;
use crate::types::{Dtype, Element};
use crate::verify::OutputError;
use half::{bf16, f16};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;
use web_time::Instant;

/// How much is spent on a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How long call and copy are timed. Checking, finding the fastest copy and warming up come on top, about
    /// as long together. A workload whose calls are slower than this gets the least number of rounds.
    pub budget: Duration,
    /// The least time of a submit, so that starting it and waiting for it, a few hundredths to tenths of a
    /// millisecond, count for little.
    pub least_submit: Duration,
    /// Bytes of all sets of buffers together, more than caches hold. Workloads below a hundredth of that get
    /// no more than [`Options::MOST_SETS`] sets, which caches may hold, as they would in an application.
    pub rotation_bytes: u64,
}

impl Options {
    /// The most sets of buffers that calls take turns on.
    pub const MOST_SETS: usize = 63;
    /// The fewest rounds, one submit of call and copy each, that a result is the median of.
    pub const LEAST_ROUNDS: usize = 5;
    /// The most rounds.
    pub const MOST_ROUNDS: usize = 101;
}

impl Default for Options {
    /// Half a second a workload, submits of 10 milliseconds (in browsers, where waiting takes longer, 30),
    /// 256 MiB.
    fn default() -> Self {
        let least_submit = if cfg!(target_arch = "wasm32") { 30 } else { 10 };
        Self {
            budget: Duration::from_millis(500),
            least_submit: Duration::from_millis(least_submit),
            rotation_bytes: 256 << 20,
        }
    }
}

/// What became of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What was run.
    pub workload: Workload,
    /// How: the plans of the call in the order of their dispatches, that of the kernel which reads the rows
    /// first.
    pub plans: Vec<Plan>,
    /// The worst error of each output.
    pub errors: Vec<OutputError>,
    /// What is wrong with the outputs, a sentence each.
    pub failures: Vec<String>,
    /// `None` if an output is wrong: what computes something else is not timed.
    pub timing: Option<Timing>,
}

/// The times of a call and of the copy that it is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// What both were timed by.
    pub clock: Clock,
    /// Submits of each.
    pub rounds: usize,
    /// Calls in a submit of the call, and of the copy.
    pub calls: [u32; 2],
    /// Sets of buffers that the calls took turns on.
    pub sets: usize,
    /// Seconds of one call.
    pub call: Summary,
    /// Seconds of one copy of the same bytes.
    pub copy: Summary,
    /// The fastest form of copy, which that is.
    pub copy_form: CopyForm,
    /// [`Workload::bytes`].
    pub bytes: u64,
}

impl Timing {
    /// The least bytes that the call has to move, by the time that it takes.
    #[must_use]
    pub fn gigabytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.call.median / 1e9
    }

    /// The same of the copy.
    #[must_use]
    pub fn copy_gigabytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.copy.median / 1e9
    }

    /// 1 where the call is as fast as the copy, 0.5 where it takes twice as long.
    #[must_use]
    pub fn copy_ratio(&self) -> f64 {
        self.copy.median / self.call.median
    }
}

/// Opens an adapter with all that the kernels can use of it, and timestamps if it has them.
///
/// # Errors
/// [`Error::Device`] where it cannot be opened.
pub async fn open(adapter: &wgpu::Adapter) -> Result<Context, Error> {
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("wgpu-layernorm/bench"),
        required_features: required_features(adapter)
            | (adapter.features() & wgpu::Features::TIMESTAMP_QUERY),
        required_limits: required_limits(adapter),
        ..wgpu::DeviceDescriptor::default()
    };
    match adapter.request_device(&descriptor).await {
        Ok((device, queue)) => Ok(Context::from_device(device, queue)),
        Err(error) => Err(Error::Device {
            doing: "opening the adapter",
            message: format!("{}: {error}", describe_adapter(&adapter.get_info())),
        }),
    }
}

/// Times workloads on one device, one after the other. It remembers which copy was the fastest of each size.
#[derive(Debug)]
pub struct Bench {
    context: Context,
    pub(super) options: Options,
    pub(super) timer: Timer,
    /// The fastest form for some tensors.
    fastest: HashMap<CopyKey, CopyForm>,
    /// By form, inputs, outputs and whether all its workgroups are whole.
    copies: HashMap<(CopyForm, usize, usize, bool), CopyKernel>,
}

/// Inputs, outputs, and bytes of each.
type CopyKey = (usize, usize, u64);

impl Bench {
    /// Gets ready to time on a device; timestamps are used if it was opened with them, as [`open`] does.
    ///
    /// # Errors
    /// [`Error::Device`] where wgpu fails.
    pub fn new(context: &Context, options: Options) -> Result<Self, Error> {
        let timer = Timer::new(context)?;
        Ok(Self { context: context.clone(), options, timer, fastest: HashMap::new(), copies: HashMap::new() })
    }

    /// The device.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Checks and times a workload.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the workload is; [`Error::Unsupported`] where the device lacks what it needs;
    /// [`Error::Device`] where wgpu fails. Wrong results are no error: they are in the [`Measurement`].
    pub async fn measure(&mut self, workload: &Workload) -> Result<Measurement, Error> {
        use Dtype::{Bf16, F16, F32};
        workload.validate()?;
        match (workload.problem.dtype, workload.problem.parameter_dtype) {
            (F32, F32) => self.measure_typed::<f32, f32>(workload).await,
            (F16, F16) => self.measure_typed::<f16, f16>(workload).await,
            (F16, F32) => self.measure_typed::<f16, f32>(workload).await,
            (Bf16, Bf16) => self.measure_typed::<bf16, bf16>(workload).await,
            (Bf16, F32) => self.measure_typed::<bf16, f32>(workload).await,
            (dtype, parameter_dtype) => Err(Error::invalid("parameter_dtype", parameter_dtype, dtype)),
        }
    }

    pub(super) const fn options(&self) -> Options {
        self.options
    }

    async fn measure_typed<T: Element, P: Element>(
        &mut self,
        workload: &Workload,
    ) -> Result<Measurement, Error> {
        let inputs = Inputs::<T, P>::new(workload)?;
        let norm = self.context.layer_norm(&workload.problem)?;
        let (first, plans) = Set::first(&self.context, &norm, workload, &inputs)?;
        let (errors, failures) = first.check(&self.context, &inputs).await?;
        let mut measurement = Measurement { workload: *workload, plans, errors, failures, timing: None };
        if measurement.failures.is_empty() {
            let sets = self.sets(&norm, workload, first)?;
            measurement.timing = Some(self.time(workload, &sets).await?);
        }
        Ok(measurement)
    }

    /// As many sets as it takes to have a set leave the caches before its next turn.
    pub(super) fn sets(&self, norm: &LayerNorm, workload: &Workload, first: Set) -> Result<Vec<Set>, Error> {
        let count = self.options.rotation_bytes.div_ceil(workload.bytes()).min(Options::MOST_SETS as u64);
        // An odd number: whatever the numbers of calls in a submit, call and copy then both come to all sets.
        let count = count | 1;
        let mut sets = vec![first];
        for _ in 1..count {
            let set = sets[0].another(&self.context, norm, workload)?;
            sets.push(set);
        }
        Ok(sets)
    }

    async fn time(&mut self, workload: &Workload, sets: &[Set]) -> Result<Timing, Error> {
        let form = self.fastest_copy(workload, sets).await?;
        let copies = self.copy_calls(form, workload, sets)?;
        let call = |set: usize, pass: &mut wgpu::ComputePass<'_>| sets[set].call.record(pass);
        let copy = |set: usize, pass: &mut wgpu::ComputePass<'_>| copies[set].record(pass);
        let Duel { clock, rounds, calls, times: [call, copy] } =
            self.duel(call, copy, sets.len(), Options::LEAST_ROUNDS, self.options.budget).await?;
        Ok(Timing {
            clock,
            rounds,
            calls,
            sets: sets.len(),
            call,
            copy,
            copy_form: form,
            bytes: workload.bytes(),
        })
    }

    /// Times two things in turn, `least_rounds` times each and as often as `budget` allows.
    pub(super) async fn duel(
        &self,
        one: impl Fn(usize, &mut wgpu::ComputePass<'_>),
        other: impl Fn(usize, &mut wgpu::ComputePass<'_>),
        sets: usize,
        least_rounds: usize,
        budget: Duration,
    ) -> Result<Duel, Error> {
        let (mut one, mut other) = (Contestant::new(one), Contestant::new(other));
        let mut turn = Turn { next: 0, sets };
        one.warm_up(self, &mut turn).await?;
        other.warm_up(self, &mut turn).await?;
        let start = Instant::now();
        let mut rounds = 0;
        while rounds < least_rounds || (rounds < Options::MOST_ROUNDS && start.elapsed() < budget) {
            one.run(self, &mut turn).await?;
            other.run(self, &mut turn).await?;
            rounds += 1;
        }
        let all: Vec<Sample> = one.samples.iter().chain(&other.samples).copied().collect();
        let clock = Clock::choose(&all);
        Ok(Duel {
            clock,
            rounds,
            calls: [one.calls, other.calls],
            times: [one.summary(clock), other.summary(clock)],
        })
    }

    /// The form of copy that takes the least time for the workload's tensors.
    async fn fastest_copy(&mut self, workload: &Workload, sets: &[Set]) -> Result<CopyForm, Error> {
        let key = copy_key(workload);
        if let Some(form) = self.fastest.get(&key) {
            return Ok(*form);
        }
        let mut turn = Turn { next: 0, sets: sets.len() };
        let mut calls = Vec::new();
        for form in CopyForm::ALL {
            match self.copy_calls(form, workload, sets) {
                Ok(copies) => calls.push((form, copies)),
                // A device with small workgroups has fewer forms.
                Err(error) if error.is_unsupported() => {}
                Err(error) => return Err(error),
            }
        }
        let mut contestants: Vec<_> = calls
            .iter()
            .map(|(form, copies)| {
                let record = |set: usize, pass: &mut wgpu::ComputePass<'_>| copies[set].record(pass);
                (*form, Contestant::new(record))
            })
            .collect();
        for (_, contestant) in &mut contestants {
            contestant.warm_up(self, &mut turn).await?;
        }
        for _ in 0..3 {
            for (_, contestant) in &mut contestants {
                contestant.run(self, &mut turn).await?;
            }
        }
        let all: Vec<Sample> =
            contestants.iter().flat_map(|(_, contestant)| contestant.samples.iter().copied()).collect();
        let clock = Clock::choose(&all);
        let fastest = contestants
            .iter()
            .map(|(form, contestant)| (*form, contestant.summary(clock).median))
            .inspect(|(form, seconds)| log::debug!("copy {}: {seconds:.3e} s", form.name()))
            .min_by(|(_, a), (_, b)| a.total_cmp(b));
        let Some((form, _)) = fastest else {
            let most = self.context.caps().max_invocations;
            return Err(Error::unsupported("invocations per workgroup", most, "64 for a copy"));
        };
        if let (Some((_, copies)), Some(set)) = (calls.iter().find(|(other, _)| *other == form), sets.first())
        {
            self.check_copy(form, &copies[0], set).await?;
        }
        self.fastest.insert(key, form);
        Ok(form)
    }

    /// That a copy does copy: one that does nothing would be fast.
    async fn check_copy(&self, form: CopyForm, copy: &CopyCall, set: &Set) -> Result<(), Error> {
        self.timer.time(|pass| copy.record(pass)).await?;
        let buffers: Vec<_> = set.inputs.iter().chain(&set.outputs).collect();
        let downloads = self.context.run(&[], &buffers).await?;
        let (inputs, outputs) = downloads.split_at(set.inputs.len());
        let is_right = |at: usize| {
            let expected = inputs.iter().fold(0, |word, input| word ^ input[at]);
            outputs.iter().all(|output| output[at] == expected)
        };
        if (0..inputs.first().map_or(0, Vec::len)).all(is_right) {
            return Ok(());
        }
        Err(Error::Device {
            doing: "copying",
            message: format!("the plain copy {} has left something else than its inputs", form.name()),
        })
    }

    /// A copy for each set.
    fn copy_calls(
        &mut self,
        form: CopyForm,
        workload: &Workload,
        sets: &[Set],
    ) -> Result<Vec<CopyCall>, Error> {
        let device = self.context.device();
        let (inputs, outputs, bytes) = copy_key(workload);
        let is_whole = form.is_whole(bytes, &device.limits());
        let kernel = match self.copies.entry((form, inputs, outputs, is_whole)) {
            Entry::Occupied(kernel) => kernel.into_mut(),
            Entry::Vacant(place) => place.insert(CopyKernel::new(device, form, inputs, outputs, is_whole)?),
        };
        sets.iter()
            .map(|set| {
                let inputs: Vec<_> = set.inputs.iter().collect();
                let outputs: Vec<_> = set.outputs.iter().collect();
                kernel.call(device, bytes, &inputs, &outputs)
            })
            .collect()
    }
}

fn copy_key(workload: &Workload) -> CopyKey {
    let Workload { operation, .. } = workload;
    (operation.inputs(), operation.outputs(), padded(workload.tensor_bytes()))
}
