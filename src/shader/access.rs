//! How the elements of each storage are loaded and stored.

use super::text::{for_tensor, of_inner_row, segment};
use crate::op::{Shape, Used};
use crate::plan::{Kernel, Plan, Storage, Tensor};

/// The type of the elements of a binding's array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementType {
    /// One float32.
    F32,
    /// Two of them.
    Vec2F32,
    /// Four of them.
    Vec4F32,
    /// A float16 of WGSL's own.
    F16,
    /// A word of two 16-bit values, or of four codes.
    U32,
    /// Such a word, whose halves different threads write.
    AtomicU32,
    /// Two words of 32 bits.
    Vec2U32,
    /// Four of them.
    Vec4U32,
    /// Four words of 64 bits, of two float32 or four 16-bit values each.
    Vec4U64,
}

impl ElementType {
    /// Its type in WGSL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Vec2F32 => "vec2<f32>",
            Self::Vec4F32 => "vec4<f32>",
            Self::F16 => "f16",
            Self::U32 => "u32",
            Self::AtomicU32 => "atomic<u32>",
            Self::Vec2U32 => "vec2<u32>",
            Self::Vec4U32 => "vec4<u32>",
            Self::Vec4U64 => "vec4<u64>",
        }
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::F16 => 2,
            Self::F32 | Self::U32 | Self::AtomicU32 => 4,
            Self::Vec2F32 | Self::Vec2U32 => 8,
            Self::Vec4F32 | Self::Vec4U32 => 16,
            Self::Vec4U64 => 32,
        }
    }
}

/// The type of a binding's elements.
pub(super) fn element(plan: &Plan, tensor: Tensor, writable: bool) -> ElementType {
    match plan.shape(tensor) {
        Some(Shape::Statistics | Shape::PerRow | Shape::One) => return ElementType::F32,
        Some(Shape::Codes) => return ElementType::U32,
        Some(Shape::RowPartials) => return ElementType::Vec4F32,
        _ => {}
    }
    let is_by_one = has_channels(plan, tensor)
        || (tensor == Tensor::Partials
            && (plan.kernel == Kernel::BackwardChannelSums
                || plan.leaves_channel_sums()
                || plan.is_across()));
    let vector_width = if is_by_one { 1 } else { plan.vector_width };
    match (plan.storage(tensor), vector_width) {
        (Storage::F32, 8) if plan.uses_int64() => ElementType::Vec4U64,
        (_, 16) => ElementType::Vec4U64,
        (Storage::F32, 4 | 8) => ElementType::Vec4F32,
        (Storage::F32, 2) => ElementType::Vec2F32,
        (Storage::F32, _) => ElementType::F32,
        (Storage::NativeF16, _) => ElementType::F16,
        (Storage::PackedF16 | Storage::PackedBf16, 8) => ElementType::Vec4U32,
        (Storage::PackedF16 | Storage::PackedBf16, 4) => ElementType::Vec2U32,
        (Storage::PackedF16 | Storage::PackedBf16, 1) if writable => ElementType::AtomicU32,
        (Storage::PackedF16 | Storage::PackedBf16, _) => ElementType::U32,
    }
}

/// The accessors that `text` calls, of those tensors whose values lie in rows of their own.
pub(super) fn accessors(plan: &Plan, text: &str) -> String {
    let mut accessors = String::new();
    let has_columns = |used: &Used| {
        !matches!(
            used.shape,
            Shape::Codes | Shape::PerRow | Shape::One | Shape::Statistics | Shape::RowPartials
        )
    };
    for Used { tensor, bound, .. } in plan.used().into_iter().filter(has_columns) {
        let is_called = |what: &str| text.contains(&format!("{what}_{}(", tensor.name()));
        if is_called("load") {
            let load = for_tensor(load(plan, tensor, bound), tensor, bound);
            segment(&mut accessors, &if has_inner_rows(plan, tensor) { of_inner_row(&load) } else { load });
        }
        if is_called("store") {
            segment(&mut accessors, &for_tensor(store(plan, tensor), tensor, bound));
        }
    }
    accessors
}

/// Whether a tensor has a value for each channel, or for each column of rows side by side, which are accessed
/// one by one.
fn has_channels(plan: &Plan, tensor: Tensor) -> bool {
    (plan.has_single_parameters() || plan.is_across()) && plan.shape(tensor) == Some(Shape::Cols)
}

