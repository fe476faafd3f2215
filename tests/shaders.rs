//! Every shader variant through naga: parsed, validated with no more capabilities than its plan claims, and translated
//! to SPIR-V, MSL, HLSL and GLSL.

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use std::collections::{BTreeMap, BTreeSet};
use wgpu_layernorm::plan::{AdapterKind, Backward, Caps, Forward, Plan, Storage, SubgroupSizes, Tensor};
use wgpu_layernorm::shader::{Dialect, ENTRY_POINT, assemble};
use wgpu_layernorm::{Affine, Dtype, Gradient, Normalization, Problem};

/// Adapters that between them reach every reduction and every storage.
fn adapters() -> Vec<Caps> {
    let gpu = Caps::webgpu_default();
    let subgroups = |min, max| Some(SubgroupSizes { min, max });
    let wide = Caps { subgroup: subgroups(32, 32), shader_f16: true, max_storage_buffers: 16, ..gpu };
    vec![
        Caps { max_storage_buffers: 16, ..gpu },
        wide,
        Caps { subgroup: subgroups(8, 32), max_invocations: 1024, max_workgroup_bytes: 32_768, ..wide },
        Caps { subgroup: subgroups(64, 128), ..wide },
        Caps { kind: AdapterKind::Software, subgroup: subgroups(8, 8), ..wide },
        Caps { kind: AdapterKind::Software, subgroup: subgroups(4, 4), shader_f16: false, ..wide },
        Caps { kind: AdapterKind::Software, subgroup: None, shader_f16: false, ..wide },
    ]
}

/// Widths that between them reach every kernel, threads-per-row step and vector width.
const COLS: [u32; 9] = [1, 2, 7, 12, 64, 100, 384, 4096, 40_000];

