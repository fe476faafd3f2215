//! `batches`: batch norm scatters where batches are small, layer norm does not.

use crate::files::{self, Tensor, ramp};
use crate::{Room, fixture, layernorm, run};
use serde_json::Value;

const X: &str = "06.encoder.layer.2.output.LayerNorm.x";

#[test]
fn batch_norm_scatters_and_layer_norm_does_not() {
    let room = Room::new();
    let (fixture, plot) = (fixture(), room.path("plot.svg"));
    for adapter in ["auto", "cpu"] {
        let call = ["batches", &fixture, "--x", X, "--row", "1", "--draws", "40", "--json", "--svg", &plot];
        let result = run(layernorm(&[&call[..], &["--adapter", adapter]].concat()));
        assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        let measured: Value = serde_json::from_str(&result.stdout).unwrap();
        assert_eq!((&measured["rows"], &measured["cols"]), (&32.into(), &384.into()));
        let batches = measured["batches"].as_array().unwrap();
        assert_eq!(batches.len(), 5);
        let number = |value: &Value| value.as_f64().unwrap();
        for (batch, size) in batches.iter().zip([1, 2, 4, 16, 128]) {
            assert_eq!(batch["batch"], size);
            // Drawn with replacement, the mean of n rows scatters by sigma / sqrt(n). 40 draws of columns
            // that depend on each other tell it to a fifth.
            let of_one = number(&batch["mean"]) * f64::from(size).sqrt();
            assert!((of_one - 1.0).abs() < 0.2, "{batch}");
            let [scatter, distance] = ["scatter", "distance"].map(|name| &batch["layer_norm"][name]);
            assert_eq!([number(scatter), number(distance)], [0.0, 0.0], "{batch}");
            assert_eq!(batch["layer_norm_bits"], 0);
        }
        // One row leaves nothing of the case; more come nearer and nearer to all rows.
        let distances: Vec<f64> =
            batches.iter().map(|batch| number(&batch["batch_norm"]["distance"])).collect();
        assert!((distances[0] - 1.0).abs() < 1e-9, "{distances:?}");
        assert!(distances.windows(2).skip(1).all(|pair| pair[0] > pair[1]), "{distances:?}");
        assert!(distances[1] > 0.3 && distances[4] < 0.25, "{distances:?}");
        assert_eq!(number(&batches[0]["batch_norm"]["scatter"]), 0.0);
    }
    let svg = std::fs::read_to_string(&plot).unwrap();
    for word in [X, "batch norm: ", "layer norm: ", "128"] {
        assert!(svg.contains(word), "{word}: {svg}");
    }
}

#[test]
fn the_table_is_the_same_every_time() {
    let room = Room::new();
    let values: Vec<f32> = (0_u16..24).map(|value| f32::from(value * value % 13)).collect();
    let tensors = [("x", Tensor::f32(&[2, 3, 4], &values)), ("half", Tensor::f16(&[6, 4], &values))];
    files::write(&room.path("in"), &tensors);
    let table = |args: &[&str]| {
        let result = run(layernorm(&[&["batches", &room.path("in"), "--adapter", "cpu"], args].concat()));
        assert_eq!(result.code, Some(0), "{result:?}");
        let lines = result.stdout.lines().filter(|line| line.starts_with('|'));
        lines.map(str::to_owned).collect::<Vec<String>>()
    };
    let first = table(&["--x", "x", "--draws", "10"]);
    assert_eq!(first.len(), 7);
    assert_eq!(first, table(&["--x", "x", "--draws", "10", "--seed", "1"]));
    assert_eq!(first, table(&["--x", "half", "--draws", "10"]), "these values are the same in f16");
    assert_ne!(first, table(&["--x", "x", "--draws", "10", "--seed", "2"]));
    assert_ne!(first, table(&["--x", "x", "--draws", "10", "--row", "5"]));
}

#[test]
fn wrong_calls_are_refused() {
    let room = Room::new();
    let tensors = [
        ("x", Tensor::f32(&[3, 4], &ramp(12))),
        ("one", Tensor::f32(&[1, 4], &ramp(4))),
        ("none", Tensor::f32(&[3, 0], &[])),
        ("still", Tensor::f32(&[2, 2], &[1.0, 2.0, 3.0, 2.0])),
        ("flat", Tensor::f32(&[2, 2], &[2.0, 2.0, 1.0, 5.0])),
        ("middle", Tensor::f32(&[3, 2], &[1.0, 8.0, 2.0, 6.0, 3.0, 4.0])),
        ("nan", Tensor::f32(&[2, 2], &[1.0, 2.0, 3.0, f32::NAN])),
    ];
    files::write(&room.path("in"), &tensors);
    for (args, says) in [
        (&[][..], "--x"),
        (&["--x", "y"], "tensor y is not in "),
        (&["--x", "one"], "has 1 rows, needs 2 to "),
        (&["--x", "none"], "needs rows of 1 to "),
        (&["--x", "still"], "column 1, which has no sigma"),
        (&["--x", "flat"], "--row 0: all values of the row are the same"),
        (&["--x", "middle", "--row", "1"], "--row 1: the row is the mean of all rows"),
        (&["--x", "nan"], "not finite"),
        (&["--x", "x", "--row", "3"], "--row 3: "),
        (&["--x", "x", "--draws", "1"], "--draws"),
        (&["--x", "x", "--eps", "0"], "--eps"),
        (&["--x", "x", "--eps", "-1"], "--eps"),
        (&["--x", "x", "--adapter", "Voodoo 2"], "no adapter matches Voodoo 2"),
        (&["--x", "x", "--svg", "absent/plot.svg"], "--svg"),
    ] {
        let result = run(layernorm(&[&["batches", &room.path("in")], args].concat()));
        assert_eq!((result.code, result.stdout.as_str()), (Some(2), ""), "{result:?}");
        assert!(result.stderr.contains(says) && result.stderr.lines().count() == 1, "{says}: {result:?}");
    }
    let absent = run(layernorm(&["batches", &room.path("absent"), "--x", "x"]));
    assert_eq!(absent.code, Some(2), "{absent:?}");
}
