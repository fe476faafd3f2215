//! `emit`: texts, descriptions, the whole set, and calls that it refuses.

use crate::{Room, layernorm, run};
use serde_json::{Value, json};

/// One width's: all take minutes to write.
pub(crate) const CASE: &str = "/cols384/";

fn emit(args: &[&str]) -> String {
    let mut all = vec!["emit"];
    all.extend(args);
    let result = run(layernorm(&all));
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{args:?}: {result:?}");
    result.stdout
}

fn description(args: &[&str]) -> Value {
    let mut all = args.to_vec();
    all.push("--description");
    serde_json::from_str(&emit(&all)).unwrap()
}

#[track_caller]
fn assert_refused(args: &[&str], says: &str) {
    let mut all = vec!["emit"];
    all.extend(args);
    let result = run(layernorm(&all));
    assert_eq!((result.code, result.stdout.as_str()), (Some(2), ""), "{args:?}: {result:?}");
    assert!(result.stderr.contains(says), "{args:?} does not say {says:?}: {}", result.stderr);
    assert_eq!(result.stderr.lines().count(), 1, "{args:?}: {}", result.stderr);
}

const SUBGROUPS: [&str; 4] = ["--cols", "4096", "--subgroup-sizes", "32..32"];

#[test]
fn each_language_is_itself() {
    for (format, says) in [
        ("wgsl", "@compute"),
        ("browser", "enable subgroups;"),
        ("msl", "metal_stdlib"),
        ("hlsl", "numthreads("),
        ("glsl", "#version 450"),
    ] {
        let text = emit(&[&SUBGROUPS[..], &["--format", format]].concat());
        assert!(text.contains(says), "{format} without {says}: {text}");
        let wgsl_of_naga = format == "wgsl";
        assert!(!(wgsl_of_naga && text.contains("enable subgroups;")), "naga refuses the line");
    }
    let spirv = layernorm(&["emit", "--cols", "64", "--format", "spirv"]).output().unwrap();
    let words = spirv.stdout.as_chunks::<4>().0;
    assert_eq!(u32::from_le_bytes(words[0]), 0x0723_0203, "the magic number");
    assert_eq!(u32::from_le_bytes(words[1]), 0x0001_0300, "version 1.3");
}