/// Whether a tensor has a row of values for each inner row, which those of the outer rows share.
fn has_inner_rows(plan: &Plan, tensor: Tensor) -> bool {
    plan.has_rows_of(tensor)
}

/// `load_<tensor>`, through the binding of `bound`.
fn load(plan: &Plan, tensor: Tensor, bound: Tensor) -> &'static str {
    if has_channels(plan, tensor) {
        return match plan.storage(tensor) {
            Storage::F32 => wgsl!("io/load/channel_f32"),
            Storage::NativeF16 => wgsl!("io/load/channel_native_f16"),
            _ if plan.binds_read_write(bound) => wgsl!("io/load/channel_packed_atomic"),
            _ => wgsl!("io/load/channel_packed"),
        };
    }
    match (plan.storage(tensor), plan.vector_width) {
        (Storage::F32, 8) if plan.uses_int64() => wgsl!("io/load/f32_words"),
        (Storage::F32, 16) => wgsl!("io/load/f32_words_x16"),
        (_, 16) => wgsl!("io/load/packed_words"),
        (Storage::F32, 8) => wgsl!("io/load/f32_x8"),
        (Storage::F32, 4) => wgsl!("io/load/f32_x4"),
        (Storage::F32, 2) => wgsl!("io/load/f32_x2"),
        (Storage::F32, _) => wgsl!("io/load/f32_x1"),
        (Storage::NativeF16, _) => wgsl!("io/load/native_f16_x1"),
        (Storage::PackedF16 | Storage::PackedBf16, 8) => wgsl!("io/load/packed_x8"),
        (Storage::PackedF16 | Storage::PackedBf16, 4) => wgsl!("io/load/packed_x4"),
        (Storage::PackedF16 | Storage::PackedBf16, 2) => wgsl!("io/load/packed_x2"),
        (Storage::PackedF16 | Storage::PackedBf16, _) if plan.binds_read_write(bound) => {
            wgsl!("io/load/packed_x1_atomic")
        }
        (Storage::PackedF16 | Storage::PackedBf16, _) => wgsl!("io/load/packed_x1"),
    }
}

/// `store_<tensor>`.
fn store(plan: &Plan, tensor: Tensor) -> &'static str {
    match (plan.storage(tensor), plan.vector_width) {
        (Storage::F32, _) if plan.is_across() => wgsl!("io/store/f32_of_rows"),
        (_, _) if plan.is_across() => wgsl!("io/store/packed_of_rows"),
        (Storage::F32, 8) if plan.uses_int64() => wgsl!("io/store/f32_words"),
        (Storage::F32, 16) => wgsl!("io/store/f32_words_x16"),
        (_, 16) => wgsl!("io/store/packed_words"),
        (Storage::F32, 8) => wgsl!("io/store/f32_x8"),
        (Storage::F32, 4) => wgsl!("io/store/f32_x4"),
        (Storage::F32, 2) => wgsl!("io/store/f32_x2"),
        (Storage::F32, _) => wgsl!("io/store/f32_x1"),
        (Storage::NativeF16, _) => wgsl!("io/store/native_f16_x1"),
        (Storage::PackedF16 | Storage::PackedBf16, 8) => wgsl!("io/store/packed_x8"),
        (Storage::PackedF16 | Storage::PackedBf16, 4) => wgsl!("io/store/packed_x4"),
        (Storage::PackedF16 | Storage::PackedBf16, 2) => wgsl!("io/store/packed_x2"),
        (Storage::PackedF16 | Storage::PackedBf16, _) => wgsl!("io/store/packed_x1_atomic"),
    }
}

/// What the words of packed storage mean, and what a value becomes when it is stored.
pub(super) fn format(plan: &Plan) -> &'static str {
    // Of 16-bit types a plan has one at most.
    if plan.storages.any(&[Storage::PackedBf16]) {
        wgsl!("io/format/packed_bf16")
    } else if plan.storages.any(&[Storage::NativeF16, Storage::PackedF16]) {
        // A sum rounded by WGSL's own f16 and back is left as it was by NVIDIA's compiler.
        if plan.short { wgsl!("io/format/packed_f16_bits") } else { wgsl!("io/format/packed_f16") }
    } else {
        wgsl!("io/format/f32")
    }
}
