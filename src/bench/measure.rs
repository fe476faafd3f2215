//! Running, checking and timing workloads.

use super::check::{Inputs, Outputs};
use super::copy::{CopyCall, CopyForm, CopyKernel};
use super::summary::Summary;
use super::timer::{Clock, Sample, Timer};
use super::workload::{Operation, Workload};
use crate::error::Error;
use crate::gpu::{
    BackwardBuffers, Context, ForwardBuffers, LayerNorm, Prepared, checked, describe_adapter,
    required_features, required_limits,
};
use crate::plan::Plan;
use crate::types::{Dtype, Element, Statistics};
use crate::verify::OutputError;
use half::{bf16, f16};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;
use web_time::Instant;

/// How much is spent on a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How long call and copy are timed. Checking, finding the fastest copy and warming up come on top, about as long
    /// together. A workload whose calls are slower than this gets the least number of rounds.
    pub budget: Duration,
    /// The least time of a submit, so that starting it and waiting for it, a few hundredths to tenths of a
    /// millisecond, count for little.
    pub least_submit: Duration,
    /// Bytes of all sets of buffers together, more than caches hold. Workloads below a hundredth of that get no more
    /// than [`Options::MOST_SETS`] sets, which caches may hold, as they would in an application.
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
    /// Half a second a workload, submits of 10 milliseconds (in browsers, where waiting takes longer, 30), 256 MiB.
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
    /// How: the plans of the call in the order of their dispatches, that of the kernel which reads the rows first.
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
    options: Options,
    timer: Timer,
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

/// Tensors end on a whole word of a copy.
const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(CopyKernel::WORD)
}

/// What came of timing two things in turn.
pub(super) struct Duel {
    clock: Clock,
    rounds: usize,
    /// In a submit, of each.
    calls: [u32; 2],
    /// Of one call, of each.
    pub(super) times: [Summary; 2],
}

/// Which set of buffers is next.
struct Turn {
    next: usize,
    sets: usize,
}

impl Turn {
    fn take(&mut self) -> usize {
        let set = self.next;
        self.next = (set + 1) % self.sets;
        set
    }
}

/// Something that is timed; `record` takes the number of the set.
struct Contestant<R> {
    record: R,
    /// In a submit.
    calls: u32,
    samples: Vec<Sample>,
}

/// The most calls in a submit: recording takes time and memory too.
const MOST_CALLS: u32 = 10_000;

