//! From a [`Plan`] to the languages that GPUs' drivers take, through naga: SPIR-V, MSL, HLSL and GLSL.
//!
//! For hosts without WGSL. The texts have no run-time checks of naga's unless asked for ([`Checks`]): the
//! kernels keep to the rows that they are told, whatever stands in them. Bindings keep their numbers:
//! `buffer(n)` in MSL, `tn`, `un` and `bn` of space 0 in HLSL, `binding = n` in GLSL.

use crate::error::Error;
use crate::plan::{Plan, Storage};
use crate::shader::{self, Dialect, ENTRY_POINT, Layout, Shader};
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, ResourceBinding};

/// Whether the translated text checks itself at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checks {
    /// No.
    #[default]
    None,
    /// As in wgpu's modules: bounds, and loops that end whatever happens. On Vulkan as on a driver with
    /// `robustBufferAccess2`, which checks buffers itself.
    Wgpu,
}

/// A translated text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Text {
    /// The text.
    pub source: String,
    /// The name of its entry point, which may differ from WGSL's.
    pub entry_point: String,
}

/// A field of the uniform, the struct `Params` of `shaders/common/params.wgsl`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UniformField {
    /// Its name.
    pub name: String,
    /// `u32`, `f32` or `array<vec4<u32>, 14>`.
    pub wgsl_type: &'static str,
    /// Bytes from the start of the uniform.
    pub offset: u32,
}

/// A plan's shader, validated.
#[derive(Debug)]
pub struct Module {
    shader: Shader,
    module: naga::Module,
    info: ModuleInfo,
    native_f16: bool,
    int64: bool,
}

/// How HLSL is compiled: shader model 6.2 has 16-bit types.
pub const HLSL_SHADER_MODEL: &str = "6_2";

impl Module {
    /// Assembles, parses and validates the shader of a plan, with no more capabilities than the plan claims.
    ///
    /// # Errors
    /// [`Error::Assembly`] with naga's words: a fault of this crate.
    pub fn new(plan: &Plan) -> Result<Self, Error> {
        Self::with_layout(plan, Layout::default())
    }

    /// The same with the bindings that a host wants.
    ///
    /// # Errors
    /// Those of [`Module::new`].
    pub fn with_layout(plan: &Plan, layout: Layout) -> Result<Self, Error> {
        let shader = shader::assemble_with(plan, Dialect::Naga, layout)?;
        let fault = |message| Error::Assembly { label: shader.label.clone(), message };
        let module = naga::front::wgsl::parse_str(&shader.source)
            .map_err(|error| fault(error.emit_to_string(&shader.source)))?;
        let info = Validator::new(ValidationFlags::all(), capabilities(plan))
            .subgroup_stages(ShaderStages::COMPUTE)
            .subgroup_operations(SubgroupOperationSet::all())
            .validate(&module)
            .map_err(|error| fault(error.emit_to_string(&shader.source)))?;
        Ok(Self { shader, module, info, native_f16: plan.uses_native_f16(), int64: plan.uses_int64() })
    }

    /// The shader that was validated.
    #[must_use]
    pub const fn shader(&self) -> &Shader {
        &self.shader
    }

    /// naga's form of it.
    #[must_use]
    pub const fn naga(&self) -> &naga::Module {
        &self.module
    }

    /// SPIR-V 1.3, as Vulkan 1.1 takes it.
    ///
    /// # Errors
    /// [`Error::Assembly`] where naga cannot: a fault of this crate.
    pub fn spirv(&self, checks: Checks) -> Result<Vec<u32>, Error> {
        let options = spv::Options {
            lang_version: (1, 3),
            flags: spv::WriterFlags::empty(),
            bounds_check_policies: bounds(checks, BoundsCheckPolicy::Unchecked),
            // Every word of workgroup memory is written before it is read.
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: checks == Checks::Wgpu,
            ..spv::Options::default()
        };
        spv::write_vec(&self.module, &self.info, &options, None).map_err(|error| self.fault("SPIR-V", &error))
    }

    /// Metal Shading Language 2.4. naga declares one buffer more, in the slot after the last binding: the
    /// bytes of each storage buffer as a u32, in the order of the bindings. Only run-time checks read it.
    ///
    /// # Errors
    /// [`Error::Assembly`] where naga cannot: a fault of this crate.
    pub fn msl(&self, checks: Checks) -> Result<Text, Error> {
        let resources = self.resources().map(|(binding, slot, mutable)| {
            (binding, msl::BindTarget { buffer: Some(slot), mutable, ..msl::BindTarget::default() })
        });
        let resources: msl::BindingMap = resources.collect();
        let resources = msl::EntryPointResources {
            sizes_buffer: Some(u8::try_from(resources.len()).unwrap_or(u8::MAX)),
            resources,
            ..msl::EntryPointResources::default()
        };
        let options = msl::Options {
            lang_version: (2, 4),
            per_entry_point_map: [(ENTRY_POINT.to_owned(), resources)].into(),
            fake_missing_bindings: false,
            bounds_check_policies: bounds(checks, BoundsCheckPolicy::Restrict),
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: checks == Checks::Wgpu,
            ..msl::Options::default()
        };
        let (source, translation) =
            msl::write_string(&self.module, &self.info, &options, &msl::PipelineOptions::default())
                .map_err(|error| self.fault("MSL", &error))?;
        let entry_point = self.entry_point("MSL", &translation.entry_point_names)?;
        Ok(Text { source, entry_point })
    }

