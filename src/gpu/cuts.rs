//! A call cut into dispatches: what of each stays the same whatever rows are recorded.

use super::buffers::check_usage;
use super::call::Call;
use super::pipelines::Compiled;
use super::placed::Placed;
use super::scratch::{Bytes, Part};
use crate::error::Error;
use crate::plan::{
    Caps, Dispatch, Kernel, Numbers, Outer, Place, Plan, Span, Tensor, Uniform, inner_columns,
    place_among_inner_rows,
};
use std::ops::Range;
use std::sync::Arc;

/// A binding holds one element at least, of up to 16 bytes.
const LEAST_BINDING_BYTES: u64 = 16;

/// A plan of a call, and its dispatches at the call's capacity.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) plan: Plan,
    pub(super) compiled: Arc<Compiled>,
    /// Of bind groups.
    pub(super) label: String,
    /// Its part of the call's cuts.
    pub(super) cuts: Range<usize>,
}

/// A dispatch of a call at the call's capacity. With fewer rows it has fewer, or none.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) stage: usize,
    pub(super) first_row: u64,
    pub(super) rows: u32,
    /// In the order of the bindings, from 1 on.
    pub(super) windows: Vec<Window>,
    pub(super) uniform: Uniform,
}

impl Cut {
    pub(super) fn uses_shared_scratch(&self) -> bool {
        self.windows.iter().any(|window| matches!(window.source, Source::Shared(_)))
    }
}

/// A part of a buffer.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) source: Source,
    pub(super) begin: u64,
    pub(super) length: u64,
}

/// Whose buffer it is a part of.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Given(wgpu::Buffer),
    /// The device's scratch, whichever buffer that is when the call is recorded.
    Shared(Part),
}

/// The dispatches of `rows` rows, with the number of each one's cut.
pub(super) fn dispatches(stages: &[Stage], cuts: &[Cut], rows: u64, caps: &Caps) -> Vec<(usize, Dispatch)> {
    let mut dispatches = Vec::with_capacity(cuts.len());
    let mut partial_rows = 0;
    for Stage { plan, cuts: range, .. } in stages {
        if plan.kernel == Kernel::BackwardReduceParameters {
            dispatches.extend(range.clone().map(|cut| (cut, plan.reduce_dispatch(partial_rows, caps))));
            continue;
        }
        let mut earlier = 0;
        for (i, cut) in range.clone().zip(&cuts[range.clone()]) {
            let left = u32::try_from(rows.saturating_sub(cut.first_row)).unwrap_or(u32::MAX);
            if left == 0 {
                break;
            }
            let dispatch = plan.dispatch(cut.first_row, left.min(cut.rows), earlier, caps);
            earlier = plan.partial_rows_after(&dispatch);
            dispatches.push((i, dispatch));
        }
        partial_rows = earlier.max(partial_rows);
    }
    dispatches
}

/// The plans of a call with their dispatches, and where its tensors and its scratch lie.
pub(super) struct Layout<'c, 'a> {
    call: &'c Call<'a>,
    caps: &'c Caps,
    /// Of each plan.
    dispatches: Vec<Vec<Dispatch>>,
    /// Bytes of each part of scratch.
    pub(super) scratch: Bytes,
    row_partials: Span,
    /// The rows inside an outer row, where a tensor has such; else 1.
    inner_rows: u32,
    spans: Vec<Span>,
}

