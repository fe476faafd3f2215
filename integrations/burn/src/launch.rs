//! A kernel's dispatches, on `CubeCL`'s memory.

use crate::kernels::{Kernel, Launched};
use burn_cubecl::cubecl::prelude::{BufferIOAttr, Client, CubeCount};
use burn_cubecl::cubecl::server::{Handle, KernelArguments, MetadataBindingInfo};
use std::sync::Arc;
use wgpu_layernorm::plan::{Caps, Dispatch, Numbers, Place, Span, Tensor};

/// A tensor, and where its rows lie in its memory.
pub(crate) struct Bound {
    pub(crate) tensor: Tensor,
    pub(crate) handle: Handle,
    pub(crate) span: Span,
}

/// Launches a kernel over `rows` rows, in as many dispatches as they take. How many partial sums of the
/// parameter gradients there are then.
///
/// # Panics
/// If a row does not fit a binding of the device: `CubeCL` allocates no such tensor.
pub(crate) fn launch(
    client: &Client,
    kernel: &Arc<Kernel>,
    caps: &Caps,
    rows: u64,
    tensors: &[Bound],
    eps: f32,
) -> u32 {
    let bound = bindings(kernel, tensors);
    let of_rows = bound.iter().filter(|bound| bound.tensor != Tensor::Partials);
    let spans: Vec<Span> = of_rows.map(|bound| bound.span).collect();
    let dispatches = kernel.plan.dispatches(rows, &spans, caps).unwrap_or_else(|error| panic!("{error}"));
    for dispatch in &dispatches {
        submit(client, kernel, caps, dispatch, &bound, eps);
    }
    dispatches.iter().map(|dispatch| dispatch.partial_rows).max().unwrap_or(0)
}

/// Launches the kernel that adds up partial sums.
pub(crate) fn reduce(
    client: &Client,
    kernel: &Arc<Kernel>,
    caps: &Caps,
    partial_rows: u32,
    tensors: &[Bound],
) {
    let dispatch = kernel.plan.reduce_dispatch(partial_rows, caps);
    // It reads no eps.
    submit(client, kernel, caps, &dispatch, &bindings(kernel, tensors), 0.0);
}

/// The tensors that a kernel binds, in the order of their bindings.
fn bindings<'a>(kernel: &Kernel, tensors: &'a [Bound]) -> Vec<&'a Bound> {
    let bound = |tensor: &Tensor| {
        let found = tensors.iter().find(|bound| bound.tensor == *tensor);
        found.unwrap_or_else(|| panic!("{} has no tensor {}", kernel.plan.label(), tensor.name()))
    };
    kernel.plan.tensors().iter().map(bound).collect()
}

fn submit(
    client: &Client,
    kernel: &Arc<Kernel>,
    caps: &Caps,
    dispatch: &Dispatch,
    bound: &[&Bound],
    eps: f32,
) {
    let plan = &kernel.plan;
    let mut arguments = KernelArguments::new();
    let mut places = Vec::with_capacity(bound.len());
    for Bound { tensor, handle, span } in bound.iter().copied() {
        let (handle, place) = if *tensor == Tensor::Partials {
            (handle.clone(), plan.place_of_partials())
        } else {
            window(handle, span, dispatch, caps)
        };
        places.push(place);
        let io = match plan.writes(*tensor) {
            // What earlier dispatches have left is added to.
            true if *tensor == Tensor::Partials && dispatch.first_row > 0 => BufferIOAttr::ReadWrite,
            true => BufferIOAttr::WriteOnly,
            false => BufferIOAttr::ReadOnly,
        };
        arguments = arguments.with_buffer_io(handle.binding(), io);
    }
    let uniform = plan.uniform(dispatch, &places, &Numbers::new(eps));
    let words = bytemuck::pod_collect_to_vec::<u8, u64>(&uniform);
    let [x, y] = dispatch.workgroups;
    client.launch(
        Box::new(Launched(Arc::clone(kernel))),
        CubeCount::Static(x, y, 1),
        arguments.with_info(MetadataBindingInfo::custom(words)),
    );
}

/// The part of a tensor's memory that a dispatch accesses, and where its rows lie in it.
fn window(handle: &Handle, span: &Span, dispatch: &Dispatch, caps: &Caps) -> (Handle, Place) {
    // Gain and bias have one row, which serves all.
    let (first, rows) = match (span.stride, span.inner_rows) {
        (0, 0) => (0, 1),
        _ => (dispatch.first_row, dispatch.rows.into()),
    };
    let (begin, length) = span.window(first, rows, caps.storage_alignment);
    // The last window of a tensor may end in the middle of a word, all of which CubeCL binds.
    let after = handle.size_in_used().saturating_sub(begin + length);
    let start = (span.row_byte(first) - begin) / u64::from(span.element_bytes);
    // `Plan::dispatches` keeps windows, and with them all of these that matter, below 2^32 bytes.
    let [start, row_stride, column_stride, outer_stride] =
        [start, span.stride, span.column_stride, span.outer_stride]
            .map(|elements| u32::try_from(elements).unwrap_or(u32::MAX));
    let outer_stride = (span.inner_rows > 0).then_some(outer_stride);
    let place = Place { start, row_stride, column_stride, outer_stride };
    (handle.clone().offset_start(begin).offset_end(after), place)
}
