//! `adapters`, `demo`, `verify` and `bench`.

use crate::{Room, Run, layernorm, run};
use serde_json::{Value, json};
use wgpu_layernorm::verify;

#[test]
fn adapters_are_listed() {
    let result = run(layernorm(&["adapters", "--json"]));
    assert_eq!(result.code, Some(0), "{result:?}");
    let adapters: Value = serde_json::from_str(&result.stdout).unwrap();
    let adapters = adapters.as_array().unwrap();
    assert!(!adapters.is_empty());
    let table = run(layernorm(&["adapters"]));
    assert_eq!(table.stdout.lines().count(), adapters.len() + 2, "a header of two lines, then a line each");
    for adapter in adapters {
        let text = |key: &str| adapter[key].as_str().unwrap();
        assert!(table.stdout.contains(text("name")) && table.stdout.contains(text("backend")), "{adapter}");
        assert!(adapter["max_invocations"].as_u64().unwrap() >= 128, "{adapter}");
        assert!(adapter["max_binding_bytes"].as_u64().unwrap() >= 1 << 20, "{adapter}");
        let subgroups = &adapter["subgroup_sizes"];
        assert!(subgroups.is_null() || subgroups[0].as_u64() >= Some(4), "{adapter}");
    }
    // Names or back ends that have to be among them, as whoever runs the test says.
    for part in std::env::var("LAYERNORM_TEST_ADAPTERS").unwrap_or_default().split_terminator(',') {
        let is = |adapter: &Value| {
            ["name", "backend"]
                .iter()
                .any(|key| adapter[key].as_str().is_some_and(|text| text.contains(part)))
        };
        assert!(adapters.iter().any(is), "no {part} in {adapters:?}");
    }
}

#[test]
fn the_demo_is_within_tolerance() {
    let result = run(layernorm(&["demo"]));
    assert_eq!(result.code, Some(0), "{}\n{}", result.stdout, result.stderr);
    let places = 1 + adapter_count();
    // 5 results for each of the 13 norms, and 4 for the batch where it is not compared with itself.
    let results = 65 * places + 4 * (places - 1);
    assert!(
        result.stdout.ends_with(&format!("\nall {results} results within tolerance\n")),
        "{}",
        result.stdout
    );
    assert_eq!(result.stdout.matches(".LayerNorm ").count(), 13 * places, "{}", result.stdout);
    assert_eq!(result.stdout.matches("8192 x 1024").count(), 2 * places, "{}", result.stdout);
}

fn adapter_count() -> usize {
    let adapters: Value = serde_json::from_str(&run(layernorm(&["adapters", "--json"])).stdout).unwrap();
    adapters.as_array().unwrap().len()
}

#[test]
fn verify_checks_split_rows_where_it_is_asked_to() {
    let room = Room::new();
    let report = room.path("report.json");
    let args =
        ["verify", "--adapter", "auto", "--case", "/5x20000/", "--row-split", "wide", "--json", &report];
    let result = run(layernorm(&args));
    assert_eq!(result.code, Some(0), "{}\n{}", result.stdout, result.stderr);
    // Calls with codes are not split, nor those of backward from y.
    let is_whole = |case: &verify::Case| match case.task {
        verify::Task::Forward(forward) => forward.codes.is_some(),
        verify::Task::Backward(backward) => backward.from_y,
    };
    let of_width: Vec<_> =
        verify::cases().into_iter().filter(|case| case.name().contains("/5x20000/")).collect();
    let whole = of_width.iter().filter(|case| is_whole(case)).count();
    for run in read_json(&report)["verify"].as_array().unwrap() {
        let count = |is_split: bool| -> usize {
            let kernels = run["kernels"].as_array().unwrap().iter();
            let of = kernels.filter(|of| of["kernel"].as_str().unwrap().contains("_split_") == is_split);
            of.map(|of| usize::try_from(of["cases"].as_u64().unwrap()).unwrap()).sum()
        };
        assert_eq!((count(true), count(false)), (of_width.len() - whole, whole), "{run}");
        assert!(count(true) > 0, "{run}");
    }
}

