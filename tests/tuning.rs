//! Tuning tables: what a file may hold, and what becomes of it in plans.

use proptest::prelude::*;
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Caps, Forward, Kernel, Operation, Plan, Reduction, Rung, Span, SubgroupSizes,
    TunedAdapter, Tuning, TuningEntry, TuningKey,
};
use wgpu_layernorm::{Dtype, Error, Gradient, Normalization, Problem};

fn caps() -> Caps {
    Caps {
        subgroup: Some(SubgroupSizes { min: 32, max: 32 }),
        full_subgroups: true,
        max_invocations: 1024,
        ..Caps::webgpu_default()
    }
}

fn adapter() -> TunedAdapter {
    let [name, backend, driver] = ["Voodoo 2", "vulkan", "glide 3.10"].map(str::to_owned);
    TunedAdapter { name, backend, driver }
}

/// Not what the ladder takes for 1024 columns.
const RUNG: Rung = Rung {
    kernel: Kernel::ForwardCached,
    threads_per_row: 128,
    rows_per_workgroup: 1,
    reduction: Reduction::Subgroups(32),
    block_rows: 1,
    hold_parameters: true,
    least_slots: 512,
    rows_per_slot: 16,
};

fn entry(cols: u32, rung: Option<Rung>) -> TuningEntry {
    TuningEntry {
        key: TuningKey {
            adapter: adapter(),
            operation: "forward".to_owned(),
            normalization: Normalization::Layer,
            dtype: Dtype::F32,
            cols,
            vector_width: 4,
        },
        rows: 4096,
        rung,
        speedup: 1.25,
    }
}

fn tuning(entries: &[TuningEntry]) -> Tuning {
    let mut tuning = Tuning::default();
    for entry in entries {
        tuning.insert(entry.clone()).unwrap();
    }
    tuning
}

fn problem(cols: u32) -> Problem {
    Problem { cols, ..Problem::default() }
}

const FORWARD: Operation = Operation::Forward(Forward::new());

#[test]
fn a_table_survives_the_way_to_a_file_and_back() {
    let streamed = Rung { kernel: Kernel::BackwardStreamed, block_rows: 4, hold_parameters: false, ..RUNG };
    let mut backward = entry(1000, Some(streamed));
    backward.key.operation = "backward_dx".to_owned();
    let tuning = tuning(&[entry(1024, Some(RUNG)), entry(64, None), backward]);
    let text = tuning.to_json();
    assert_eq!(Tuning::from_json(&text).unwrap(), tuning);
    for words in ["\"forward_cached\"", "\"subgroups\": 32", "\"layer\"", "\"f32\"", "\"cols\": 1024"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(Tuning::from_json(&Tuning::default().to_json()).unwrap(), Tuning::default());
}

#[test]
fn a_later_entry_of_a_key_replaces_the_earlier() {
    let tuning = tuning(&[entry(1024, Some(RUNG)), entry(64, None), entry(1024, None)]);
    assert_eq!(tuning.entries(), [entry(1024, None), entry(64, None)]);
    assert_eq!(tuning.get(&entry(64, None).key), Some(&entry(64, None)));
    assert_eq!(tuning.get(&entry(65, None).key), None);
}

#[test]
fn entries_that_cannot_be_meant_are_refused() {
    let refused = |change: &dyn Fn(&mut TuningEntry), says: &[&str]| {
        let mut wrong = entry(1024, Some(RUNG));
        change(&mut wrong);
        let error = Tuning::default().insert(wrong.clone()).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        for text in says {
            assert!(error.to_string().contains(text), "{error} does not say {text}");
        }
        // As good as any other way in.
        let text = tuning(&[entry(1024, Some(RUNG))]).to_json();
        let line = |entry: &TuningEntry| serde_json::to_string(entry).unwrap();
        let file = format!("{{\"version\": 1, \"entries\": [{}]}}", line(&wrong));
        assert!(text.len() > 100 && Tuning::from_json(&file).unwrap_err().is_invalid(), "{file}");
    };
    let rung = |change: &'static dyn Fn(&mut Rung)| {
        move |entry: &mut TuningEntry| change(entry.rung.as_mut().unwrap())
    };
    refused(&|entry| entry.key.adapter.name.clear(), &["adapter", "empty"]);
    refused(&|entry| "reduce_parameters".clone_into(&mut entry.key.operation), &["operation", "backward_dx"]);
    refused(&|entry| entry.key.cols = 0, &["cols", "1 to 16777216"]);
    refused(&|entry| entry.key.cols = u32::MAX, &["cols", "1 to 16777216"]);
    refused(&|entry| entry.key.cols = 1022, &["vector_width is 4", "at most 2"]);
    for width in [0, 3, 16, u32::MAX] {
        refused(&|entry| entry.key.vector_width = width, &["vector_width", &width.to_string()]);
    }
    refused(&|entry| entry.speedup = -1.0, &["speedup is -1"]);
    refused(&rung(&|rung| rung.kernel = Kernel::BackwardCached), &["kernel is backward_cached", "forward"]);
    refused(&rung(&|rung| rung.kernel = Kernel::BackwardReduceParameters), &["kernel"]);
    refused(&rung(&|rung| rung.threads_per_row = 0), &["threads_per_row is 0", "at most 256"]);
    refused(&rung(&|rung| rung.threads_per_row = 96), &["threads_per_row is 96", "power of two"]);
    refused(&rung(&|rung| rung.threads_per_row = 512), &["threads_per_row is 512", "at most 256"]);
    refused(&rung(&|rung| rung.threads_per_row = 2), &["threads_per_row is 2", "128 vec4"]);
    refused(&rung(&|rung| rung.rows_per_workgroup = 0), &["rows_per_workgroup is 0"]);
    refused(&rung(&|rung| rung.rows_per_workgroup = 1 << 31), &["rows_per_workgroup", "4096"]);
    refused(&rung(&|rung| rung.block_rows = 2), &["block_rows is 2", "at most 1"]);
    refused(&rung(&|rung| rung.reduction = Reduction::Subgroups(0)), &["subgroup", "is 0"]);
    refused(&rung(&|rung| rung.least_slots = 0), &["least_slots", "0 and 16"]);
    refused(&rung(&|rung| rung.rows_per_slot = 0), &["rows_per_slot", "512 and 0"]);
    // With 2^26 rows a workgroup's would wrap to none, and nothing would be written.
    refused(&rung(&|rung| rung.rows_per_slot = u32::MAX), &["rows_per_slot is 4294967295", "at most"]);
    refused(&rung(&|rung| rung.kernel = Kernel::ForwardStreamed), &["hold_parameters is true"]);
}

