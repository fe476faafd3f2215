//! `adapters`, `demo` and `verify`.

use crate::{Room, layernorm, run};
use serde_json::Value;

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
fn verify_reports_every_case_in_both_modes() {
    let room = Room::new();
    let report = room.path("report.json");
    let result = run(layernorm(&["verify", "--case", "/37x17/", "--json", &report]));
    assert_eq!(result.code, Some(0), "{}\n{}", result.stdout, result.stderr);
    let json: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let adapters = json["adapters"].as_array().unwrap();
    let modes: Vec<&str> = adapters.iter().map(|adapter| adapter["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["full", "plain"].repeat(adapter_count()));
    let mut passed = 0;
    for adapter in adapters {
        assert!(adapter["adapter"]["name"].is_string() && adapter["error"].is_null(), "{adapter}");
        let cases = adapter["cases"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            assert_eq!(case["failures"].as_array().unwrap().len(), 0, "{case}");
            if case["unsupported"].is_string() {
                continue;
            }
            passed += 1;
            assert!(case["kernel"].is_string() && case["dtype"].is_string(), "{case}");
            for error in case["errors"].as_array().unwrap() {
                assert!(error["units"].as_f64().unwrap() <= error["allowed"].as_f64().unwrap(), "{case}");
            }
        }
    }
    assert!(result.stdout.contains(&format!("\n{passed} cases passed, 0 failed")), "{}", result.stdout);
    assert_eq!(result.stderr, "", "no progress bar where there is no terminal");
    assert_eq!(room.names(), ["report.json"]);
}
