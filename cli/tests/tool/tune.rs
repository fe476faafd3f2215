//! `tune`, and what the other commands make of its files.

use crate::{Room, Run, layernorm, run};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// A short run of `tune` on a width with few candidates, whose figures are worth nothing.
fn tune(out: &str, args: &[&str]) -> Run {
    let call = ["tune", "--out", out, "--rows", "40", "--dtype", "f32", "--seconds", "0"];
    run(layernorm(&[&call[..], args].concat()))
}

fn read_json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A file in which a rung beats the ladder at 40x16, whatever the times say.
fn room_with_tuning() -> (Room, String) {
    static TUNING: LazyLock<String> = LazyLock::new(|| {
        let room = Room::new();
        let file = room.path("tuning.json");
        let result = tune(&file, &["--cols", "16", "--operation", "forward"]);
        assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        let mut json = read_json(&file);
        // No ladder has so few threads and adds up through workgroup memory.
        json["entries"][0]["rung"] = json!({
            "kernel": "forward_cached", "threads_per_row": 2, "rows_per_workgroup": 4, "reduction": "workgroup",
            "block_rows": 1, "hold_parameters": true, "least_slots": 1, "rows_per_slot": 2
        });
        json.to_string()
    });
    let room = Room::new();
    let file = room.path("tuning.json");
    std::fs::write(&file, &*TUNING).unwrap();
    (room, file)
}

#[test]
fn tune_goes_on_where_it_stopped() {
    let room = Room::new();
    let file = room.path("tuning.json");
    let widths = ["--cols", "16", "20", "--operation", "forward"];
    let none = tune(&file, &[&widths[..], &["--budget", "0"]].concat());
    assert_eq!((none.code, none.stderr.as_str()), (Some(0), ""), "{none:?}");
    assert!(none.stdout.contains("has left 2: forward/layer/f32/40x16, forward/layer/f32/40x20"), "{none:?}");
    assert_eq!(room.names(), [""; 0], "nothing was found, so nothing is written");

    let first = tune(&file, &["--cols", "16", "--operation", "forward"]);
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""), "{first:?}");
    assert!(first.stdout.contains("1 tuned") && first.stdout.contains("0 were in the file"), "{first:?}");
    let before = read_json(&file);
    assert_eq!(before["version"], 1);
    let entry = &before["entries"][0];
    assert!(entry["adapter"]["name"].is_string() && entry["adapter"]["driver"].is_string(), "{entry}");
    for (key, value) in [
        ("operation", json!("forward")),
        ("normalization", json!("layer")),
        ("dtype", json!("f32")),
        ("cols", json!(16)),
        ("rows", json!(40)),
    ] {
        assert_eq!(entry[key], value, "{entry}");
    }
    // Of 16 bytes, or of the 32 that words of 64 bits have.
    assert!([json!(4), json!(8)].contains(&entry["vector_width"]), "{entry}");

    let rest = tune(&file, &widths);
    assert_eq!(rest.code, Some(0), "{rest:?}");
    assert!(rest.stdout.contains("1 tuned") && rest.stdout.contains("1 were in the file"), "{rest:?}");
    let after = read_json(&file);
    assert_eq!(after["entries"][0], *entry, "what was done is not done again");
    assert_eq!(after["entries"][1]["cols"], 20);
    let all = tune(&file, &widths);
    assert!(all.stdout.contains("0 tuned") && all.stdout.contains("2 were in the file"), "{all:?}");
    assert_eq!(read_json(&file), after);
    let again = tune(&file, &[&widths[..], &["--restart"]].concat());
    assert!(again.stdout.contains("2 tuned") && again.stdout.contains("0 were in the file"), "{again:?}");
    assert_eq!(read_json(&file)["entries"].as_array().unwrap().len(), 2);
    assert_eq!(room.names(), ["tuning.json"]);
}

#[test]
fn verify_and_bench_run_on_the_plans_of_a_file() {
    let (room, file) = room_with_tuning();
    let name = crate::one_case();
    let case = ["--adapter", "auto", "--case", &name];
    let verified = run(layernorm(&[&["verify", "--tuning", &file], &case[..]].concat()));
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{verified:?}");
    // In each of two modes the 12 cases of the file's width, and the one that was asked for, on another
    // width. An entry of 64-bit words is none of plain's, which has no such words.
    let of_words = read_json(&file)["entries"][0]["vector_width"] == 8;
    let tuned = format!("\n{} of 26 cases ran on plans of --tuning\n", if of_words { 12 } else { 24 });
    assert!(verified.stdout.contains(&tuned), "{verified:?}");
    assert!(verified.stdout.contains("\n26 cases passed, 0 failed"), "{verified:?}");

    let report = room.path("report.json");
    let shape = ["--shape", "40x16", "40x20", "--dtype", "f32", "--operation", "forward", "--seconds", "0"];
    let files = ["--tuning", &file, "--json", &report];
    let benched = run(layernorm(&[&["bench"], &shape[..], &files].concat()));
    assert_eq!((benched.code, benched.stderr.as_str()), (Some(0), ""), "{benched:?}");
    let json = read_json(&report);
    let plan = |i: usize| json["measurements"][i]["plan"].clone();
    assert_eq!((&plan(0)["threads_per_row"], &plan(0)["reduction"]), (&json!(2), &json!("workgroup")));
    assert_ne!(plan(1)["reduction"], "workgroup", "a width that is not in the file is the ladder's");
}