impl<R: Fn(usize, &mut wgpu::ComputePass<'_>)> Contestant<R> {
    const fn new(record: R) -> Self {
        Self { record, calls: 1, samples: Vec::new() }
    }

    async fn submit(&self, bench: &Bench, turn: &mut Turn) -> Result<Sample, Error> {
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
    async fn warm_up(&mut self, bench: &Bench, turn: &mut Turn) -> Result<(), Error> {
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

    async fn run(&mut self, bench: &Bench, turn: &mut Turn) -> Result<(), Error> {
        let sample = self.submit(bench, turn).await?;
        self.samples.push(sample);
        Ok(())
    }

    /// Of one call.
    fn summary(&self, clock: Clock) -> Summary {
        let times: Vec<Duration> = self.samples.iter().map(|sample| sample.by(clock)).collect();
        Summary::of(&times).unwrap_or_default().per_call(self.calls)
    }
}

/// The buffers of a call, and the call over them.
pub(super) struct Set {
    pub(super) call: Prepared,
    /// x and, where there is one, residual or dy.
    inputs: Vec<wgpu::Buffer>,
    /// y, or sum and y, or dx.
    outputs: Vec<wgpu::Buffer>,
    gain: Option<wgpu::Buffer>,
    bias: Option<wgpu::Buffer>,
    statistics: Option<wgpu::Buffer>,
    dgain: Option<wgpu::Buffer>,
    dbias: Option<wgpu::Buffer>,
}

/// What a call reads.
struct InputBuffers {
    inputs: Vec<wgpu::Buffer>,
    gain: Option<wgpu::Buffer>,
    bias: Option<wgpu::Buffer>,
    statistics: Option<wgpu::Buffer>,
}

/// What a call writes.
struct OutputBuffers {
    outputs: Vec<wgpu::Buffer>,
    dgain: Option<wgpu::Buffer>,
    dbias: Option<wgpu::Buffer>,
}

impl Set {
    /// A set with the inputs in it, and the plans of its call.
    pub(super) fn first<T: Element, P: Element>(
        context: &Context,
        norm: &LayerNorm,
        workload: &Workload,
        inputs: &Inputs<T, P>,
    ) -> Result<(Self, Vec<Plan>), Error> {
        let rows = |label: &str, block: &[u8], bytes: u64| repeat(context, label, block, padded(bytes));
        let mut tensors = vec![rows("x", inputs.x(), workload.tensor_bytes())?];
        if workload.operation.inputs() > 1 {
            tensors.push(rows("residual or dy", inputs.second(), workload.tensor_bytes())?);
        }
        let vector = |label: &str, values: &Option<Vec<P>>| {
            values.as_ref().map(|values| context.upload(label, values)).transpose()
        };
        let is_backward = matches!(workload.operation, Operation::Backward | Operation::BackwardDx);
        let buffers = InputBuffers {
            inputs: tensors,
            gain: vector("gain", &inputs.gain)?,
            bias: if is_backward { None } else { vector("bias", &inputs.bias)? },
            statistics: is_backward
                .then(|| {
                    let bytes = workload.rows * size_of::<Statistics>() as u64;
                    rows("statistics", &inputs.statistics(), bytes)
                })
                .transpose()?,
        };
        let outputs = OutputBuffers::new(context, workload)?;
        Self::over(norm, workload, buffers, outputs)
    }

    /// A set with the same inputs in other buffers; gain and bias, which all rows share, are shared by all sets.
    fn another(&self, context: &Context, norm: &LayerNorm, workload: &Workload) -> Result<Self, Error> {
        let copy = |buffer: &wgpu::Buffer| -> Result<wgpu::Buffer, Error> {
            let copy = context.create("input", buffer.size())?;
            checked(context.device(), "copying the inputs", || {
                let mut encoder =
                    context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, buffer.size());
                context.queue().submit([encoder.finish()]);
            })?;
            Ok(copy)
        };
        let buffers = InputBuffers {
            inputs: self.inputs.iter().map(copy).collect::<Result<_, _>>()?,
            gain: self.gain.clone(),
            bias: self.bias.clone(),
            statistics: self.statistics.as_ref().map(copy).transpose()?,
        };
        Ok(Self::over(norm, workload, buffers, OutputBuffers::new(context, workload)?)?.0)
    }

    /// A call over the same buffers, by another normalisation.
    pub(super) fn call_of(&self, norm: &LayerNorm, workload: &Workload) -> Result<(Self, Vec<Plan>), Error> {
        let inputs = InputBuffers {
            inputs: self.inputs.clone(),
            gain: self.gain.clone(),
            bias: self.bias.clone(),
            statistics: self.statistics.clone(),
        };
        let outputs = OutputBuffers {
            outputs: self.outputs.clone(),
            dgain: self.dgain.clone(),
            dbias: self.dbias.clone(),
        };
        Self::over(norm, workload, inputs, outputs)
    }

    /// Prepares the call.
    fn over(
        norm: &LayerNorm,
        workload: &Workload,
        inputs: InputBuffers,
        outputs: OutputBuffers,
    ) -> Result<(Self, Vec<Plan>), Error> {
        let InputBuffers { inputs, gain, bias, statistics } = inputs;
        let OutputBuffers { outputs, dgain, dbias } = outputs;
        let Workload { operation, rows, .. } = *workload;
        let (call, plans) = match (&inputs[..], &outputs[..], &statistics) {
            ([x, residual @ ..], [others @ .., y], None) => {
                let buffers = ForwardBuffers {
                    residual: residual.first().map(Into::into),
                    gain: gain.as_ref().map(Into::into),
                    bias: bias.as_ref().map(Into::into),
                    sum: others.first().map(Into::into),
                    ..ForwardBuffers::new(rows, x, y)
                };
                (norm.prepare_forward(&buffers)?, norm.plan_forward(&buffers)?)
            }
            ([x, dy], [dx], Some(statistics)) => {
                let buffers = BackwardBuffers {
                    gain: gain.as_ref().map(Into::into),
                    dx: Some(dx.into()),
                    dgain: dgain.as_ref().map(Into::into),
                    dbias: dbias.as_ref().map(Into::into),
                    ..BackwardBuffers::new(rows, x, dy, statistics)
                };
                (norm.prepare_backward(&buffers)?, norm.plan_backward(&buffers)?)
            }
            _ => return Err(Error::invalid("operation", operation.name(), "one whose tensors are known")),
        };
        Ok((Self { call, inputs, outputs, gain, bias, statistics, dgain, dbias }, plans))
    }

    /// Runs the call once, over outputs full of NaN, and judges what it has written.
    pub(super) async fn check<T: Element, P: Element>(
        &self,
        context: &Context,
        inputs: &Inputs<T, P>,
    ) -> Result<(Vec<OutputError>, Vec<String>), Error> {
        let buffers: Vec<_> = self.outputs.iter().chain(&self.dgain).chain(&self.dbias).collect();
        // What an earlier call has left here would pass for this one's.
        let poison = vec![0xff; POISON_BYTES];
        buffers.iter().for_each(|buffer| fill(context, buffer, &poison));
        let downloads = context.run(&[&self.call], &buffers).await?;
        let (rows, parameters) = downloads.split_at(self.outputs.len());
        let mut parameters = parameters.iter().map(Vec::as_slice);
        inputs.judge(&Outputs {
            rows: rows.iter().map(Vec::as_slice).collect(),
            dgain: self.dgain.as_ref().and_then(|_| parameters.next()),
            dbias: self.dbias.as_ref().and_then(|_| parameters.next()),
        })
    }
}

impl OutputBuffers {
    fn new(context: &Context, workload: &Workload) -> Result<Self, Error> {
        let Workload { operation, problem, .. } = *workload;
        let outputs: Vec<wgpu::Buffer> = (0..operation.outputs())
            .map(|_| context.create("output", padded(workload.tensor_bytes())))
            .collect::<Result<_, _>>()?;
        let parameter = |wanted: bool, label: &str| {
            let bytes = u64::from(problem.cols) * u64::from(problem.parameter_dtype.size());
            (wanted && operation == Operation::Backward).then(|| context.create(label, bytes)).transpose()
        };
        let dgain = parameter(problem.affine.has_gain(), "dgain")?;
        let dbias = parameter(problem.affine.has_bias(), "dbias")?;
        Ok(Self { outputs, dgain, dbias })
    }
}

/// A part of what outputs are filled with before a check: all bits set, a NaN in every storage.
const POISON_BYTES: usize = 1 << 20;

/// A buffer of `bytes` bytes, a multiple of 4, that hold `block` again and again.
fn repeat(context: &Context, label: &str, block: &[u8], bytes: u64) -> Result<wgpu::Buffer, Error> {
    let buffer = context.create(label, bytes)?;
    fill(context, &buffer, block);
    Ok(buffer)
}

/// Fills a buffer with `block` again and again. Sent in parts, so that the host needs no memory for all of it.
fn fill(context: &Context, buffer: &wgpu::Buffer, block: &[u8]) {
    const PART_BYTES: u64 = 32 << 20;
    let bytes = buffer.size();
    // Two blocks are a multiple of 4 bytes, as writes have to be.
    let tile = if block.len().is_multiple_of(4) { block.to_vec() } else { block.repeat(2) };
    let (mut offset, mut sent) = (0, 0);
    while offset < bytes {
        let count = (bytes - offset).min(tile.len() as u64);
        #[allow(clippy::cast_possible_truncation, reason = "at most the length of the tile")]
        context.queue().write_buffer(buffer, offset, &tile[..count as usize]);
        offset += count;
        sent += count;
        if sent >= PART_BYTES {
            sent = 0;
            context.queue().submit([]);
        }
    }
}
