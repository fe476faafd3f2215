//! Every shader variant through naga: parsed, validated with no more capabilities than its plan claims, and
//! translated to SPIR-V, MSL, HLSL and GLSL.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Caps, Forward, Plan, Pooled, Storages, SubgroupSizes, Tensor,
};
use wgpu_layernorm::shader::variants::{self, Variant};
use wgpu_layernorm::shader::{Dialect, ENTRY_POINT, Layout, assemble, assemble_with};
use wgpu_layernorm::translate::{Checks, Module};
use wgpu_layernorm::{Dtype, Gradient, Normalization, Problem};

#[test]
fn every_variant_compiles_for_every_back_end() {
    let variants = variants::all().unwrap();
    assert!(variants.len() > 1000, "the axes above should give thousands of variants");
    // Some options leave a kernel's text as it is: it is translated once, and held against each of its plans.
    let mut texts: HashMap<_, Vec<&Plan>> = HashMap::new();
    for Variant { plan, .. } in &variants {
        texts.entry(text_and_claims(plan)).or_default().push(plan);
    }
    let texts: Vec<Vec<&Plan>> = texts.into_values().collect();
    println!("{} variants with {} texts", variants.len(), texts.len());
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let turn = || texts.get(next.fetch_add(1, Ordering::Relaxed));
            iter::from_fn(turn).filter_map(|plans| failure(plans)).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} texts failed, the first: {}", texts.len(), failures[0]);
}

/// What a plan's text is known by, and what decides on the capabilities that it is validated with.
fn text_and_claims(plan: &Plan) -> (u64, bool, Storages) {
    let source = assemble(plan, Dialect::Naga).unwrap().source;
    let mut hasher = DefaultHasher::new();
    // The first line is a comment with the label.
    source.split_once('\n').unwrap().1.hash(&mut hasher);
    (hasher.finish(), plan.uses_subgroups(), plan.storages)
}

fn failure(plans: &[&Plan]) -> Option<String> {
    check(plans).err().map(|message| format!("{}: {message}", plans[0].label()))
}

fn check(plans: &[&Plan]) -> Result<(), String> {
    let module = Module::new(plans[0]).map_err(|error| error.to_string())?;
    for plan in plans {
        reflect(plan, Layout::default(), module.naga())?;
    }
    let translate = || {
        module.spirv(Checks::None)?;
        module.msl(Checks::None)?;
        module.hlsl(Checks::None)?;
        module.glsl()
    };
    let glsl = translate().map_err(|error| error.to_string())?;
    // GLSL has no 16-bit floats: wgpu's GL back end does not offer the feature, so no plan there asks for
    // them.
    let is_beyond_glsl = plans[0].uses_native_f16() || plans[0].uses_int64();
    if glsl.is_some() == is_beyond_glsl { Err("GLSL and native f16".to_owned()) } else { Ok(()) }
}

/// Every host's bindings are what the host is told, and translate.
#[test]
fn texts_for_other_hosts_compile() {
    for Variant { plan, .. } in variants::covering(variants::Strength::Pairs, |_| true).unwrap() {
        for (uniform_last, read_write) in [(true, false), (false, true), (true, true)] {
            let layout = Layout { uniform_last, read_write };
            let check = || {
                // Validates what it has parsed.
                let module = Module::with_layout(&plan, layout).map_err(|error| error.to_string())?;
                reflect(&plan, layout, module.naga())?;
                let shader = module.shader();
                let count = u32::try_from(shader.bindings.len()).unwrap();
                let (first, uniform) = if uniform_last { (0, count) } else { (1, 0) };
                let numbers: Vec<u32> = shader.bindings.iter().map(|binding| binding.binding).collect();
                if numbers != (first..first + count).collect::<Vec<_>>() || shader.uniform != uniform {
                    return Err(format!("bindings {numbers:?} and {}", shader.uniform));
                }
                if read_write && shader.source.contains("var<storage, read>") {
                    return Err("a binding that is read".to_owned());
                }
                // No more than bindings differs from the crate's own text.
                let own = if read_write { plan.with_pooled(Pooled::Everything) } else { plan };
                let own = assemble(&own, Dialect::Naga).map_err(|error| error.to_string())?.source;
                let unbound = |text: &str| -> Vec<String> {
                    text.lines().map(|line| line.rsplit(" var<").next().unwrap().to_owned()).collect()
                };
                if unbound(&own) != unbound(&shader.source) {
                    return Err("more than bindings differs".to_owned());
                }
                let words = module.spirv(Checks::None).map_err(|error| error.to_string())?;
                if words.is_empty() { Err("no SPIR-V".to_owned()) } else { Ok(()) }
            };
            check().unwrap_or_else(|message: String| panic!("{layout:?} of {}: {message}", plan.label()));
        }
    }
}

