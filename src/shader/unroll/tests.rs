use super::*;

#[test]
fn loops_become_a_block_for_each_trip() {
    let text = "\
fn f() {
    for (var step = 0u; step < STEPS; step++) {
        // each step
        for (var part = 0u; part < PARTS; part++) {
            x[step * PARTS + part] = a_step(step, part.x); // of step
        }
    }
}
";
    let expected = "\
fn f() {
    {
        // each step
        {
            x[0u * PARTS + 0u] = a_step(0u, 0u.x); // of step
        }
    }
    {
        // each step
        {
            x[1u * PARTS + 0u] = a_step(1u, 0u.x); // of step
        }
    }
}
";
    let limits = Limits { most_trips: 4, run: None, turned: None };
    assert_eq!(unroll(text, &[("STEPS", 2), ("PARTS", 1)], limits).unwrap(), expected);
}

#[test]
fn loops_with_other_bounds_or_too_many_trips_stay() {
    for head in [
        "for (var step = 0u; step < STEPS; step++) {",
        "for (var i = 0u; i < count; i++) {",
        "for (var i = 0u; i < PARTS; i += 2u) {",
    ] {
        let text = format!("{head}\n    x += step;\n}}\n");
        let limits = Limits { most_trips: 32, run: Some(4), turned: None };
        assert_eq!(unroll(&text, &[("STEPS", 100), ("PARTS", 2)], limits).unwrap(), text);
    }
}

#[test]
fn a_loop_that_runs_once_stays_one_over_runs() {
    let text = "\
fn f() {
    for (var step = 0u; step < STEPS; step++) {
        gain[step] = load(step);
        for (var part = 0u; part < PARTS; part++) {
            store(step, sums[step * PARTS + part]);
        }
    }
    for (var row = first; row < end; row++) {
        for (var step = 0u; step < STEPS; step++) {
            x[step] = load(step);
        }
    }
}
";
    let unrolled =
        unroll(text, &[("STEPS", 3), ("PARTS", 1)], Limits { most_trips: 4, run: Some(2), turned: None })
            .unwrap();
    let expected = "\
fn f() {
    for (var run = 0u; run < 2u * u32(params.one); run += 2u) {
        {
            gain[0u] = load((run + 0u));
            {
                store((run + 0u), sums[0u * PARTS + 0u]);
            }
        }
        {
            gain[1u] = load((run + 1u));
            {
                store((run + 1u), sums[1u * PARTS + 0u]);
            }
        }
        let gain_0 = gain[0u];
        let gain_1 = gain[1u];
        gain[0u] = gain_0;
        gain[1u] = gain_1;
        let sums_0 = sums[0u];
        let sums_1 = sums[1u];
        sums[0u] = sums_0;
        sums[1u] = sums_1;
    }
    {
        gain[2u] = load(2u);
        {
            store(2u, sums[2u * PARTS + 0u]);
        }
    }
    for (var row = first; row < end; row++) {
        {
            x[0u] = load(0u);
        }
        {
            x[1u] = load(1u);
        }
        {
            x[2u] = load(2u);
        }
    }
}
";
    assert_eq!(unrolled, expected);
    let two_runs =
        unroll(text, &[("STEPS", 4), ("PARTS", 1)], Limits { most_trips: 4, run: Some(2), turned: None })
            .unwrap();
    for moved in ["sums[0u] = sums[2u];", "sums[1u] = sums[3u];", "sums[2u] = sums_0;", "sums[3u] = sums_1;"]
    {
        assert!(two_runs.contains(moved), "{moved} is not in {two_runs}");
    }
}

#[test]
fn a_loop_over_blocks_of_rows_keeps_the_loops_over_runs_in_it() {
    let text = "\
fn f() {
    for (var block = 0u; block < BLOCKS; block++) {
        for (var row = 0u; row < rows; row++) {
            for (var step = 0u; step < STEPS; step++) {
                x[step] += load(step);
            }
        }
        for (var step = 0u; step < STEPS; step++) {
            store(step, x[step]);
        }
    }
}
";
    let limits = Limits { most_trips: 4, run: Some(2), turned: None };
    let is_in_runs = |text: &str| {
        let held = text.contains("x[3u] += load(3u);") && !text.contains("x[0u] += load((run + 0u));");
        held && text.contains("store((run + 1u), x[1u]);") && !text.contains("store(3u")
    };
    // Blocks whose number the text does not know, and one.
    let blocks = unroll(&text.replace("BLOCKS", "blocks_of(rows)"), &[("STEPS", 4)], limits).unwrap();
    assert!(is_in_runs(&blocks) && blocks.contains("block++"), "{blocks}");
    let one = unroll(text, &[("STEPS", 4), ("BLOCKS", 1)], limits).unwrap();
    assert!(is_in_runs(&one) && !one.contains("block"), "{one}");
}

#[test]
fn arrays_turn_in_a_loop_that_stays() {
    let text = "\
fn f() {
    for (var first = 0u; first < BLOCK_ROWS; first += WALKED) {
        for (var w = 0u; w < WALKED; w++) {
            sums[first + w] = load(first + w);
        }
    }
    for (var run_step = 0u; run_step < STEPS; run_step += 2u) {
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            store(b, sums[b].x); // of b
        }
    }
}
";
    let expected = "\
fn f() {
    for (var first = 0u; first < 2u; first += 1u) {
        {
            sums[0u] = load(first + 0u);
        }
        let sums_0 = sums[0u];
        sums[0u] = sums[1u];
        sums[1u] = sums_0;
    }
    for (var run_step = 0u; run_step < STEPS; run_step += 2u) {
        for (var b = 0u; b < 2u; b += 1u) {
            store(b, sums[0u].x); // of b
            let sums_0 = sums[0u];
            sums[0u] = sums[1u];
            sums[1u] = sums_0;
        }
    }
}
";
    let limits = Limits { most_trips: 32, run: None, turned: Some("BLOCK_ROWS") };
    let bounds = [("BLOCK_ROWS", 2), ("WALKED", 1)];
    assert_eq!(unroll(text, &bounds, limits).unwrap(), expected);
    let other = text.replace("sums[b].x", "sums[b].x + sums[b ^ 1u].x");
    unroll(&other, &bounds, limits).expect_err("an index that no trip has at 0");
}

#[test]
fn a_loop_that_cannot_be_written_out_is_an_error() {
    let limits = Limits { most_trips: 32, run: None, turned: None };
    for text in [
        // Another start, another space, another brace.
        "for (var row = first; row < PARTS; row++) {\n    x += row;\n}\n",
        "for (var part = 0u; part <  PARTS; part++) {\n    x += part;\n}\n",
        "for (var part = 0u; part < PARTS; part++) {\n    x += part; }\n",
        "for (var part = 0u; part < PARTS; part++) {\n    if (part > 0u) {\n        continue;\n    }\n}\n",
        "for (var part = 0u; part < PARTS; part++) {\n    break;\n}\n",
    ] {
        unroll(text, &[("PARTS", 2)], limits).expect_err(text);
    }
    let inner = "for (var part = 0u; part < PARTS; part++) {\n    for (var i = 0u; i < n; i++) {\n        break;\n    }\n}\n";
    unroll(inner, &[("PARTS", 2)], limits).expect("the inner loop leaves itself");
}
