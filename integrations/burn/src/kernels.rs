//! The kernels of a device: plans, their texts, and how `CubeCL` knows them.

use burn_cubecl::cubecl::ir::metadata::Info;
use burn_cubecl::cubecl::ir::settings::Dim3;
use burn_cubecl::cubecl::ir::{ElemType, UIntKind};
use burn_cubecl::cubecl::prelude::{
    AddressType, CubeKernel, ExecutionMode, KernelDefinition, KernelId, KernelMetadata, KernelSettings,
    PrecompiledSource, Scope,
};
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use wgpu_layernorm::plan::{Backward, Caps, Forward, Plan, Strides};
use wgpu_layernorm::shader::{Dialect, ENTRY_POINT, Layout, assemble_with};
use wgpu_layernorm::{Affine, Channels, Dtype, Error, Normalization, Problem};

/// `CubeCL` binds the storage buffers from 0 on and its own numbers after them. Tensors are slices of shared
/// pages, and wgpu lets a dispatch use a buffer in one way only: so all are `read_write`.
const LAYOUT: Layout = Layout { uniform_last: true, read_write: true };

/// Which of a call's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// y, the sum and statistics.
    Forward(Forward),
    /// dx, and partial sums of dgain and dbias.
    Backward(Backward),
    /// Partial sums of dgain and dbias, where a group has several channels: [`Self::Backward`] has dx alone
    /// then.
    ChannelSums(Backward),
    /// dgain and dbias of partial sums.
    Reduce(Backward),
}

/// What a kernel depends on: a problem but for its eps, which is a number of the uniform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    caps: Caps,
    stage: Stage,
    vector_width: u32,
    strides: Strides,
    cols: u32,
    dtype: Dtype,
    parameter_dtype: Dtype,
    normalization: Normalization,
    affine: Affine,
    channels: Option<Channels>,
}

static KERNELS: LazyLock<RwLock<HashMap<Key, Arc<Kernel>>>> = LazyLock::new(RwLock::default);

static MADE: AtomicUsize = AtomicUsize::new(0);

/// How many kernels have been made in this process, on all devices. A call of a width, type and layout that
/// was there before makes none.
#[must_use]
pub fn kernels() -> usize {
    MADE.load(Ordering::Relaxed)
}

/// A plan, and its text as `CubeCL` knows it.
pub(crate) struct Kernel {
    pub(crate) plan: Plan,
    text: Text,
    id: KernelId,
}

impl Kernel {
    /// The kernel of a stage, made if it is not there yet.
    ///
    /// # Errors
    /// Those of the plan, where the device cannot run it.
    pub(crate) fn of(
        problem: &Problem,
        stage: Stage,
        vector_width: u32,
        strides: Strides,
        caps: &Caps,
    ) -> Result<Arc<Self>, Error> {
        let key = Key {
            caps: *caps,
            stage,
            vector_width,
            strides,
            cols: problem.cols,
            dtype: problem.dtype,
            parameter_dtype: problem.parameter_dtype,
            normalization: problem.normalization,
            affine: problem.affine,
            channels: problem.channels,
        };
        if let Some(kernel) = KERNELS.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(kernel));
        }
        let mut kernels = KERNELS.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been first.
        if let Some(kernel) = kernels.get(&key) {
            return Ok(Arc::clone(kernel));
        }
        let kernel = Arc::new(Self::new(problem, stage, vector_width, strides, caps)?);
        kernels.insert(key, Arc::clone(&kernel));
        Ok(kernel)
    }

    fn new(
        problem: &Problem,
        stage: Stage,
        vector_width: u32,
        strides: Strides,
        caps: &Caps,
    ) -> Result<Self, Error> {
        MADE.fetch_add(1, Ordering::Relaxed);
        let plan = plan(problem, stage, vector_width, caps)?.with_strides(strides);
        let shader = assemble_with(&plan, Dialect::Naga, LAYOUT)?;
        let text = Text::new(&shader.source);
        let id = KernelId::new::<Launched>()
            .cube_dim(Dim3::new_1d(plan.workgroup_size()))
            .mode(ExecutionMode::Unchecked)
            .info(text.clone());
        Ok(Self { plan, text, id })
    }
}

/// Whether a device can run stages over rows that lie one after the other, the widest access first.
///
/// # Errors
/// Those of the first plan that it cannot run.
pub(crate) fn can_run(problem: &Problem, stages: &[Stage], caps: &Caps) -> Result<(), Error> {
    let width = Plan::max_vector_width(problem.dtype, problem.cols);
    stages.iter().try_for_each(|stage| plan(problem, *stage, width, caps).map(drop))
}

/// The plan of a stage.
///
/// # Errors
/// Those of [`Plan::forward`] and its like.
fn plan(problem: &Problem, stage: Stage, vector_width: u32, caps: &Caps) -> Result<Plan, Error> {
    match stage {
        Stage::Forward(forward) => Plan::forward(problem, forward, vector_width, caps),
        Stage::Backward(backward) => Plan::backward(problem, backward, vector_width, caps),
        Stage::ChannelSums(backward) => Plan::channel_sums(problem, backward, vector_width, caps),
        Stage::Reduce(backward) => Plan::reduce_parameters(problem, backward, vector_width, caps),
    }
}

/// A text, hashed once: `CubeCL` looks kernels up by their ids at each launch, and the id has to cover the
/// text.
#[derive(Clone)]
struct Text {
    source: Arc<str>,
    hash: u64,
}

impl Text {
    fn new(source: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        Self { source: source.into(), hash: hasher.finish() }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source) || self.source == other.source
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl fmt::Debug for Text {
    /// Its first line, which is the plan's label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source.lines().next().unwrap_or_default())
    }
}

/// A kernel on its way to the device.
pub(crate) struct Launched(pub(crate) Arc<Kernel>);

impl KernelMetadata for Launched {
    fn id(&self) -> KernelId {
        self.0.id.clone()
    }

    fn address_type(&self) -> ElemType {
        UIntKind::U32.into()
    }
}

impl CubeKernel for Launched {
    /// Nothing: there is a text.
    fn define(&self) -> KernelDefinition {
        let settings = KernelSettings::new(
            Dim3::new_1d(self.0.plan.workgroup_size()),
            ExecutionMode::Unchecked,
            AddressType::U32,
        );
        KernelDefinition { body: Scope::root(settings.clone()), settings, info: Info::default() }
    }

    fn source(&self) -> Option<PrecompiledSource> {
        Some(PrecompiledSource {
            source: self.0.text.source.to_string(),
            entrypoint_name: ENTRY_POINT.to_owned(),
            lang: "wgsl",
        })
    }
}