/// On a software adapter with 64-bit integers rows on 32 bytes are accessed in words of 64 bits, and no
/// others.
#[test]
fn texts_with_words_of_64_bits_compile() {
    let caps = Caps {
        kind: AdapterKind::Software,
        short_texts: true,
        subgroup: Some(SubgroupSizes { min: 8, max: 8 }),
        shader_f16: true,
        shader_int64: true,
        max_storage_buffers: 16,
        ..Caps::webgpu_default()
    };
    let overwrite = Some(Gradient::Overwrite);
    let backward = Backward { dx: overwrite, dgain: overwrite, dbias: overwrite, ..Backward::default() };
    let residual = Forward { residual: true, statistics: true, ..Forward::default() };
    let storages = Dtype::ALL.into_iter().flat_map(|dtype| [(dtype, dtype), (dtype, Dtype::F32)]);
    for ((dtype, parameter_dtype), cols) in storages.flat_map(|s| [16, 1024, 40_000].map(|cols| (s, cols))) {
        let problem = Problem { cols, dtype, parameter_dtype, ..Problem::default() };
        let plans = |width: u32, caps: &Caps| {
            let mut plans = vec![
                Plan::forward(&problem, residual, width, caps).unwrap(),
                Plan::backward(&problem, backward, width, caps).unwrap(),
            ];
            plans.extend(Plan::forward_split(&problem, residual, width, caps).unwrap());
            plans.extend(Plan::backward_split(&problem, backward, width, caps).unwrap());
            plans
        };
        for plan in plans(16, &caps) {
            assert!(plan.uses_int64(), "{}", plan.label());
            assert!(
                assemble(&plan, Dialect::Naga).unwrap().source.contains("array<vec4<u64>>"),
                "{}",
                plan.label()
            );
            if let Some(failure) = failure(&[&plan]) {
                panic!("{failure}");
            }
        }
        let gpu = Caps { kind: AdapterKind::Gpu, ..caps };
        let narrow = plans(8, &caps).into_iter().chain(plans(16, &gpu));
        for plan in narrow.chain(plans(16, &Caps { shader_int64: false, ..caps })) {
            assert!(!plan.uses_int64(), "{}", plan.label());
            assert!(!assemble(&plan, Dialect::Naga).unwrap().source.contains("u64"), "{}", plan.label());
        }
    }
}

/// The module's bindings and sizes are what the host is told.
fn reflect(plan: &Plan, layout: Layout, module: &naga::Module) -> Result<(), String> {
    let shader = assemble_with(plan, Dialect::Naga, layout).map_err(|error| error.to_string())?;
    let entry = &module.entry_points[0];
    if entry.name != ENTRY_POINT || entry.workgroup_size != [plan.workgroup_size(), 1, 1] {
        return Err(format!("entry point {} of {:?}", entry.name, entry.workgroup_size));
    }
    // A type under two names is two types in SPIR-V, and two functions of one name in HLSL.
    let mut types = HashSet::new();
    for (_, declared) in module.types.iter() {
        if !matches!(declared.inner, naga::TypeInner::Struct { .. }) && !types.insert(&declared.inner) {
            return Err(format!("the type {:?} is declared twice", declared.inner));
        }
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
            naga::AddressSpace::Uniform => {
                let binding = variable.binding.ok_or("a uniform without a binding")?;
                if binding.binding != shader.uniform {
                    return Err(format!("the uniform is binding {binding:?}, told {}", shader.uniform));
                }
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

/// Native f16 and subgroups appear in the text exactly where the plan says so, and the lines that browsers
/// demand only for browsers.
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

/// One read of x and one write of y: the text of `forward_cached` loads once a step besides the shift.
#[test]
fn the_cached_kernels_access_each_row_once() {
    let problem = Problem { cols: 8192, ..Problem::default() };
    let caps = Caps::webgpu_default();
    let count = |plan: &Plan, needle: &str| {
        let source = assemble(plan, Dialect::Naga).unwrap().source;
        source[source.find("fn kernel").unwrap()..].matches(needle).count()
    };
    let forward = Plan::forward(&problem, Forward::default(), 8, &caps).unwrap();
    assert_eq!(forward.kernel.name(), "forward_cached", "8192 columns with WebGPU's default limits");
    // Loops over steps are written out.
    let steps = |plan: &Plan| plan.steps as usize;
    assert_eq!(count(&forward, "load_input(row, "), steps(&forward), "x is walked once");
    assert_eq!(count(&forward, "first_of_row(row"), 1, "and x[0] read again");
    assert_eq!(count(&forward, "write_y"), steps(&forward), "y is written once");

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
        let steps = steps(&backward);
        assert_eq!(count(&backward, "load_source("), steps, "x is read once");
        assert_eq!(count(&backward, " dz_of("), steps, "dy is read once");
        assert_eq!(count(&backward, "finish_dx("), steps, "dx is written once");
    }
}

/// What stands for a tensor's name in `io/` and `gradient/` is gone from every text.
#[test]
fn no_text_has_a_placeholder() {
    for Variant { plan, .. } in variants::covering(variants::Strength::Pairs, |_| true).unwrap() {
        let source = assemble(&plan, Dialect::Naga).unwrap().source;
        for placeholder in ["TENSOR", "BUFFER", "stands for the name"] {
            assert!(!source.contains(placeholder), "{placeholder} in {}", plan.label());
        }
    }
}

/// All threads load a row's first value, which the first thread may then write over: a barrier for storage
/// stands between.
#[test]
fn rows_in_place_are_written_behind_a_barrier() {
    let tree = Caps::webgpu_default();
    let adaptive = Caps { subgroup: Some(SubgroupSizes { min: 32, max: 32 }), ..tree };
    let lanes = Caps { full_subgroups: true, ..adaptive };
    let in_place = Forward { x_in: Some(Tensor::Y), ..Forward::default() };
    for (caps, cols) in [(tree, 384), (adaptive, 384), (lanes, 384), (lanes, 4096)] {
        for (forward, normalization, has_barrier) in [
            (in_place, Normalization::Layer, true),
            (in_place, Normalization::Rms, false),
            (Forward::default(), Normalization::Layer, false),
        ] {
            let problem = Problem { cols, normalization, ..Problem::default() };
            let plan = Plan::forward(&problem, forward, 4, &caps).unwrap();
            let source = assemble(&plan, Dialect::Naga).unwrap().source;
            assert_eq!(source.contains("storageBarrier();"), has_barrier, "{}", plan.label());
            let body = &source[source.find("fn kernel").unwrap()..];
            assert!(body.find("before_writing();") < body.find("store_input("), "{}", plan.label());
        }
    }
}