impl<'c, 'a> Layout<'c, 'a> {
    pub(super) fn new<'p>(
        call: &'c Call<'a>,
        plans: impl Iterator<Item = &'p Plan> + Clone,
        caps: &'c Caps,
    ) -> Result<Self, Error> {
        // A binding cannot be empty, not even where there are no rows.
        let mut scratch = [0; 2];
        let row_partials = plans.clone().map(Plan::row_partials).max().unwrap_or(0);
        if let Some(plan) = plans.clone().find(|plan| plan.row_partials() > 0) {
            scratch[Part::RowPartials as usize] = plan.row_partials_bytes(call.rows).max(LEAST_BINDING_BYTES);
        }
        let begin = call.scratch.map_or(0, |own| own.offset().next_multiple_of(alignment(caps)));
        let cols = 4 * row_partials;
        let row_partials =
            Span { offset: begin / 4, stride: cols.into(), cols, element_bytes: 4, ..Span::default() };
        let mut spans = call.spans();
        if cols > 0 {
            spans.push(row_partials);
        }
        let inner_rows = match plans.clone().next() {
            Some(plan) => plan.inner_rows(&spans)?,
            None => 1,
        };
        let mut dispatches = Vec::new();
        for plan in plans {
            if plan.kernel == Kernel::BackwardReduceParameters {
                dispatches.push(vec![plan.reduce_dispatch(0, caps)]);
                continue;
            }
            let of_plan = plan.dispatches(call.rows, &spans, caps);
            let of_plan = of_plan.map_err(|error| with_tensor(error, call, caps))?;
            if plan.parameter_gradients() > 0 {
                let most_rows = of_plan.iter().map(|dispatch| dispatch.rows).max().unwrap_or(0);
                scratch[Part::Partials as usize] =
                    plan.most_scratch_bytes(most_rows.into()).max(LEAST_BINDING_BYTES);
            }
            dispatches.push(of_plan);
        }
        Ok(Self { call, caps, dispatches, scratch, row_partials, inner_rows, spans })
    }

    /// Bytes of a buffer of the caller's for all scratch: from any offset in a buffer, as windows are bound
    /// from multiples of the device's alignment.
    pub(super) fn own_scratch_bytes(&self) -> u64 {
        if self.scratch == [0; 2] {
            return 0;
        }
        self.partials_begin(0) + self.scratch[Part::Partials as usize] + alignment(self.caps)
    }

    /// Row partials come first: how many bytes they are does not depend on how a call is cut.
    fn partials_begin(&self, row_partials_begin: u64) -> u64 {
        let end = row_partials_begin + self.scratch[Part::RowPartials as usize];
        end.next_multiple_of(alignment(self.caps))
    }

    /// That the caller's scratch is large enough, and can be bound.
    pub(super) fn check_own_scratch(&self) -> Result<(), Error> {
        let Some(own) = self.call.scratch.filter(|_| self.scratch != [0; 2]) else { return Ok(()) };
        check_usage("scratch", own.buffer())?;
        let begin = own.offset().next_multiple_of(alignment(self.caps));
        let end = self.partials_begin(begin) + self.scratch[Part::Partials as usize];
        if end > own.offset() + own.size() {
            let needs = self.own_scratch_bytes();
            return Err(Error::BufferTooSmall { buffer: "scratch", has: own.size(), needs, unit: "bytes" });
        }
        match self.call.tensors.iter().find(|placed| placed.is_within(own.buffer(), begin, end)) {
            None => Ok(()),
            Some(placed) => Err(Error::Overlap {
                written: "scratch",
                other: placed.tensor.name(),
                why: "scratch is written, and needs to lie apart",
            }),
        }
    }

    pub(super) fn has_dispatches(&self, plan: usize) -> bool {
        !self.dispatches[plan].is_empty()
    }

    /// The cuts of a plan, whose stage has a number of its own.
    pub(super) fn cuts(
        &self,
        number: usize,
        stage: usize,
        plan: &Plan,
        numbers: &Numbers,
    ) -> Result<Vec<Cut>, Error> {
        let inner_columns = match self.call.cols_of_sums() {
            Some(cols) if plan.kernel == Kernel::BackwardReduceParameters => cols,
            _ => inner_columns(&self.spans, plan.cols)?,
        };
        let of_plan = self.dispatches[number].iter();
        of_plan
            .map(|dispatch| {
                let tensors = plan.tensors();
                let windows = tensors.iter().map(|tensor| {
                    let why = "the kernel uses it, and the call has none";
                    let missing = Error::MissingBuffer { buffer: tensor.name(), why };
                    self.window(*tensor, dispatch).ok_or(missing)
                });
                let windows: Vec<Window> = windows.collect::<Result<_, Error>>()?;
                let places = self.places(plan, dispatch, &tensors, &windows);
                let [first_inner_row, inner_rows] =
                    place_among_inner_rows(dispatch.first_row, self.inner_rows);
                let outer = Outer { strides: plan.strides, first_inner_row, inner_rows, inner_columns };
                let uniform = Uniform::new(&places, numbers, outer);
                Ok(Cut { stage, first_row: dispatch.first_row, rows: dispatch.rows, windows, uniform })
            })
            .collect()
    }

    /// The part of a tensor's buffer that a dispatch accesses.
    fn window(&self, tensor: Tensor, dispatch: &Dispatch) -> Option<Window> {
        if let Some(placed) = self.call.get(tensor) {
            let (first, rows) = rows_of(placed, dispatch);
            let (begin, length) = placed.span.window(first, rows, self.caps.storage_alignment);
            return Some(Window { source: Source::Given(placed.buffer.clone()), begin, length });
        }
        let (part, begin, length) = match tensor {
            Tensor::RowPartials => {
                let (first, rows) = (dispatch.first_row, dispatch.rows.into());
                let (begin, length) = self.row_partials.window(first, rows, self.caps.storage_alignment);
                (Part::RowPartials, begin, length)
            }
            Tensor::Partials => {
                let own = self.call.scratch.map(|_| self.partials_begin(self.row_partials.offset * 4));
                (Part::Partials, own.unwrap_or(0), self.scratch[Part::Partials as usize])
            }
            _ => return None,
        };
        let source = match self.call.scratch {
            Some(own) => Source::Given(own.buffer().clone()),
            None => Source::Shared(part),
        };
        Some(Window { source, begin, length })
    }

    fn places(&self, plan: &Plan, dispatch: &Dispatch, tensors: &[Tensor], windows: &[Window]) -> Vec<Place> {
        let place = |(tensor, window): (&Tensor, &Window)| {
            let (span, first) = match (self.call.get(*tensor), tensor) {
                (Some(placed), _) => (&placed.span, rows_of(placed, dispatch).0),
                (None, Tensor::RowPartials) => (&self.row_partials, dispatch.first_row),
                // Partial sums begin where their window does.
                _ => return plan.place_of_partials(),
            };
            // `Plan::dispatches` keeps windows, and with them starts and strides that matter, below 2^32
            // bytes. The stride of a single row may be longer, and is not used.
            let start = (span.row_byte(first) - window.begin) / u64::from(span.element_bytes);
            let outer_stride = match span.inner_columns {
                0 => span.outer_stride,
                _ => span.outer_column_stride,
            };
            let [start, row_stride, column_stride, outer_stride] =
                [start, span.stride, span.column_stride, outer_stride]
                    .map(|elements| u32::try_from(elements).unwrap_or(u32::MAX));
            let outer_stride = (span.inner_rows > 0 || span.inner_columns > 0).then_some(outer_stride);
            if self.call.get(*tensor).is_some_and(|placed| placed.is_reversed) {
                // The shader's sum of both wraps around to the column that lies before the first.
                let (start, column_stride) =
                    (start.wrapping_add(column_stride), column_stride.wrapping_neg());
                return Place { start, row_stride, column_stride, outer_stride };
            }
            Place { start, row_stride, column_stride, outer_stride }
        };
        let of_tensor = |tensor_and_window: (&Tensor, &Window)| {
            plan.with_rows_of_parameters(*tensor_and_window.0, place(tensor_and_window))
        };
        tensors.iter().zip(windows).map(of_tensor).collect()
    }
}