#[test]
fn codes_are_described_as_words_of_four() {
    let with = |options: &[&str]| description(&[&["--cols", "1022"], options].concat());
    let codes = ["--option", "fp8_codes", "--option", "codes_alone"];
    let per_row = with(&codes);
    let binding = |name: &str| {
        let all = per_row["bindings"].as_array().unwrap();
        all.iter().find(|binding| binding["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    let words = binding("codes");
    assert_eq!((&words["element"], &words["dtype"]), (&"u32".into(), &"fp8_e4m3x4".into()));
    assert_eq!((&words["shape"], &words["access"]), (&json!(["rows", 256]), &"read_write".into()));
    assert_eq!(binding("units")["shape"], json!(["rows"]));
    let unit = |description: &Value| {
        let fields = description["uniform"]["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == "unit").unwrap()["value"].clone()
    };
    assert_eq!(unit(&per_row), json!([1]));
    assert_eq!(unit(&with(&[&codes[..], &["--option", "given_unit"]].concat())), json!(["unit"]));
}

#[test]
fn a_description_has_what_a_host_needs() {
    let forward =
        description(&["--cols", "1024", "--dtype", "f16", "--parameter-dtype", "f32", "--residual"]);
    assert_eq!(forward["kernel"], "forward_cached");
    let names: Vec<&str> =
        forward["bindings"].as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["x", "residual", "gain", "bias", "y", "sum"]);
    let x = &forward["bindings"][0];
    assert_eq!((&x["element"], &x["dtype"]), (&"vec4<u32>".into(), &"f16".into()));
    assert_eq!((&x["values_per_element"], &x["start_multiple"]), (&8.into(), &8.into()));
    assert_eq!(forward["needs"]["features"], serde_json::json!([]));

    let backward = description(&[&SUBGROUPS[..], &["--operation", "backward"]].concat());
    assert_eq!(backward["needs"]["features"], serde_json::json!(["subgroups"]));
    assert_eq!(backward["scratch"][0]["tensor"], "partials");
    let native = description(&["--cols", "7", "--dtype", "f16", "--shader-f16"]);
    assert_eq!(native["needs"]["features"], serde_json::json!(["shader-f16"]));
}

/// Which flags a host that gives SPIR-V to Vulkan sets. Others have none of the kind.
#[test]
fn spirv_says_which_flags_vulkan_needs() {
    const VARYING: &str = "VK_PIPELINE_SHADER_STAGE_CREATE_ALLOW_VARYING_SUBGROUP_SIZE_BIT";
    const FULL: &str = "VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT";
    let flags = |args: &[&str]| {
        let spirv = description(&[args, &["--format", "spirv"]].concat());
        spirv["needs"]["vulkan_stage_flags"].clone()
    };
    assert_eq!(flags(&["--cols", "4096"]), json!([]), "without subgroups");
    assert_eq!(flags(&SUBGROUPS), json!([VARYING, FULL]));
    let full = ["--cols", "64", "--subgroup-sizes", "8..32", "--full-subgroups"];
    assert_eq!(flags(&full), json!([VARYING, FULL]));
    // A workgroup that no subgroup of the largest size fits.
    let small = ["--cols", "4096", "--subgroup-sizes", "32..128", "--max-invocations", "64"];
    assert_eq!(flags(&small), json!([VARYING]));
    assert_eq!(description(&SUBGROUPS)["needs"].get("vulkan_stage_flags"), None, "of WGSL");
}

/// x written over: it has no place of its own then.
#[test]
fn in_place_the_uniform_names_the_output() {
    let in_place = description(&["--cols", "64", "--x-in", "y"]);
    let field = |name: &str| {
        let fields = in_place["uniform"]["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).unwrap()["value"].clone()
    };
    let gain_and_bias = ["gain.start", "bias.start"].map(|start| serde_json::json!([start, 0, 1, 0]));
    let [gain, bias] = gain_and_bias.map(|place| place.as_array().unwrap().clone());
    let y = serde_json::json!(["y.start", "y.row_stride", 1, "y.row_stride"]).as_array().unwrap().clone();
    assert_eq!(field("places"), serde_json::json!([gain, bias, y].concat()));
}

/// Strided, each tensor has a place of four numbers, the partial sums too: all of them start where the outer
/// row of row 0 does.
#[test]
fn strided_every_tensor_has_an_outer_stride() {
    let flags = ["--cols", "64", "--affine", "none", "--strided", "--operation", "backward", "--dx", "none"];
    let gradient = description(&[&flags[..], &["--option", "drow_gain"]].concat());
    let names: Vec<_> = gradient["bindings"].as_array().unwrap().iter().map(|b| b["name"].clone()).collect();
    assert_eq!(names, ["x", "dy", "statistics", "drow_gain"]);
    let backward = description(&["--cols", "64", "--strided", "--operation", "backward"]);
    let fields = backward["uniform"]["fields"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap()["value"].clone();
    assert_eq!(field("inner_rows"), serde_json::json!(["inner_rows"]));
    assert_eq!(field("first_inner_row"), serde_json::json!(["first_inner_row"]));
    let places = field("places");
    let places: Vec<&[Value]> = places.as_array().unwrap().chunks(4).collect();
    let partials = places.iter().find(|place| place[0] == "partials.start").expect("a start of partial sums");
    assert_eq!(partials[1..], serde_json::json!([64, 1, "partials.outer_stride"]).as_array().unwrap()[..]);
}

/// Of group norm the host learns how channels lie, and what the uniform's rows of a sample are.
#[test]
fn channels_are_in_the_description() {
    let of = |operation: &str| {
        let channels = ["--cols", "80", "--channels", "12", "--groups", "3"];
        description(&[&channels[..], &["--operation", operation]].concat())
    };
    let field = |description: &Value, name: &str| {
        let fields = description["uniform"]["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).unwrap()["value"].clone()
    };
    let binding = |description: &Value, name: &str| {
        let bindings = description["bindings"].as_array().unwrap();
        bindings.iter().find(|binding| binding["name"] == name).unwrap().clone()
    };
    let forward = of("forward");
    assert_eq!(forward["channels"], json!({"count": 12, "groups": 3, "spatial": 20}));
    assert_eq!(field(&forward, "inner_rows"), json!([3]));
    assert_eq!(field(&forward, "first_inner_row"), json!(["first_inner_row"]));
    let gain = binding(&forward, "gain");
    assert_eq!((&gain["shape"], &gain["start_multiple"]), (&json!([12]), &json!(1)));
    let sums = of("channel-sums");
    assert_eq!((&sums["cols"], &binding(&sums, "x")["shape"]), (&json!(20), &json!(["rows", 80])));
    assert_eq!(binding(&sums, "partials")["shape"], json!(["partial_rows", 2, 12]));
    assert_eq!(sums["dispatch"]["partial_rows"], json!(["divide_up", "rows", 3]));
    assert_eq!(binding(&of("reduce-parameters"), "dgain")["shape"], json!([12]));
    let backward = of("backward");
    assert!(backward["bindings"].as_array().unwrap().iter().all(|bound| bound["name"] != "partials"));
    assert_refused(&["--cols", "80", "--channels", "10", "--groups", "3"], "--channels is 10");
    assert_refused(&["--cols", "3", "--channels", "8", "--groups", "2"], "--cols is less");
    assert_refused(&["--cols", "80", "--channels", "12", "--groups", "0"], "--groups");
    let backward = ["--cols", "80", "--channels", "12", "--groups", "3", "--operation", "backward"];
    assert_refused(&[&backward[..], &["--dx", "none"]].concat(), "needs --dx");
    assert_refused(&["--cols", "80", "--channels", "12"], "--groups");
    assert_refused(&["--cols", "80", "--operation", "channel-sums"], "--channels and --groups");
}

/// The text and the description say the same of the bindings.
#[test]
fn bindings_are_as_the_host_has_them() {
    for (flags, uniform, first, reads) in [
        (&[][..], 0, 1, true),
        (&["--uniform-last"], 4, 0, true),
        (&["--read-write"], 0, 1, false),
        (&["--uniform-last", "--read-write"], 4, 0, false),
    ] {
        let all = [&["--cols", "64"], flags].concat();
        let (text, description) = (emit(&all), description(&all));
        assert_eq!(description["uniform"]["binding"], uniform, "{flags:?}");
        assert!(text.contains(&format!("@binding({uniform}) var<uniform>")), "{flags:?}: {text}");
        let bindings = description["bindings"].as_array().unwrap();
        assert_eq!(bindings.len(), 4);
        for (number, binding) in (first..).zip(bindings) {
            assert_eq!(binding["binding"], number, "{flags:?}");
            let access = binding["access"].as_str().unwrap();
            let (name, element) = (binding["name"].as_str().unwrap(), binding["element"].as_str().unwrap());
            assert_eq!(access == "read", reads && name != "y", "{flags:?}: {name}");
            let declared = format!("@binding({number}) var<storage, {access}> {name}: array<{element}>;");
            assert!(text.contains(&declared), "{flags:?}: no {declared}");
        }
        for format in ["spirv", "msl", "hlsl", "glsl", "browser"] {
            let result = layernorm(&[&["emit", "--format", format][..], &all].concat()).output().unwrap();
            assert!(result.status.success() && !result.stdout.is_empty(), "{format} {flags:?}: {result:?}");
        }
    }
    for flag in ["--uniform-last", "--read-write"] {
        let result = run(layernorm(&["emit", "--all", "kernels", flag]));
        assert_eq!(result.code, Some(2), "{flag} with --all: {result:?}");
    }
}

#[test]
fn any_option_is_taken_by_its_name() {
    let added = description(&["--cols", "64", "--operation", "backward", "--option", "dsum"]);
    let names: Vec<&str> =
        added["bindings"].as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"dsum"), "{names:?}");
    let backward = ["emit", "--cols", "64", "--operation", "backward", "--option"];
    for (options, says) in [
        (&["nonsense"][..], "--option \"nonsense\" needs to be one of dx, dx_accumulate, dsum, "),
        (&["dsum", "--dx", "accumulate"], "--option dsum does not go with the rest"),
        (
            &["dx", "--option", "dx_accumulate"],
            "--option dx and --option dx_accumulate are in each other's place; give one",
        ),
    ] {
        let result = run(layernorm(&[&backward[..], options].concat()));
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(result.stderr.contains(says), "{}", result.stderr);
    }
}

#[test]
fn output_comes_with_its_description() {
    let room = Room::new();
    emit(&["--cols", "64", "--format", "spirv", "--output", &room.path("kernel.spv")]);
    assert_eq!(room.names(), ["kernel.json", "kernel.spv"]);
    let text = std::fs::read_to_string(room.path("kernel.json")).unwrap();
    let description: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&description["format"], &description["cols"]), (&"spirv".into(), &64.into()));
}

#[test]
fn all_writes_each_variant_once() {
    let room = Room::new();
    let directory = room.path("kernels");
    let result = run(layernorm(&["emit", "--all", &directory, "--format", "browser", "--case", CASE]));
    assert_eq!(result.code, Some(0), "{result:?}");
    assert_eq!(room.names(), ["kernels"], "nothing beside it");
    let index: Value =
        serde_json::from_slice(&std::fs::read(format!("{directory}/index.json")).unwrap()).unwrap();
    let variants = index["variants"].as_array().unwrap();
    let labels = variants.iter().map(|variant| variant["label"].as_str().unwrap().to_owned());
    let all = wgpu_layernorm::shader::variants::all().unwrap();
    let expected = all.iter().map(|variant| variant.plan.label()).filter(|label| label.contains(CASE));
    assert_eq!(labels.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let mut files = std::collections::HashSet::new();
    for variant in variants {
        for file in [&variant["text"], &variant["description"]] {
            let file = file.as_str().unwrap();
            assert!(files.insert(file.to_owned()), "{file} twice");
        }
    }
    for file in &files {
        assert!(std::fs::metadata(format!("{directory}/{file}")).unwrap().len() > 0, "{file}");
    }
    // What is there is not written over.
    assert_refused(&["--all", &directory], "not an empty directory");
}

#[test]
fn wrong_calls() {
    assert_refused(&[], "--cols");
    assert_refused(&["--cols", "64", "--vector-width", "3"], "1, 2, 4, 8 or 16");
    assert_refused(&["--cols", "7", "--vector-width", "4"], "--vector-width is 4");
    assert_refused(&["--cols", "12", "--dtype", "bf16", "--vector-width", "8"], "--vector-width is 8");
    assert_refused(&["--cols", "64", "--subgroup-sizes", "6..8"], "powers of two");
    assert_refused(
        &["--cols", "64", "--vector-width", "0"],
        "--vector-width is 0, needs to be 1, 2, 4, 8 or 16",
    );
    assert_refused(&["--cols", "64", "--max-invocations", "0"], "--max-invocations is 0");
    assert_refused(&["--cols", "64", "--max-workgroups", "0"], "--max-workgroups is 0");
    for alignment in ["0", "2", "48"] {
        let says = format!("--storage-alignment is {alignment}, needs to be a power of two from 4");
        assert_refused(&["--cols", "64", "--storage-alignment", alignment], &says);
    }
    assert_refused(&["--cols", "64", "--dx", "overwrite"], "--dx is backward's");
    assert_refused(&["--cols", "64", "--operation", "backward", "--residual"], "--residual is forward's");
    assert_refused(&["--cols", "64", "--x-in", "dx"], "y or sum");
    assert_refused(&["--cols", "64", "--x-in", "sum"], "--residual");
    assert_refused(&["--cols", "64", "--residual", "--x-in", "y", "--residual-in", "y"], "cannot hold both");
    let backward = ["--cols", "64", "--operation", "backward"];
    assert_refused(&[&backward[..], &["--affine", "none", "--dgain", "overwrite"]].concat(), "with a gain");
    assert_refused(&[&backward[..], &["--x-in", "dx", "--dx", "accumulate"]].concat(), "--dx overwrite");
    assert_refused(&[&backward[..], &["--affine", "none", "--dx", "none"]].concat(), "--dgain");
    assert_refused(&["--all", "kernels", "--cols", "64"], "--cols chooses one");
    assert_refused(&["--cols", "64", "--case", "forward"], "--all");
    assert_refused(&["--all", "kernels", "--case", "backwards"], "no variant's label contains \"backwards\"");
    assert_refused(&["--cols", "7", "--dtype", "f16", "--shader-f16", "--format", "glsl"], "16-bit floats");
    assert_refused(&["--cols", "64", "--output", "/no/such/place/kernel.wgsl"], "/no/such/place");
    assert_refused(&["--cols", "64", "--adapter", "Voodoo 2"], "no adapter matches Voodoo 2");
    let limits = run(layernorm(&["emit", "--cols", "64", "--max-storage-buffers", "3"]));
    assert_eq!(limits.code, Some(1), "an adapter that cannot: {limits:?}");
    assert!(limits.stderr.contains("storage buffers"), "{limits:?}");
}