#[test]
fn a_file_for_another_adapter_is_said_and_passed_over() {
    let (room, file) = room_with_tuning();
    let mut json = read_json(&file);
    json["entries"][0]["adapter"]["name"] = json!("Voodoo 2");
    std::fs::write(&file, json.to_string()).unwrap();
    let (input, out) = (room.path("in"), room.path("out"));
    let values: Vec<f32> = (0_u8..64).map(f32::from).collect();
    crate::files::write(&input, &[("x", crate::files::Tensor::f32(&[4, 16], &values))]);
    let result = run(layernorm(&["forward", &input, &out, "--x", "x", "--tuning", &file]));
    assert_eq!(result.code, Some(0), "{result:?}");
    assert!(result.stderr.contains("note: --tuning has no entries for "), "{result:?}");
    let name = crate::one_case();
    let case = ["--adapter", "auto", "--case", &name];
    let verified = run(layernorm(&[&["verify", "--tuning", &file], &case[..]].concat()));
    assert_eq!(verified.code, Some(1), "no tuned plan was verified: {verified:?}");
    assert!(verified.stderr.contains("no case ran on a plan of the file"), "{verified:?}");
}

#[test]
fn forward_gives_the_same_on_a_tuned_plan() {
    let (room, file) = room_with_tuning();
    let (input, plain, tuned) = (room.path("in"), room.path("plain"), room.path("tuned"));
    let values: Vec<f32> = (0_u8..80).map(f32::from).collect();
    crate::files::write(&input, &[("x", crate::files::Tensor::f32(&[5, 16], &values))]);
    for (out, more) in [(&plain, &[][..]), (&tuned, &["--tuning", file.as_str()])] {
        let result = run(layernorm(&[&["forward", &input, out, "--x", "x"], more].concat()));
        assert_eq!(result.code, Some(0), "{result:?}");
    }
    // Sums of small whole numbers are exact in any order.
    assert_eq!(std::fs::read(&plain).unwrap(), std::fs::read(&tuned).unwrap());
}

#[test]
fn wrong_calls_and_files_are_refused() {
    let (room, file) = room_with_tuning();
    let refused = |args: &[&str], says: &[&str]| {
        let names = room.names();
        let result = run(layernorm(args));
        assert_eq!((result.code, result.stdout.as_str()), (Some(2), ""), "{args:?}: {result:?}");
        assert_eq!(result.stderr.lines().count(), 1, "{args:?}: {result:?}");
        for text in says {
            assert!(result.stderr.contains(text), "{args:?} does not say {text}: {result:?}");
        }
        assert_eq!(room.names(), names, "{args:?} left something behind");
    };
    let out = room.path("new.json");
    refused(&["tune"], &["--out"]);
    refused(&["tune", "--out", &room.path("absent/file")], &["--out", "directory"]);
    refused(&["tune", "--out", &out, "--cols", "0"], &["--cols", "1 to 16777216"]);
    refused(&["tune", "--out", &out, "--cols", "9..3"], &["--cols", "smaller"]);
    refused(&["tune", "--out", &out, "--rows", "0"], &["--rows"]);
    refused(&["tune", "--out", &out, "--cols", "9", "--rows", "1099511627776"], &["rows", "9 cols"]);
    refused(&["tune", "--out", &out, "--budget", "-1"], &["--budget"]);
    refused(&["tune", "--out", &out, "--margin", "-1"], &["--margin"]);
    refused(&["tune", "--out", &out, "--adapter", "Voodoo 2"], &["there are"]);

    let good = std::fs::read_to_string(&file).unwrap();
    let broken = room.path("broken.json");
    for (text, says) in [
        (String::new(), "the tuning file is EOF"),
        (good.replace("\"version\":1", "\"version\":2"), "version of the tuning file is 2, needs to be 1"),
        (
            good.replace("\"threads_per_row\":2", "\"threads_per_row\":3"),
            "threads_per_row is 3, needs to be a power of two",
        ),
    ] {
        std::fs::write(&broken, &text).unwrap();
        refused(&["tune", "--out", &broken, "--cols", "16"], &["--out", "broken.json", says]);
        assert_eq!(std::fs::read_to_string(&broken).unwrap(), text, "left as it was");
        refused(&["bench", "--tuning", &broken], &["--tuning", "broken.json", says]);
        refused(&["verify", "--tuning", &broken], &["--tuning", says]);
    }
    refused(&["bench", "--tuning", &room.path("absent")], &["--tuning", "cannot be read"]);
}