    /// HLSL for [`HLSL_SHADER_MODEL`], 16-bit types on where the plan uses f16.
    ///
    /// # Errors
    /// [`Error::Assembly`] where naga cannot: a fault of this crate.
    pub fn hlsl(&self, checks: Checks) -> Result<Text, Error> {
        let options = hlsl::Options {
            shader_model: hlsl::ShaderModel::V6_2,
            zero_initialize_workgroup_memory: false,
            restrict_indexing: checks == Checks::Wgpu,
            force_loop_bounding: checks == Checks::Wgpu,
            ..hlsl::Options::default()
        };
        let mut source = String::new();
        let reflection = hlsl::Writer::new(&mut source, &options, &hlsl::PipelineOptions::default())
            .write(&self.module, &self.info, None)
            .map_err(|error| self.fault("HLSL", &error))?;
        let entry_point = self.entry_point("HLSL", &reflection.entry_point_names)?;
        Ok(Text { source, entry_point })
    }

    /// GLSL 4.50; `None` where the plan uses native f16 or words of 64 bits, which GLSL has not.
    ///
    /// # Errors
    /// [`Error::Assembly`] where naga cannot: a fault of this crate.
    pub fn glsl(&self) -> Result<Option<Text>, Error> {
        if self.native_f16 || self.int64 {
            return Ok(None);
        }
        let options = glsl::Options {
            version: glsl::Version::Desktop(450),
            binding_map: self.resources().map(|(binding, slot, _)| (binding, slot)).collect(),
            zero_initialize_workgroup_memory: false,
            ..glsl::Options::default()
        };
        let pipeline = glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: ENTRY_POINT.to_owned(),
            multiview: None,
        };
        let mut source = String::new();
        let bounds = BoundsCheckPolicies::default();
        glsl::Writer::new(&mut source, &self.module, &self.info, &options, &pipeline, bounds)
            .and_then(|mut writer| writer.write())
            .map_err(|error| self.fault("GLSL", &error))?;
        Ok(Some(Text { source, entry_point: "main".to_owned() }))
    }

    /// The uniform's fields in order, and its bytes.
    ///
    /// # Errors
    /// [`Error::Assembly`] where the uniform is not as documented: a fault of this crate.
    pub fn uniform(&self) -> Result<(Vec<UniformField>, u32), Error> {
        let fault = |what: &str| self.fault_text(format!("the uniform {what}"));
        let variable = self
            .module
            .global_variables
            .iter()
            .find_map(|(_, variable)| (variable.space == AddressSpace::Uniform).then_some(variable))
            .ok_or_else(|| fault("is missing"))?;
        let naga::TypeInner::Struct { members, span } = &self.module.types[variable.ty].inner else {
            return Err(fault("is no struct"));
        };
        let fields = members.iter().map(|member| {
            let wgsl_type = match self.module.types[member.ty].inner {
                naga::TypeInner::Scalar(naga::Scalar::U32) => "u32",
                naga::TypeInner::Scalar(naga::Scalar::F32) => "f32",
                naga::TypeInner::Array { .. } => "array<vec4<u32>, 14>",
                _ => return Err(fault("has a field that is no u32, no f32 and no array")),
            };
            let name = member.name.clone().ok_or_else(|| fault("has a field without a name"))?;
            Ok(UniformField { name, wgsl_type, offset: member.offset })
        });
        Ok((fields.collect::<Result<_, _>>()?, *span))
    }

    /// Each binding, its number as a slot, and whether it is written.
    fn resources(&self) -> impl Iterator<Item = (ResourceBinding, u8, bool)> {
        self.module.global_variables.iter().filter_map(|(_, variable)| {
            let binding = variable.binding?;
            let mutable = matches!(
                variable.space,
                AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE)
            );
            Some((binding, u8::try_from(binding.binding).ok()?, mutable))
        })
    }

    fn entry_point<E: std::fmt::Display>(
        &self,
        language: &str,
        names: &[Result<String, E>],
    ) -> Result<String, Error> {
        match names {
            [Ok(name)] => Ok(name.clone()),
            [Err(error)] => Err(self.fault_text(format!("{language}: {error}"))),
            _ => Err(self.fault_text(format!("{language}: {} entry points", names.len()))),
        }
    }

    fn fault(&self, language: &str, error: &dyn std::error::Error) -> Error {
        let source = error.source().map_or_else(String::new, |source| format!(": {source}"));
        self.fault_text(format!("{language}: {error}{source}"))
    }

    fn fault_text(&self, message: String) -> Error {
        Error::Assembly { label: self.shader.label.clone(), message }
    }
}

/// What a plan's shader may use.
fn capabilities(plan: &Plan) -> Capabilities {
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SHADER_FLOAT16, plan.uses_native_f16());
    capabilities.set(Capabilities::SHADER_INT64, plan.uses_int64());
    capabilities.set(Capabilities::SUBGROUP, plan.uses_subgroups());
    // unpack2x16float: core WGSL, a capability to naga because of downlevel GL.
    let any_unpacks = plan.storages.any(&[Storage::PackedF16, Storage::NativeF16]);
    capabilities.set(Capabilities::SHADER_FLOAT16_IN_FLOAT32, any_unpacks);
    capabilities
}

fn bounds(checks: Checks, buffer: BoundsCheckPolicy) -> BoundsCheckPolicies {
    match checks {
        Checks::None => BoundsCheckPolicies::default(),
        Checks::Wgpu => BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer,
            ..BoundsCheckPolicies::default()
        },
    }
}