#[test]
fn texts_that_are_no_tuning_file_are_refused() {
    let good = tuning(&[entry(1024, Some(RUNG))]).to_json();
    let twice = good.replace("\"entries\": [", "\"entries\": [ENTRY,");
    let one = serde_json::to_string(&entry(1024, None)).unwrap();
    for (text, says) in [
        (String::new(), "the tuning file is EOF"),
        ("GB/s".to_owned(), "the tuning file is"),
        ("[]".to_owned(), "the tuning file is"),
        ("{\"entries\": []}".to_owned(), "missing field `version`"),
        (good.replace("\"version\": 1", "\"version\": 2"), "version of the tuning file is 2, needs to be 1"),
        (
            good.replace("forward_cached", "forward_guessed"),
            "the tuning file is unknown variant `forward_guessed`",
        ),
        (good.replace("\"subgroups\": 32", "\"waves\": 32"), "waves"),
        (good.replace("\"block_rows\"", "\"block_cols\""), "block_cols"),
        (good.replace("\"rows\": 4096", "\"rows\": -1"), "integer `-1`, expected u64 at line"),
        (good.replace("\"cols\": 1024", "\"cols\": 1e99"), "expected u32 at line"),
        (good.replace("\"cols\": 1024,", ""), "missing field `cols`"),
        (twice.replace("ENTRY", &one), "in two entries"),
        // Of two values under one name the last would win.
        (good.replace("\"rows\": 4096", "\"rows\": 1, \"rows\": 4096"), "duplicate field `rows`"),
        (good.replace("\"cols\": 1024", "\"cols\": 1, \"cols\": 1024"), "duplicate field `cols`"),
        (
            good.replace("\"block_rows\": 1", "\"block_rows\": 2, \"block_rows\": 1"),
            "duplicate field `block_rows`",
        ),
        (good[..good.len() / 2].to_owned(), "the tuning file is EOF"),
    ] {
        let error = Tuning::from_json(&text).expect_err(&text);
        assert!(
            error.is_invalid() && error.to_string().contains(says),
            "{error} does not say {says}: {text}"
        );
    }
}

#[test]
fn plans_come_from_the_table_for_its_calls_and_from_the_ladder_for_others() {
    let tuning = tuning(&[entry(1024, Some(RUNG)), entry(512, None)]);
    let plan = |adapter: &TunedAdapter, problem: &Problem, operation, width| {
        tuning.plan(adapter, problem, operation, width, &caps()).unwrap()
    };
    let ladder = |problem: &Problem, forward, width| Plan::forward(problem, forward, width, &caps()).unwrap();
    let tuned = plan(&adapter(), &problem(1024), FORWARD, 8);
    assert_eq!(tuned.rung(), RUNG);
    assert_eq!(tuned.check(&caps()), Ok(()));
    assert_ne!(ladder(&problem(1024), Forward::default(), 8).rung(), RUNG);
    // Statistics, in place, affine and the storage of parameters are not in the key.
    let with_statistics = Operation::Forward(Forward { statistics: true, ..Forward::default() });
    assert_eq!(plan(&adapter(), &problem(1024), with_statistics, 4).rung(), RUNG);

    let residual = Forward { residual: true, ..Forward::default() };
    let (rms, f16) = (
        Problem { normalization: Normalization::Rms, ..problem(1024) },
        Problem { dtype: Dtype::F16, ..problem(1024) },
    );
    for (problem, forward, width) in [
        (problem(1024), residual, 8),
        (problem(1024), Forward::default(), 2),
        (problem(1023), Forward::default(), 8),
        (problem(512), Forward::default(), 8),
        (rms, Forward::default(), 8),
        (f16, Forward::default(), 8),
    ] {
        let plan = plan(&adapter(), &problem, Operation::Forward(forward), width);
        assert_eq!(plan, ladder(&problem, forward, width));
    }
    for change in [
        |adapter: &mut TunedAdapter| adapter.name.push('x'),
        |adapter: &mut TunedAdapter| "gl".clone_into(&mut adapter.backend),
        |adapter: &mut TunedAdapter| adapter.driver.push('1'),
    ] {
        let mut other = adapter();
        change(&mut other);
        let plan = plan(&other, &problem(1024), FORWARD, 8);
        assert_eq!(plan, ladder(&problem(1024), Forward::default(), 8), "on {other:?}");
    }
}

