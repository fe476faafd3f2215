//! `compare`: reports beside each other.

use crate::reports::{bench, read_json};
use crate::{Room, layernorm, run};
use serde_json::json;

#[test]
fn compare_lays_reports_beside_each_other() {
    let room = Room::new();
    let [measured, verified, page, text, all] =
        ["measured.json", "verified.json", "both.html", "both.md", "all.json"].map(|name| room.path(name));
    let adapter = ["--adapter", "auto", "--json"];
    let shape = ["--shape", "40x64", "--dtype", "f32", "--operation", "forward"];
    assert_eq!(bench(&[&shape[..], &adapter, &[&measured]].concat()).code, Some(0));
    let name = crate::one_case();
    let case = ["verify", "--case", &name];
    assert_eq!(run(layernorm(&[&case[..], &adapter, &[&verified]].concat())).code, Some(0));
    // A measurement that failed on another machine, and one that it has alone.
    let mut other = read_json(&measured);
    other["adapter"]["name"] = json!("Voodoo 2");
    let failed = &mut other["measurements"][0];
    failed.as_object_mut().unwrap().retain(|key, _| !key.contains("seconds"));
    failed["failure"] = json!({ "kind": "failed", "message": "the device was lost" });
    let others = json!([other]);
    let other = room.path("other.json");
    std::fs::write(&other, others.to_string()).unwrap();

    let reports = ["compare", &measured, &verified, &other];
    let files = ["--html", &page, "--markdown", &text, "--json", &all];
    let result = run(layernorm(&[&reports[..], &files].concat()));
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    let markdown = std::fs::read_to_string(&text).unwrap();
    for text in [&result.stdout, &markdown] {
        for word in [
            "Voodoo 2",
            "FAILED",
            "the device was lost",
            "| cached, ",
            "A GB/s | B GB/s | B/A",
            "Verification",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    assert!(std::fs::read_to_string(&page).unwrap().contains("Voodoo 2"));
    assert_eq!(read_json(&all).as_array().unwrap().len(), 3);
    let again = run(layernorm(&["compare", &all]));
    assert_eq!(again.stdout, result.stdout, "nothing is lost on the way through one file");
}

#[test]
fn compare_shows_what_is_asked_for() {
    let room = Room::new();
    let [all, plot] = ["all.json", "plot.svg"].map(|name| room.path(name));
    let reports = concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/");
    let [h200, lavapipe] = ["nvidia-h200-vulkan-580.159.04-bench.json", "lavapipe-vulkan-22.3.6-bench.json"]
        .map(|name| format!("{reports}{name}"));
    let both = ["compare", &h200, &lavapipe];
    let filter = ["--shape", "4096x1024", "1x4096", "--dtype", "f16", "--operation", "forward"];
    let files = ["--json", &all, "--svg", &plot];
    let result = run(layernorm(&[&both[..], &filter, &files].concat()));
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    let out = &result.stdout;
    let title = "\n## Throughput: forward, layer norm, f16\n";
    assert!(out.contains(title) && !out.contains("layer norm, f32") && !out.contains("backward"), "{out}");
    let table: Vec<&str> =
        out.split_once(title).unwrap().1.lines().filter(|line| line.starts_with('|')).collect();
    assert!(table[0].contains("| A GB/s | B GB/s |") && table[0].contains(" B/A |"), "{out}");
    assert!(table[2].starts_with("| 4096 x 1024 |   2219 |  0.947 |"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 120), "{out}");
    let measured: Vec<usize> = read_json(&all)
        .as_array()
        .unwrap()
        .iter()
        .map(|report| report["measurements"].as_array().unwrap().len())
        .collect();
    assert_eq!(measured, [2, 2]);
    let svg = std::fs::read_to_string(&plot).unwrap();
    for word in ["A NVIDIA H200, vulkan", "B llvmpipe", "1 x 4096", "4096 x 1024"] {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    assert!(!svg.contains("8192 x 256"), "{svg}");

    for (flags, says) in [
        (&["--shape", "4096x1025"][..], "--shape 4096x1025: not in the reports; there are: 4096x64, "),
        (&["--dtype", "bf16"], "--dtype bf16: not in the reports; there are: f32, f16"),
        (&["--operation", "tune"], "--operation tune: not in the reports; there are: forward, backward"),
        (&["--shape", "4096"], "--shape"),
    ] {
        let refused = run(layernorm(&[&both[..], flags, &["--svg", &room.path("none.svg")]].concat()));
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
        assert!(refused.stderr.contains(says) && refused.stderr.lines().count() == 1, "{says}: {refused:?}");
    }
    assert_eq!(room.names(), ["all.json", "plot.svg"], "nothing is written where nothing matches");
}

#[test]
fn compare_refuses_what_is_no_report() {
    let room = Room::new();
    let refused = |args: &[&str], says: &[&str]| {
        let result = run(layernorm(&[&["compare"], args].concat()));
        assert_eq!((result.code, result.stdout.as_str()), (Some(2), ""), "{result:?}");
        assert_eq!(result.stderr.lines().count(), 1, "{result:?}");
        for text in says {
            assert!(result.stderr.contains(text), "{text}: {result:?}");
        }
    };
    let file = |name: &str, text: &str| {
        std::fs::write(room.path(name), text).unwrap();
        room.path(name)
    };
    refused(&[], &["REPORT"]);
    refused(&[&room.path("absent")], &["absent", "cannot be read"]);
    refused(&[&file("text", "GB/s")], &["text", "not JSON"]);
    refused(&[&file("other", r#"{"name": "other"}"#)], &["other", "version"]);
    refused(&[&file("newer", r#"{"version": 1000}"#)], &["newer", "1000"]);
    refused(&[&room.path("absent"), "--html", &room.path("absent/page")], &["--html", "directory"]);
}
