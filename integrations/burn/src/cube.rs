//! The norms on `CubeCL`'s tensors: a launch for each kernel, on the tensors' own memory, in the order of
//! burn's own work.

use crate::backend::{Gradients, Inputs, Maybe, NormOps, Outputs};
use crate::caps;
use crate::kernels::{Kernel, Stage};
use crate::launch::{Bound, launch, reduce};
use crate::norm::{Kind, Norm, Parameters, Wanted};
use crate::rows;
use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::prelude::Client;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use std::sync::Arc;
use wgpu_layernorm::plan::{Backward, Caps, Forward, Span, Strides, Tensor};
use wgpu_layernorm::{Channels, Error, Gradient, Problem};

impl NormOps for CubeBackend {
    fn norm_forward(x: FloatTensor<Self>, inputs: Inputs<Self>, norm: Norm, keep: bool) -> Outputs<Self> {
        let Inputs { residual, gain, bias } = inputs;
        let [residual, gain, bias] = [residual, gain, bias].map(Maybe::into_option);
        let (shape, rows) = (x.shape(), norm.rows(&x.shape()));
        let y = empty(&x, shape.clone(), x.dtype);
        let sum = residual.as_ref().map(|_| empty(&x, shape.clone(), x.dtype));
        let statistics = keep.then(|| empty(&x, Shape::from([rows, 2]), DType::F32));
        if !is_empty(&shape) {
            let parameters = parameters(gain.as_ref(), bias.is_some());
            let forward = Forward { residual: sum.is_some(), statistics: keep, ..Forward::default() };
            let mut call = Call::new(&norm, &x, rows, parameters);
            call.rows(Tensor::X, x);
            call.rows_if(Tensor::Residual, residual);
            call.parameter_if(Tensor::Gain, gain);
            call.parameter_if(Tensor::Bias, bias);
            call.output(Tensor::Y, &y);
            call.output_if(Tensor::Sum, sum.as_ref());
            call.statistics(statistics.as_ref());
            call.run(Stage::Forward(forward));
        }
        Outputs { y, sum: sum.into(), statistics: statistics.into() }
    }

    fn norm_backward(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gain: Maybe<Self>,
        norm: Norm,
        wanted: Wanted,
    ) -> Gradients<Self> {
        let gain = gain.into_option();
        let (shape, rows) = (x.shape(), norm.rows(&x.shape()));
        let of_gain = |is_wanted: bool| gain.as_ref().filter(|_| is_wanted);
        let dx = wanted.x.then(|| empty(&x, shape.clone(), x.dtype));
        if is_empty(&shape) {
            // Sums of nothing.
            let zeros =
                |gain: &CubeTensor| Self::float_zeros(gain.shape(), &gain.device(), gain.dtype.into());
            let [gain, bias] = [wanted.gain, wanted.bias].map(|is_wanted| of_gain(is_wanted).map(zeros));
            return Gradients { x: dx.into(), gain: gain.into(), bias: bias.into() };
        }
        let [dgain, dbias] = [wanted.gain, wanted.bias]
            .map(|is_wanted| of_gain(is_wanted).map(|gain| empty(gain, gain.shape(), gain.dtype)));
        let gradient = |tensor: &Option<CubeTensor>| tensor.as_ref().map(|_| Gradient::Overwrite);
        let backward = Backward {
            dx: gradient(&dx),
            dgain: gradient(&dgain),
            dbias: gradient(&dbias),
            ..Backward::default()
        };
        let parameters = parameters(gain.as_ref(), wanted.bias);
        let mut call = Call::new(&norm, &x, rows, parameters);
        call.rows(Tensor::X, x);
        call.rows(Tensor::Dy, dy);
        call.statistics(Some(&statistics));
        call.parameter_if(Tensor::Gain, gain);
        call.output_if(Tensor::Dx, dx.as_ref());
        // Where groups have several channels of several columns, a kernel of its own takes the sums, and
        // backward has dx alone.
        let is_apart =
            call.problem.channels.is_some_and(|channels| channels.per_row() > 1 && channels.spatial > 1);
        if dx.is_some() && (is_apart || !backward.has_parameters()) {
            call.run(Stage::Backward(backward));
        }
        if backward.has_parameters() {
            let sums = if is_apart { Stage::ChannelSums(backward) } else { Stage::Backward(backward) };
            let partial_rows = call.run_with_partials(sums);
            call.gradient_if(Tensor::Dgain, dgain.as_ref());
            call.gradient_if(Tensor::Dbias, dbias.as_ref());
            call.reduce(Stage::Reduce(backward), partial_rows);
        }
        Gradients { x: dx.into(), gain: dgain.into(), bias: dbias.into() }
    }
}

fn is_empty(shape: &Shape) -> bool {
    shape.num_elements() == 0
}

fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

fn parameters(gain: Option<&CubeTensor>, has_bias: bool) -> Parameters {
    match gain {
        None => Parameters::None,
        Some(gain) if has_bias => Parameters::GainBias(gain.dtype),
        Some(gain) => Parameters::Gain(gain.dtype),
    }
}

/// The tensors of a call, each with its place.
struct Call {
    problem: Problem,
    caps: Caps,
    /// Rows are groups of channels: several of the axes before the last are a row's.
    is_grouped: bool,
    rows: u64,
    client: Client,
    tensors: Vec<Bound>,
    /// The rows inside an outer row that tensors have which came before.
    inner_rows: u64,
}

