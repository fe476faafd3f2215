//! The tensors that a plan binds, and how they lie in their buffers.

use super::{Kernel, Operation, Plan};
use crate::types::Dtype;

/// The tensors that kernels bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the formulas in the crate's documentation")]
pub enum Tensor {
    X,
    Residual,
    Gain,
    Bias,
    Y,
    Sum,
    Statistics,
    Dy,
    Dx,
    Dgain,
    Dbias,
    /// The partial sums of dgain and dbias, `[partial_rows, 1 or 2, cols]` in float32.
    Partials,
    /// What the chunks of a row leave for one another, moments or sums: `[rows, row_partials, 4]` in float32.
    RowPartials,
}

impl Tensor {
    /// The name in the shaders, in errors and in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Residual => "residual",
            Self::Gain => "gain",
            Self::Bias => "bias",
            Self::Y => "y",
            Self::Sum => "sum",
            Self::Statistics => "statistics",
            Self::Dy => "dy",
            Self::Dx => "dx",
            Self::Dgain => "dgain",
            Self::Dbias => "dbias",
            Self::Partials => "partials",
            Self::RowPartials => "row_partials",
        }
    }
}

/// How a tensor's elements lie in a buffer, for a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// float32.
    F32,
    /// float16 as WGSL's own type; needs `enable f16;`. It alone can store a single element without touching its
    /// neighbour, so it serves rows whose elements do not pair up.
    NativeF16,
    /// float16, two in a u32, by `unpack2x16float`: 16 bytes move 8 elements, on adapters with and without f16.
    PackedF16,
    /// bfloat16, two in a u32, by bit operations.
    PackedBf16,
}

impl Storage {
    /// `f32`, `native_f16`, `packed_f16` or `packed_bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::NativeF16 => "native_f16",
            Self::PackedF16 => "packed_f16",
            Self::PackedBf16 => "packed_bf16",
        }
    }

    /// The storage of a dtype in rows whose accesses are `vector_width` elements wide.
    pub(super) const fn of(dtype: Dtype, vector_width: u32, shader_f16: bool) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 if vector_width == 1 && shader_f16 => Self::NativeF16,
            Dtype::F16 => Self::PackedF16,
            Dtype::Bf16 => Self::PackedBf16,
        }
    }
}

impl Plan {
    /// The tensors that the shader binds, in the order of their bindings, 1 onwards (0 is the parameters' uniform).
    #[must_use]
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        match self.operation {
            Operation::Forward(forward) if self.kernel == Kernel::ForwardSplitApply => {
                if forward.residual {
                    tensors.push(Tensor::Sum);
                } else if forward.x_in.is_none() {
                    tensors.push(Tensor::X);
                }
                self.push_gain(&mut tensors);
                if self.affine.has_bias() {
                    tensors.push(Tensor::Bias);
                }
                tensors.push(Tensor::Y);
                if forward.statistics {
                    tensors.push(Tensor::Statistics);
                }
            }
            Operation::Forward(forward) => {
                if forward.x_in.is_none() {
                    tensors.push(Tensor::X);
                }
                if forward.residual && forward.residual_in.is_none() {
                    tensors.push(Tensor::Residual);
                }
                self.push_gain(&mut tensors);
                if self.affine.has_bias() {
                    tensors.push(Tensor::Bias);
                }
                if self.kernel != Kernel::ForwardSplitStatistics {
                    tensors.push(Tensor::Y);
                }
                if forward.residual {
                    tensors.push(Tensor::Sum);
                }
                if forward.statistics {
                    tensors.push(Tensor::Statistics);
                }
            }
            Operation::Backward(backward) => {
                if !backward.x_in_dx {
                    tensors.push(Tensor::X);
                }
                if !backward.dy_in_dx {
                    tensors.push(Tensor::Dy);
                }
                self.push_gain(&mut tensors);
                tensors.push(Tensor::Statistics);
                if backward.dx.is_some() {
                    tensors.push(Tensor::Dx);
                }
                if self.parameter_gradients() > 0 {
                    tensors.push(Tensor::Partials);
                }
            }
            Operation::ReduceParameters(backward) => {
                tensors.push(Tensor::Partials);
                if backward.dgain.is_some() {
                    tensors.push(Tensor::Dgain);
                }
                if backward.dbias.is_some() {
                    tensors.push(Tensor::Dbias);
                }
            }
        }
        if self.kernel.is_split() {
            tensors.push(Tensor::RowPartials);
        }
        tensors
    }

    fn push_gain(&self, tensors: &mut Vec<Tensor>) {
        if self.affine.has_gain() {
            tensors.push(Tensor::Gain);
        }
    }

    /// Whether the shader writes to a tensor.
    #[must_use]
    pub const fn writes(&self, tensor: Tensor) -> bool {
        match self.kernel {
            Kernel::ForwardCached | Kernel::ForwardStreamed => {
                matches!(tensor, Tensor::Y | Tensor::Sum | Tensor::Statistics)
            }
            Kernel::ForwardSplitStatistics => matches!(tensor, Tensor::Sum | Tensor::RowPartials),
            Kernel::ForwardSplitApply => matches!(tensor, Tensor::Y | Tensor::Statistics),
            Kernel::BackwardCached | Kernel::BackwardStreamed | Kernel::BackwardSplitApply => {
                matches!(tensor, Tensor::Dx | Tensor::Partials)
            }
            Kernel::BackwardSplitSums => matches!(tensor, Tensor::RowPartials),
            Kernel::BackwardReduceParameters => matches!(tensor, Tensor::Dgain | Tensor::Dbias),
        }
    }
}