#[test]
fn a_rung_beyond_a_limit_leaves_the_ladder() {
    let tuning = tuning(&[entry(1024, Some(RUNG))]);
    for caps in [
        Caps { subgroup: None, ..caps() },
        Caps { subgroup: Some(SubgroupSizes { min: 16, max: 32 }), ..caps() },
        Caps { max_invocations: 127, ..caps() },
        Caps { max_workgroup_bytes: 16, ..caps() },
    ] {
        let error = Plan::with_rung(&problem(1024), FORWARD, 8, RUNG, &caps).unwrap_err();
        assert!(error.is_unsupported(), "{error}");
        let plan = tuning.plan(&adapter(), &problem(1024), FORWARD, 8, &caps);
        assert_eq!(plan, Plan::forward(&problem(1024), Forward::default(), 8, &caps));
    }
}

#[test]
fn rungs_that_would_add_up_wrongly_are_refused() {
    // Limits allow each of these: a subgroup that holds several rows, one thread's sum where there are more.
    let eight = Caps { subgroup: Some(SubgroupSizes { min: 8, max: 8 }), ..caps() };
    for rung in [
        Rung { threads_per_row: 4, rows_per_workgroup: 2, reduction: Reduction::Subgroup, ..RUNG },
        Rung { threads_per_row: 8, reduction: Reduction::Thread, ..RUNG },
        Rung { threads_per_row: 16, reduction: Reduction::Lanes, ..RUNG },
        Rung { threads_per_row: 16, rows_per_workgroup: 2, reduction: Reduction::Subgroups(8), ..RUNG },
        Rung { threads_per_row: 4, reduction: Reduction::Subgroups(4), ..RUNG },
    ] {
        let result = Plan::with_rung(&problem(256), FORWARD, 4, rung, &eight);
        assert!(result.as_ref().is_err_and(Error::is_unsupported), "{result:?}");
    }
}

fn backward() -> Operation {
    let wanted = Some(Gradient::Overwrite);
    Operation::Backward(Backward { dx: wanted, dgain: wanted, dbias: wanted, ..Backward::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rows change how often a tuned plan is dispatched and nothing that a row's sums depend on.
    #[test]
    fn rows_do_not_change_a_tuned_plan(
        cols in 1..=5000_u32, rows in 1..=100_000_u64, pick in any::<prop::sample::Index>(),
        is_software in any::<bool>(), is_forward in any::<bool>(),
    ) {
        let kind = if is_software { AdapterKind::Software } else { AdapterKind::Gpu };
        let caps = Caps { kind, subgroup: Some(SubgroupSizes { min: 8, max: 8 }), ..caps() };
        let operation = if is_forward { FORWARD } else { backward() };
        let width = Plan::max_vector_width(Dtype::F32, cols);
        let rungs = Plan::candidates(&problem(cols), operation, width, &caps).unwrap();
        let rung = rungs[pick.index(rungs.len())];
        let mut entry = entry(cols, Some(rung));
        operation.name().clone_into(&mut entry.key.operation);
        entry.key.vector_width = width;
        let tuning = tuning(&[entry]);
        let span = Span { offset: 0, stride: cols.into(), cols, element_bytes: 4, ..Span::default() };
        let plans: Vec<Plan> = [1, rows].into_iter().map(|rows| {
            let plan = tuning.plan(&adapter(), &problem(cols), operation, span.vector_width(), &caps).unwrap();
            let dispatches = plan.dispatches(rows, &[span], &caps).unwrap();
            assert_eq!(dispatches.iter().map(|dispatch| u64::from(dispatch.rows)).sum::<u64>(), rows);
            plan
        }).collect();
        prop_assert_eq!(plans[0], plans[1]);
        prop_assert_eq!(plans[0], Plan::with_rung(&problem(cols), operation, width, rung, &caps).unwrap());
    }
}