impl Call {
    /// # Panics
    /// If the kernels cannot do it: `operations` has asked them before, and has taken burn's own.
    fn new(norm: &Norm, x: &CubeTensor, rows: usize, parameters: Parameters) -> Self {
        let caps = caps::of(&x.device).unwrap_or_else(|name| panic!("{name} takes no WGSL"));
        let problem = norm.problem(&x.shape(), x.dtype, parameters).unwrap_or_else(|error| panic!("{error}"));
        let is_grouped = matches!(norm.kind, Kind::Groups(_));
        let (rows, client, tensors) = (rows as u64, x.client.clone(), Vec::new());
        Self { problem, caps, is_grouped, rows, client, tensors, inner_rows: 0 }
    }

    /// A tensor of x's shape that is read: where it lies, if its rows are what kernels take, else a copy.
    fn rows(&mut self, tensor: Tensor, x: CubeTensor) {
        let dense = self.dense(x.elem_size());
        let found = match self.is_grouped {
            true => x.is_contiguous().then_some(dense),
            false => rows::span(x.meta.shape(), x.meta.strides(), x.elem_size()),
        };
        // A tiled tensor's strides are those of its tiles. Outer rows have as many rows in all tensors.
        let is_taken = |span: &Span| {
            !x.meta.is_tiled() && (span.inner_rows == 0 || [0, span.inner_rows].contains(&self.inner_rows))
        };
        let (handle, span) = match found.filter(is_taken) {
            Some(span) => (x.handle, span),
            None => (into_contiguous(x).handle, dense),
        };
        self.inner_rows = self.inner_rows.max(span.inner_rows);
        self.tensors.push(Bound { tensor, handle, span });
    }

    fn rows_if(&mut self, tensor: Tensor, x: Option<CubeTensor>) {
        if let Some(x) = x {
            self.rows(tensor, x);
        }
    }

    /// Rows one after the other.
    fn dense(&self, element_bytes: usize) -> Span {
        let cols = self.problem.cols;
        let element_bytes = u32::try_from(element_bytes).unwrap_or(u32::MAX);
        Span { stride: cols.into(), cols, element_bytes, ..Span::default() }
    }

    fn output(&mut self, tensor: Tensor, y: &CubeTensor) {
        let span = self.dense(y.elem_size());
        self.tensors.push(Bound { tensor, handle: y.handle.clone(), span });
    }

    fn output_if(&mut self, tensor: Tensor, y: Option<&CubeTensor>) {
        if let Some(y) = y {
            self.output(tensor, y);
        }
    }

    /// Gain or bias, which all rows share.
    fn parameter_if(&mut self, tensor: Tensor, parameter: Option<CubeTensor>) {
        if let Some(parameter) = parameter {
            self.gradient_if(tensor, Some(&into_contiguous(parameter)));
        }
    }

    fn gradient_if(&mut self, tensor: Tensor, gradient: Option<&CubeTensor>) {
        if let Some(gradient) = gradient {
            let span =
                Span { stride: 0, cols: self.problem.parameters(), ..self.dense(gradient.elem_size()) };
            self.tensors.push(Bound { tensor, handle: gradient.handle.clone(), span });
        }
    }

    fn statistics(&mut self, statistics: Option<&CubeTensor>) {
        if let Some(statistics) = statistics {
            let handle = into_contiguous(statistics.clone()).handle;
            let span = Span { stride: 2, cols: 2, ..Span::default() };
            self.tensors.push(Bound { tensor: Tensor::Statistics, handle, span });
        }
    }

    fn kernel(&self, stage: Stage) -> Result<Arc<Kernel>, Error> {
        // Statistics are accessed one by one, and so are parameters of channels with several columns.
        let is_by_column = |channels: Channels| channels.spatial == 1 && channels.per_row() > 1;
        let has_wide_parameters = self.problem.channels.is_none_or(is_by_column);
        let is_wide = |bound: &&Bound| match bound.tensor {
            Tensor::X | Tensor::Residual | Tensor::Y | Tensor::Sum | Tensor::Dy | Tensor::Dx => true,
            Tensor::Gain | Tensor::Bias | Tensor::Dgain | Tensor::Dbias => has_wide_parameters,
            _ => false,
        };
        let wide = self.tensors.iter().filter(is_wide);
        let width = wide.clone().map(|bound| bound.span.vector_width()).min().unwrap_or(1);
        let strides = wide.map(|bound| Strides::of(&bound.span)).max().unwrap_or_default();
        Kernel::of(&self.problem, stage, width, strides, &self.caps)
    }

    fn run(&self, stage: Stage) {
        let kernel = self.kernel(stage).unwrap_or_else(|error| panic!("{error}"));
        launch(&self.client, &kernel, &self.caps, self.rows, &self.tensors, self.problem.eps);
    }

    /// The same of a kernel that leaves partial sums. How many there are.
    fn run_with_partials(&mut self, stage: Stage) -> u32 {
        let kernel = self.kernel(stage).unwrap_or_else(|error| panic!("{error}"));
        let bytes = kernel.plan.most_scratch_bytes(self.rows).max(16);
        let partials = self.client.empty(usize::try_from(bytes).unwrap_or(usize::MAX));
        let span = Span { stride: 0, cols: 0, ..Span::default() };
        self.tensors.push(Bound { tensor: Tensor::Partials, handle: partials, span });
        launch(&self.client, &kernel, &self.caps, self.rows, &self.tensors, self.problem.eps)
    }

    fn reduce(&self, stage: Stage, partial_rows: u32) {
        let kernel = self.kernel(stage).unwrap_or_else(|error| panic!("{error}"));
        reduce(&self.client, &kernel, &self.caps, partial_rows, &self.tensors);
    }
}