#[test]
fn verify_reports_both_modes_of_every_adapter() {
    let room = Room::new();
    let [report, page] = ["report.json", "report.html"].map(|name| room.path(name));
    let result = run(layernorm(&["verify", "--case", "/37x16/", "--json", &report, "--html", &page]));
    assert_eq!(result.code, Some(0), "{}\n{}", result.stdout, result.stderr);
    let reports = match read_json(&report) {
        Value::Array(reports) => reports,
        report => vec![report],
    };
    assert_eq!(reports.len(), adapter_count());
    let (mut cases, mut unsupported) = (0, 0);
    for report in &reports {
        assert!(report["adapter"]["name"].is_string() && report.get("measurements").is_none(), "{report}");
        let runs = report["verify"].as_array().unwrap();
        let modes: Vec<&str> = runs.iter().map(|run| run["mode"].as_str().unwrap()).collect();
        assert_eq!(modes, ["full", "plain"]);
        for run in runs {
            assert!(run["error"].is_null() && run["failures"] == json!([]), "{run}");
            let kernels = run["kernels"].as_array().unwrap();
            for name in ["forward_cached", "backward_cached"] {
                assert!(kernels.iter().any(|kernel| kernel["kernel"] == name), "{name}: {run}");
            }
            for kernel in kernels {
                cases += kernel["cases"].as_u64().unwrap();
                unsupported += kernel["unsupported"].as_u64().unwrap();
                for error in kernel["errors"].as_array().unwrap() {
                    assert!(
                        error["units"].as_f64().unwrap() <= error["allowed"].as_f64().unwrap(),
                        "{kernel}"
                    );
                }
            }
        }
    }
    let passed = cases - unsupported;
    assert!(result.stdout.contains(&format!("\n{passed} cases passed, 0 failed")), "{}", result.stdout);
    assert_eq!(result.stderr, "", "no progress bar where there is no terminal");
    assert!(std::fs::read_to_string(&page).unwrap().contains("backward_cached"));
    assert_eq!(room.names(), ["report.html", "report.json"]);
}

pub(crate) fn read_json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A short run of `bench`, whose figures are worth nothing.
pub(crate) fn bench(args: &[&str]) -> Run {
    run(layernorm(&[&["bench", "--seconds", "0"], args].concat()))
}

#[test]
fn bench_reports_every_measurement() {
    let room = Room::new();
    let [report, page, plot, text] =
        ["report.json", "report.html", "plot.svg", "report.md"].map(|name| room.path(name));
    let result = bench(&[
        "--shape",
        "40x64",
        "7x77",
        "40x64",
        "--dtype",
        "f32",
        "bf16",
        "--operation",
        "forward",
        "backward",
        "--json",
        &report,
        "--html",
        &page,
        "--svg",
        &plot,
        "--markdown",
        &text,
    ]);
    assert_eq!(result.code, Some(0), "{}\n{}", result.stdout, result.stderr);
    assert_eq!(result.stderr, "", "no progress bar where there is no terminal");
    let json = read_json(&report);
    assert!(json["adapter"]["name"].is_string() && json["version"] == 1, "one adapter is one object: {json}");
    let measurements = json["measurements"].as_array().unwrap();
    let mut names: Vec<String> = measurements
        .iter()
        .map(|measurement| {
            let word = |key: &str| measurement[key].as_str().unwrap().to_owned();
            assert!(measurement["failure"].is_null(), "{measurement}");
            assert!(word("kernel").ends_with("_cached"), "{measurement}");
            assert_eq!(measurement["plan"]["kernel"], measurement["kernel"]);
            let number = |key: &str| measurement[key].as_f64().unwrap();
            let rate = number("bytes") / number("median_seconds") / 1e9;
            assert!((rate / number("gigabytes_per_second") - 1.0).abs() < 1e-9, "{measurement}");
            let ratio = number("gigabytes_per_second") / number("copy_gigabytes_per_second");
            assert!((ratio / number("copy_ratio") - 1.0).abs() < 1e-9, "{measurement}");
            format!("{} {} {}x{}", word("operation"), word("dtype"), measurement["rows"], measurement["cols"])
        })
        .collect();
    names.sort_unstable();
    let expected = ["backward", "forward"].map(|operation| {
        ["bf16", "f32"].map(|dtype| ["40x64", "7x77"].map(|shape| format!("{operation} {dtype} {shape}")))
    });
    assert_eq!(names, expected.concat().concat());
    for title in ["forward", "backward"] {
        for dtype in ["f32", "bf16"] {
            let title = format!("\n## Throughput: {title}, layer norm, {dtype}\n");
            let table =
                result.stdout.split_once(&title).unwrap_or_else(|| panic!("{title}{}", result.stdout)).1;
            let table = table.split("\n## ").next().unwrap();
            for shape in ["| 40 x 64 ", "| 7 x 77 "] {
                assert_eq!(table.matches(shape).count(), 1, "{shape}: {table}");
            }
        }
    }
    assert!(
        result.stdout.contains(" a row, ") && result.stdout.contains(" a workgroup, "),
        "{}",
        result.stdout
    );
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(read(&page).contains("Throughput") && read(&page).contains("<svg "));
    assert!(read(&plot).starts_with("<svg ") && read(&text).starts_with("# "));
    assert_eq!(room.names(), ["plot.svg", "report.html", "report.json", "report.md"]);
}

