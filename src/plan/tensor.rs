//! The tensors that a plan binds, and how they lie in their buffers.

use super::{Forward, Operation, Plan, Tensor};
use crate::op::{Shape, Stored, Used};
use crate::types::Dtype;
use std::ops::Index;

/// How a tensor's elements lie in a buffer, for a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Storage {
    /// float32.
    F32,
    /// float16 as WGSL's own type; needs `enable f16;`. It alone can store a single element without touching
    /// its neighbor, so it serves rows whose elements do not pair up.
    NativeF16,
    /// float16, two in a u32, by `unpack2x16float`: 16 bytes move 8 elements, on adapters with and without
    /// f16.
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

    /// Bytes of an element.
    #[must_use]
    pub const fn element_bytes(self) -> u32 {
        self.dtype().size()
    }

    /// What is stored.
    #[must_use]
    pub const fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::NativeF16 | Self::PackedF16 => Dtype::F16,
            Self::PackedBf16 => Dtype::Bf16,
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

/// The storages of a plan's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Storages([Storage; Stored::CHOSEN.len()]);

impl Storages {
    /// One storage for all tensors that have a choice.
    #[must_use]
    pub const fn all(storage: Storage) -> Self {
        Self([storage; Stored::CHOSEN.len()])
    }

    /// Those of a problem's dtypes.
    pub(super) fn new(storage: impl Fn(Stored) -> Storage) -> Self {
        Self(Stored::CHOSEN.map(storage))
    }

    /// All of them, the rows' first.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Stored, Storage)> + '_ {
        Stored::CHOSEN.into_iter().zip(self.0)
    }

    /// Whether all rows have one.
    pub(crate) fn is_one(&self) -> bool {
        Stored::OTHERS.iter().all(|stored| self[*stored] == self[Stored::AsRows])
    }

    /// Whether any is one of these.
    pub(crate) fn any(&self, storages: &[Storage]) -> bool {
        self.0.iter().any(|storage| storages.contains(storage))
    }
}

impl Index<Stored> for Storages {
    type Output = Storage;

    fn index(&self, stored: Stored) -> &Storage {
        Stored::CHOSEN
            .iter()
            .position(|chosen| *chosen == stored)
            .map_or(&Storage::F32, |place| &self.0[place])
    }
}

impl Plan {
    /// The tensors that the kernel uses, in the order of their bindings.
    #[must_use]
    pub fn used(&self) -> Vec<Used> {
        self.operation.used(self.kernel, self.affine, self.activation)
    }

    /// The tensors that the shader binds, in the order of their bindings, 1 onwards (0 is the parameters'
    /// uniform).
    #[must_use]
    pub fn tensors(&self) -> Vec<Tensor> {
        let is_bound = |used: &Used| used.bound == used.tensor;
        self.used().into_iter().filter(is_bound).map(|used| used.tensor).collect()
    }

    /// Whether the shader binds a tensor and writes to it.
    #[must_use]
    pub fn writes(&self, tensor: Tensor) -> bool {
        self.used().iter().any(|used| used.tensor == tensor && used.uses.writes > 0)
    }

    /// Whether it has rows as a whole alone: y in codes, and backward that
    /// [does not split them](Backward::splits_rows).
    pub(crate) const fn wants_whole_rows(&self) -> bool {
        match self.operation {
            Operation::Backward(backward) => !backward.splits_rows(),
            _ => self.writes_codes(),
        }
    }

    /// Whether y is written in codes.
    pub(crate) const fn writes_codes(&self) -> bool {
        matches!(self.operation, Operation::Forward(Forward { codes: Some(_), .. }))
    }

    /// How a tensor of the plan's operation is stored.
    #[must_use]
    pub fn storage(&self, tensor: Tensor) -> Storage {
        self.operation.facts(tensor).map_or(Storage::F32, |facts| self.storages[facts.stored])
    }

    /// The shape of a tensor of the plan's operation.
    pub(crate) fn shape(&self, tensor: Tensor) -> Option<Shape> {
        self.operation.facts(tensor).map(|facts| facts.shape)
    }
}