/// A plan for every text: of the plans whose texts differ in the values of constants alone, one for each set of
/// segments and options, and one for each way in which threads lie on a row.
fn plans() -> Vec<Plan> {
    let mut texts = BTreeSet::new();
    let mut shapes = BTreeSet::new();
    let mut plans = Vec::new();
    let mut keep = |plan: Plan| {
        let any_shape = Plan { cols: 0, threads_per_row: 0, rows_per_workgroup: 0, steps: 0, ..plan };
        let shape = (plan.kernel, plan.cols, plan.threads_per_row, plan.rows_per_workgroup, plan.parts());
        let (new_text, new_shape) = (texts.insert(any_shape.label()), shapes.insert(shape));
        if new_text || new_shape {
            plans.push(plan);
        }
    };
    for caps in adapters() {
        for cols in COLS {
            for (dtype, parameter_dtype) in Dtype::ALL.iter().flat_map(|d| [(*d, *d), (*d, Dtype::F32)]) {
                for normalization in [Normalization::Layer, Normalization::Rms] {
                    for affine in [Affine::None, Affine::Gain, Affine::GainBias] {
                        let problem = Problem {
                            cols,
                            dtype,
                            parameter_dtype,
                            normalization,
                            affine,
                            ..Problem::default()
                        };
                        for vector_width in [1, 8] {
                            for forward in forwards() {
                                keep(Plan::forward(&problem, forward, vector_width, &caps).unwrap());
                            }
                            for backward in backwards(affine) {
                                keep(Plan::backward(&problem, backward, vector_width, &caps).unwrap());
                                if backward.dgain.is_some() || backward.dbias.is_some() {
                                    keep(
                                        Plan::reduce_parameters(&problem, backward, vector_width, &caps)
                                            .unwrap(),
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    plans
}

fn forwards() -> Vec<Forward> {
    let residual = Forward { residual: true, statistics: true, ..Forward::default() };
    vec![
        Forward::default(),
        Forward { statistics: true, x_in: Some(Tensor::Y), ..Forward::default() },
        residual,
        Forward { x_in: Some(Tensor::Sum), ..residual },
        Forward { x_in: Some(Tensor::Y), residual_in: Some(Tensor::Sum), ..residual },
        Forward { residual_in: Some(Tensor::Y), ..residual },
    ]
}

fn backwards(affine: Affine) -> Vec<Backward> {
    use Gradient::{Accumulate, Overwrite};
    let dx = Backward { dx: Some(Overwrite), ..Backward::default() };
    let mut all = vec![
        dx,
        Backward { dx: Some(Accumulate), ..dx },
        Backward { x_in_dx: true, ..dx },
        Backward { dy_in_dx: true, ..dx },
    ];
    if affine.has_gain() {
        all.push(Backward { dgain: Some(Overwrite), ..Backward::default() });
        all.push(Backward { dgain: Some(Accumulate), ..dx });
    }
    if affine.has_bias() {
        all.push(Backward { dgain: Some(Overwrite), dbias: Some(Accumulate), dy_in_dx: true, ..dx });
        all.push(Backward { dbias: Some(Overwrite), ..dx });
    }
    all
}

#[test]
fn every_variant_compiles_for_every_back_end() {
    let plans = plans();
    println!("{} variants", plans.len());
    assert!(plans.len() > 1000, "the axes above should give thousands of variants");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = plans
            .chunks(plans.len().div_ceil(threads))
            .map(|plans| scope.spawn(move || plans.iter().filter_map(failure).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} variants failed, the first: {}", plans.len(), failures[0]);
}

fn failure(plan: &Plan) -> Option<String> {
    check(plan).err().map(|message| format!("{}: {message}", plan.label()))
}

fn check(plan: &Plan) -> Result<(), String> {
    let shader = assemble(plan, Dialect::Naga).map_err(|error| error.to_string())?;
    let module =
        naga::front::wgsl::parse_str(&shader.source).map_err(|e| e.emit_to_string(&shader.source))?;
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SHADER_FLOAT16, plan.uses_native_f16());
    capabilities.set(Capabilities::SUBGROUP, plan.uses_subgroups());
    // unpack2x16float: core WGSL, a capability to naga because of downlevel GL.
    let packed_f16 = [plan.row_storage, plan.parameter_storage].contains(&Storage::PackedF16);
    capabilities.set(Capabilities::SHADER_FLOAT16_IN_FLOAT32, packed_f16);
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| e.emit_to_string(&shader.source))?;
    reflect(plan, &module)?;
    translate(plan, &module, &info)
}

/// The module's bindings and sizes are what the host is told.
fn reflect(plan: &Plan, module: &naga::Module) -> Result<(), String> {
    let shader = assemble(plan, Dialect::Naga).map_err(|error| error.to_string())?;
    let entry = &module.entry_points[0];
    if entry.name != ENTRY_POINT || entry.workgroup_size != [plan.workgroup_size(), 1, 1] {
        return Err(format!("entry point {} of {:?}", entry.name, entry.workgroup_size));
    }
    let mut workgroup_bytes = 0;
    let mut found = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        match variable.space {
            naga::AddressSpace::WorkGroup => {
                workgroup_bytes += module.types[variable.ty].inner.size(module.to_ctx());
            }
            naga::AddressSpace::Storage { access } => {
                let binding = variable.binding.ok_or("a storage variable without a binding")?;
                let writable = access.contains(naga::StorageAccess::STORE);
                found.insert(binding.binding, (variable.name.clone().unwrap_or_default(), writable));
            }
            _ => {}
        }
    }
    let told: BTreeMap<_, _> =
        shader.bindings.iter().map(|b| (b.binding, (b.tensor.name().to_owned(), b.writable))).collect();
    if told != found {
        return Err(format!("bindings {found:?}, told {told:?}"));
    }
    if workgroup_bytes != plan.workgroup_bytes() {
        return Err(format!("{workgroup_bytes} bytes of workgroup memory, plan: {}", plan.workgroup_bytes()));
    }
    Ok(())
}

fn translate(plan: &Plan, module: &naga::Module, info: &ModuleInfo) -> Result<(), String> {
    let text =
        |error: &dyn std::error::Error| format!("{error}: {:?}", error.source().map(ToString::to_string));
    let mut spirv_options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
    spirv_options.flags.insert(spv::WriterFlags::DEBUG);
    spv::write_vec(module, info, &spirv_options, None).map_err(|e| format!("SPIR-V: {}", text(&e)))?;

    let msl_options = msl::Options { lang_version: (2, 4), ..msl::Options::default() };
    msl::write_string(module, info, &msl_options, &msl::PipelineOptions::default())
        .map_err(|e| format!("MSL: {}", text(&e)))?;

    let hlsl_options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_2, ..hlsl::Options::default() };
    let mut hlsl_text = String::new();
    hlsl::Writer::new(&mut hlsl_text, &hlsl_options, &hlsl::PipelineOptions::default())
        .write(module, info, None)
        .map_err(|e| format!("HLSL: {}", text(&e)))?;

    // GLSL has no 16-bit floats: wgpu's GL back end does not offer the feature, so no plan there asks for them.
    if !plan.uses_native_f16() {
        let glsl_options = glsl::Options { version: glsl::Version::Desktop(450), ..glsl::Options::default() };
        let pipeline = glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: ENTRY_POINT.to_owned(),
            multiview: None,
        };
        let mut glsl_text = String::new();
        glsl::Writer::new(
            &mut glsl_text,
            module,
            info,
            &glsl_options,
            &pipeline,
            BoundsCheckPolicies::default(),
        )
        .and_then(|mut writer| writer.write())
        .map_err(|e| format!("GLSL: {}", text(&e)))?;
    }
    Ok(())
}

/// Native f16 and subgroups appear in the text exactly where the plan says so, and the lines that browsers demand only
/// for browsers.
#[test]
fn enable_lines_follow_plan_and_dialect() {
    let caps = Caps {
        subgroup: Some(SubgroupSizes { min: 32, max: 32 }),
        shader_f16: true,
        ..Caps::webgpu_default()
    };
    let problem = Problem { cols: 385, dtype: Dtype::F16, parameter_dtype: Dtype::F16, ..Problem::default() };
    let plan = Plan::forward(&problem, Forward::default(), 8, &caps).unwrap();
    let text = |dialect| assemble(&plan, dialect).unwrap().source;
    assert!(plan.uses_native_f16() && plan.uses_subgroups(), "an odd f16 row on an adapter with everything");
    assert!(text(Dialect::Naga).contains("enable f16;"), "f16 must be enabled everywhere");
    assert!(!text(Dialect::Naga).contains("enable subgroups;"), "naga refuses the line");
    assert!(text(Dialect::Browser).contains("enable subgroups;"), "browsers demand the line");
}

/// One read of x and one write of y: the text of `forward_cached` loads in one place besides the shift.
#[test]
fn the_cached_kernels_access_each_row_once() {
    let problem = Problem { cols: 8192, ..Problem::default() };
    let caps = Caps::webgpu_default();
    let count = |plan: &Plan, needle: &str| {
        let source = assemble(plan, Dialect::Naga).unwrap().source;
        source[source.find("fn main").unwrap()..].matches(needle).count()
    };
    let forward = Plan::forward(&problem, Forward::default(), 8, &caps).unwrap();
    assert_eq!(forward.kernel.name(), "forward_cached", "8192 columns with WebGPU's default limits");
    assert_eq!(count(&forward, "load_input(number, step"), 1, "x is walked once");
    assert_eq!(count(&forward, "load_input(number, 0u, 0u)"), 1, "and x[0] read before");
    assert_eq!(count(&forward, "store_y"), 1, "y is written once");

    let all = Backward {
        dx: Some(Gradient::Overwrite),
        dgain: Some(Gradient::Overwrite),
        dbias: Some(Gradient::Overwrite),
        ..Backward::default()
    };
    let eight = Caps { max_invocations: 512, ..caps };
    for (cols, caps) in [(4096, caps), (8192, eight)] {
        let backward = Plan::backward(&Problem { cols, ..problem }, all, 8, &caps).unwrap();
        assert_eq!(backward.kernel.name(), "backward_cached", "{cols} columns");
        assert_eq!(count(&backward, "load_x("), 1, "x is read once");
        assert_eq!(count(&backward, "load_dy("), 1, "dy is read once");
        assert_eq!(count(&backward, "write_dx("), 1, "dx is written once");
    }
}