#[test]
fn bench_measures_every_operation_and_norm() {
    let room = Room::new();
    let report = room.path("report.json");
    let result = bench(&[
        "--shape",
        "16x48",
        "--dtype",
        "f16",
        "--operation",
        "forward",
        "forward_residual",
        "backward",
        "backward_dx",
        "--normalization",
        "layer",
        "rms",
        "--json",
        &report,
    ]);
    assert_eq!(result.code, Some(0), "{}\n{}", result.stdout, result.stderr);
    let json = read_json(&report);
    let measurements = json["measurements"].as_array().unwrap();
    assert_eq!(measurements.len(), 8);
    let outputs = |operation: &str, normalization: &str| -> Vec<&str> {
        let is_it = |measurement: &&Value| {
            measurement["operation"] == operation && measurement["normalization"] == normalization
        };
        let errors = measurements.iter().find(is_it).unwrap()["errors"].as_array().unwrap();
        errors.iter().map(|error| error["output"].as_str().unwrap()).collect()
    };
    assert_eq!(outputs("forward_residual", "layer"), ["sum", "y"]);
    assert_eq!(outputs("backward", "layer"), ["dx", "dgain", "dbias"]);
    assert_eq!(outputs("backward", "rms"), ["dx", "dgain"], "as in models, RMS norm has no bias");
    assert_eq!(outputs("backward_dx", "rms"), ["dx"]);
}