/// Where a row does not fit a binding, whose it is: plans do not know tensors by their spans.
fn with_tensor(error: Error, call: &Call<'_>, caps: &Caps) -> Error {
    let bytes = |placed: &&Placed<'_>| placed.span.window(0, 1, caps.storage_alignment).1;
    // The first of those that are as long.
    match (error, call.tensors.iter().rev().max_by_key(bytes)) {
        (Error::Unsupported { what, has, .. }, Some(widest)) if bytes(&widest) > caps.max_binding_bytes => {
            let needs = format!("at least {} for one row of {}", bytes(&widest), widest.tensor.name());
            Error::Unsupported { what, has, needs }
        }
        (error, _) => error,
    }
}

/// That browsers take the windows of a dispatch: no two of one buffer may have bytes in common if one is
/// written.
pub(super) fn check_windows(plan: &Plan, cuts: &[Cut]) -> Result<(), Error> {
    let tensors = plan.tensors();
    for windows in cuts.iter().map(|cut| &cut.windows) {
        let bound: Vec<_> = tensors.iter().zip(windows).collect();
        for (i, (first, window)) in bound.iter().enumerate() {
            for (second, other) in &bound[i + 1..] {
                let (Source::Given(a), Source::Given(b)) = (&window.source, &other.source) else { continue };
                let is_written = plan.binds_read_write(**first) || plan.binds_read_write(**second);
                let overlaps =
                    window.begin < other.begin + other.length && other.begin < window.begin + window.length;
                if a == b && is_written && overlaps {
                    let swap = !plan.writes(**first) && plan.writes(**second);
                    let (written, other) = if swap { (second, first) } else { (first, second) };
                    return Err(Error::Overlap {
                        written: written.name(),
                        other: other.name(),
                        why: "a browser binds each tensor from a multiple of the device's storage alignment on, and \
                              lets no two bindings of a dispatch have bytes in common if one is written",
                    });
                }
            }
        }
    }
    Ok(())
}

