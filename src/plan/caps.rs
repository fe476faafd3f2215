//! What a plan needs to know of an adapter, as plain numbers: no device, so that plans are made and tested
//! anywhere.

use super::quirks::{self, AdapterNames};
use crate::error::Error;
use crate::types::by_name;
use std::fmt;
use std::str::FromStr;

/// Whether shaders run on a GPU or are emulated on a CPU. It decides which end of the ladder wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdapterKind {
    /// Thousands of invocations at once: many threads a row.
    Gpu,
    /// lavapipe, `SwiftShader`, WARP, llvmpipe: a workgroup is a loop on one core, a barrier a context
    /// switch.
    Software,
}

impl AdapterKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Gpu, Self::Software];

    /// `gpu` or `software`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Software => "software",
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AdapterKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("adapter kind", &Self::ALL, Self::name, name)
    }
}

/// The subgroup sizes that an adapter may choose between; which one a pipeline gets is the driver's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubgroupSizes {
    /// The smallest, a power of two from 4.
    pub min: u32,
    /// The largest, a power of two to 128.
    pub max: u32,
}

/// What a thread of a GPU holds of rows in registers: the most that the ladder gives it, or less where a
/// driver's compiler puts some of it into memory. Written with `..`, over [`MOST`](Self::MOST).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegisterBudget {
    /// vec4s of its row that a thread of `forward_cached` holds.
    pub forward_vec4: u32,
    /// The same where a residual is added to the row.
    pub residual_vec4: u32,
    /// vec4s of x, and as many of dy, that a thread of `backward_cached` holds beside the sums of dgain and
    /// dbias.
    pub backward_vec4: u32,
    /// Rows that a thread of `backward_streamed` works on at a time, a power of two.
    pub block_rows: u32,
}

impl RegisterBudget {
    /// What AMD's compiler carries without a spill, what is fastest on NVIDIA's GPUs, and what is taken where
    /// nothing is known. No adapter has more.
    pub const MOST: Self = Self {
        // 8 where that carries the row, else 16: 8192 columns with 128 invocations, 16,384 with 256, which
        // beats more threads (H200: 1024x16384 at 0.85 of the copy, 0.70 with 512, 0.63 with 1024).
        forward_vec4: 16,
        residual_vec4: 16,
        // x, dy, the sums of dgain and of dbias: four times this.
        backward_vec4: 4,
        // The updates of the partial sums in memory, two reads and two writes of a float32 row, then cost at
        // most a quarter of the rows' own traffic.
        block_rows: 4,
    };

    /// The fields, each with its name.
    pub(super) const fn fields(&self) -> [(&'static str, u32); 4] {
        [
            ("registers.forward_vec4", self.forward_vec4),
            ("registers.residual_vec4", self.residual_vec4),
            ("registers.backward_vec4", self.backward_vec4),
            ("registers.block_rows", self.block_rows),
        ]
    }

    /// The less of both, of each.
    pub(super) fn at_most(self, other: Self) -> Self {
        Self {
            forward_vec4: self.forward_vec4.min(other.forward_vec4),
            residual_vec4: self.residual_vec4.min(other.residual_vec4),
            backward_vec4: self.backward_vec4.min(other.backward_vec4),
            block_rows: self.block_rows.min(other.block_rows),
        }
    }
}

/// The capabilities of an adapter or device that decide between plans. Written with `..`, over
/// [`webgpu_default`](Self::webgpu_default), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caps {
    /// GPU or software.
    pub kind: AdapterKind,
    /// The subgroup sizes, or `None` where subgroup operations are missing or not to be used.
    pub subgroup: Option<SubgroupSizes>,
    /// Whether every subgroup of a workgroup is known to be full, where its size divides the workgroup's.
    /// Reductions then take no barrier for rows within a subgroup; else they find out, and take one.
    pub full_subgroups: bool,
    /// Whether shaders may use `enable f16;`.
    pub shader_f16: bool,
    /// Whether kernels may access memory in words of 64 bits. Only a software adapter gains from it: there an
    /// access is a loop over lanes, whose cost is that of its components, whatever their size.
    pub shader_int64: bool,
    /// Whether the driver's compiler writes out loops with constant trips behind the bound that naga adds to
    /// them, and keeps the arrays that they index in registers. Mesa's does for AMD, where some texts that
    /// are written out spill registers. For others the text is written out, see
    /// [`Plan::unroll`](super::Plan::unroll).
    pub unrolls_loops: bool,
    /// Whether texts for a software adapter are to be short, and accesses to be of 64-bit words where there
    /// are any: Mesa's compiler takes a time that grows with the square of a text. Others take longer for
    /// what makes them short.
    pub short_texts: bool,
    /// What a thread of a GPU holds of rows in registers.
    pub registers: RegisterBudget,
    /// Invocations in a workgroup.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub max_workgroup_bytes: u32,
    /// Storage buffers in a compute stage.
    pub max_storage_buffers: u32,
    /// Workgroups in one dimension of a dispatch.
    pub max_workgroups: u32,
    /// Bytes of one storage buffer binding.
    pub max_binding_bytes: u64,
    /// Bytes that the offset of a storage buffer binding must be a multiple of.
    pub storage_alignment: u32,
    /// Loop trips of one invocation, over all loops of the shader together, before the driver stops looping.
    /// 65,535 on lavapipe of Mesa 22, which stops in silence; `u32::MAX` elsewhere.
    pub max_loop_trips: u32,
}

impl Caps {
    /// The loop trips of lavapipe in Mesa 22, measured with 22.3.6.
    pub const LAVAPIPE_22_LOOP_TRIPS: u32 = 65_535;

    /// WebGPU's default limits on a GPU without subgroups and without f16: what every adapter has.
    #[must_use]
    pub const fn webgpu_default() -> Self {
        Self {
            kind: AdapterKind::Gpu,
            subgroup: None,
            full_subgroups: false,
            shader_f16: false,
            shader_int64: false,
            unrolls_loops: false,
            short_texts: false,
            registers: RegisterBudget::MOST,
            max_invocations: 256,
            max_workgroup_bytes: 16_384,
            max_storage_buffers: 8,
            max_workgroups: 65_535,
            max_binding_bytes: 128 << 20,
            storage_alignment: 256,
            max_loop_trips: u32::MAX,
        }
    }

    /// The caps that an adapter reports, corrected by what is known of its driver: which one has full
    /// subgroups, unrolls loops, stops them early, spills registers that others do not, or is better with
    /// fewer invocations than it allows.
    /// `caps_of_device` does so by itself; this is for hosts without wgpu. What an adapter does not report,
    /// it does not get.
    ///
    /// ```
    /// use wgpu_layernorm::plan::{AdapterBackend, AdapterKind, AdapterNames, Caps};
    ///
    /// let reported = Caps { kind: AdapterKind::Software, ..Caps::webgpu_default() };
    /// let adapter = AdapterNames {
    ///     backend: AdapterBackend::Vulkan,
    ///     vendor: 0x10005,
    ///     name: "llvmpipe (LLVM 15.0.6, 256 bits)",
    ///     driver: "llvmpipe, Mesa 22.3.6 (LLVM 15.0.6)",
    /// };
    /// let caps = reported.corrected_for(&adapter);
    /// assert_eq!(caps.max_loop_trips, Caps::LAVAPIPE_22_LOOP_TRIPS);
    /// // No subgroups were reported.
    /// assert_eq!(caps.subgroup, None);
    /// ```
    #[must_use]
    pub fn corrected_for(self, adapter: &AdapterNames<'_>) -> Self {
        quirks::apply(self, adapter)
    }
}