#[test]
fn bench_measures_parameters_of_another_storage() {
    let room = Room::new();
    let [report, plot] = ["report.json", "plot.svg"].map(|name| room.path(name));
    let shape = ["--shape", "16x48", "--operation", "forward", "backward"];
    let parameters = ["--dtype", "f32", "f16", "--parameter-dtype", "f32", "--json", &report, "--svg", &plot];
    let result = bench(&[&shape[..], &parameters].concat());
    assert_eq!(result.code, Some(0), "{}\n{}", result.stdout, result.stderr);
    assert!(
        result.stdout.contains("## Throughput: backward, layer norm, f16, parameters f32\n"),
        "{}",
        result.stdout
    );
    let json = read_json(&report);
    let measurements = json["measurements"].as_array().unwrap();
    let words: Vec<[&str; 4]> = measurements
        .iter()
        .map(|one| {
            let plan = &one["plan"];
            [&one["operation"], &one["dtype"], &one["parameter_dtype"], &plan["parameter_storage"]]
                .map(|word| word.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        words,
        [
            ["forward", "f32", "f32", "f32"],
            ["forward", "f16", "f32", "f32"],
            ["backward", "f32", "f32", "f32"],
            ["backward", "f16", "f32", "f32"],
        ]
    );
    // A baseline of gains in 16 bits is another thing.
    let narrow = [&shape[..], &["--dtype", "f16", "--baseline", &report]].concat();
    let narrow = bench(&narrow);
    assert_eq!(narrow.code, Some(0), "{narrow:?}");
    assert_eq!(narrow.stdout.matches("not in the baseline").count(), 2, "{}", narrow.stdout);

    let refused = bench(&["--dtype", "f16", "bf16", "--parameter-dtype", "f16"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
    let says = "--parameter-dtype f16: rows in bf16 (--dtype) need gain and bias in f32 or bf16";
    assert!(refused.stderr.contains(says), "{refused:?}");
}

#[test]
fn bench_is_held_against_a_baseline() {
    let room = Room::new();
    let baseline = room.path("baseline.json");
    let shape = ["--shape", "40x64", "--dtype", "f32", "--operation", "forward"];
    assert_eq!(bench(&[&shape[..], &["--json", &baseline]].concat()).code, Some(0));
    let mut json = read_json(&baseline);
    let seconds = json["measurements"][0]["median_seconds"].as_f64().unwrap();
    let mut against = |seconds: f64, more: &[&str]| {
        json["measurements"][0]["median_seconds"] = json!(seconds);
        std::fs::write(&baseline, json.to_string()).unwrap();
        bench(&[&shape[..], &["--baseline", &baseline], more].concat())
    };
    let slower = against(seconds / 1000.0, &[]);
    assert_eq!(slower.code, Some(1), "{slower:?}");
    assert!(slower.stderr.contains("forward/layer/f32/40x64 by "), "which one: {}", slower.stderr);
    assert!(slower.stdout.contains("SLOWER"), "{}", slower.stdout);
    let margin = against(seconds / 1000.0, &["--margin", "1e9"]);
    assert_eq!(margin.code, Some(0), "{margin:?}");
    let faster = against(seconds * 1000.0, &["--margin", "5"]);
    assert_eq!(faster.code, Some(0), "{faster:?}");
    assert!(faster.stdout.contains("faster"), "{}", faster.stdout);

    json["adapter"]["name"] = json!("Voodoo 2");
    std::fs::write(&baseline, json.to_string()).unwrap();
    let other = bench(&[&shape[..], &["--baseline", &baseline]].concat());
    assert_eq!((other.code, other.stdout.as_str()), (Some(2), ""), "{other:?}");
    assert!(other.stderr.contains("Voodoo 2") && other.stderr.contains("--baseline"), "{other:?}");
}

/// Group norm: rows that are groups of channels.
#[test]
fn bench_times_rows_of_channels() {
    let room = Room::new();
    let report = room.path("report.json");
    let shape = [
        "bench",
        "--adapter",
        "auto",
        "--dtype",
        "f32",
        "--seconds",
        "0",
        "--channels",
        "12",
        "--groups",
        "3",
    ];
    let result = run(layernorm(&[&shape[..], &["--shape", "300x80", "--json", &report]].concat()));
    assert_eq!(result.code, Some(0), "{}\n{}", result.stdout, result.stderr);
    assert!(result.stdout.contains("12 channels in 3 groups"), "{}", result.stdout);
    for measurement in read_json(&report)["measurements"].as_array().unwrap() {
        assert_eq!(measurement["channels"], serde_json::json!({"count": 12, "groups": 3}), "{measurement}");
    }
    for (wrong, says) in [("301x80", "a multiple of the 3 groups"), ("300x81", "cols is 81")] {
        let result = run(layernorm(&[&shape[..], &["--shape", wrong]].concat()));
        assert_eq!(result.code, Some(2), "{}", result.stderr);
        assert!(result.stderr.contains(says) && result.stderr.contains("--groups 3"), "{}", result.stderr);
    }
}