/// What parts of scratch begin at a multiple of: a binding may begin there, and a vec4.
fn alignment(caps: &Caps) -> u64 {
    u64::from(caps.storage_alignment.max(16))
}

/// The rows of a tensor that a dispatch accesses: gain and bias have one, which serves all.
fn rows_of(placed: &Placed<'_>, dispatch: &Dispatch) -> (u64, u64) {
    match (placed.span.stride, placed.span.inner_rows) {
        (0, 0) => (0, 1),
        _ => (dispatch.first_row, dispatch.rows.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, BufferRows, Context, ForwardBuffers};
    use crate::plan::Forward;
    use crate::types::{Affine, Problem};

    /// Two rows of 16 values, x from the start of a buffer and y after it.
    fn check(y_offset: u64, y_stride: u64, storage_alignment: u32) -> Result<(), Error> {
        let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
        let buffer = context.create("pool", 4096).unwrap();
        let problem = Problem { cols: 16, affine: Affine::None, ..Problem::default() };
        let y = BufferRows::at_element(&buffer, y_offset).with_stride(y_stride);
        let call = Call::forward(&problem, &ForwardBuffers::new(2, &buffer, y)).unwrap();
        let caps = Caps { storage_alignment, ..Caps::webgpu_default() };
        let plan = Plan::forward(&problem, Forward::default(), 8, &caps).unwrap();
        let plan = plan.with_pooled(call.pooled(&plan));
        assert!(plan.binds_read_write(Tensor::X));
        let layout = Layout::new(&call, std::iter::once(&plan), &caps).unwrap();
        check_windows(&plan, &layout.cuts(0, 0, &plan, &Numbers::new(1e-5))?)
    }

    #[test]
    fn windows_that_browsers_refuse_are_refused_with_the_reason() {
        assert_eq!(check(64, 16, 256), Ok(()));
        // 128 bytes of x; y begins after them, its window does not.
        assert_eq!(check(32, 16, 128), Ok(()));
        let error = check(32, 16, 256).unwrap_err();
        assert!(matches!(error, Error::Overlap { written: "y", other: "x", .. }), "{error:?}");
        assert!(error.to_string().contains("a browser binds"), "{error}");
        check(68, 16, 256).unwrap();
        check(60, 20, 256).unwrap_err();
    }
}
