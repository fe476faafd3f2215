//! What others have reported of layer norms, tried here: small inputs, and the right values. Every row of a
//! table runs on every adapter, with the kernels that it would get, those of a GPU, and those without
//! subgroup operations; narrow rows, and the same again across rows that are streamed and split.

use half::{bf16, f16};
use std::sync::{Mutex, PoisonError};
use wgpu_layernorm::plan::{AdapterKind, RowSplit};
use wgpu_layernorm::reference::{self, BackwardOutputs, ForwardOutputs};
use wgpu_layernorm::{
    Affine, BackwardInputs, Context, Dtype, Element, ForwardInputs, Gradient, Normalization, Problem, Rows,
    RowsMut, adapters, required_features, wgpu,
};

use Normalization::{L2, Layer, Rms};

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// What a float32 result may be off, in units of 2^-24 of its terms: docs/numerics.md.
const UNITS: f64 = 4.0;

/// An adapter with the kernels that it would get, and with those of a GPU, on Vulkan also without subgroup
/// operations.
fn contexts(adapter: &wgpu::Adapter) -> Vec<(String, Context)> {
    let open = || pollster::block_on(Context::open(adapter)).expect("every adapter opens");
    let plain = || pollster::block_on(Context::open_plain(adapter)).expect("every adapter opens");
    let mut modes = vec![("own", open()), ("gpu", open().with_ladder(AdapterKind::Gpu))];
    if !required_features(adapter).is_empty() {
        modes.push(("plain gpu", plain().with_ladder(AdapterKind::Gpu)));
    }
    let named = |(mode, context): (&str, Context)| (format!("{}, {mode}", context.description()), context);
    modes.into_iter().map(named).collect()
}

/// An adapter by its own plans, with rows whole and split.
fn whole_and_split(adapter: &wgpu::Adapter, whole: &str) -> [(String, Context); 2] {
    let open = || pollster::block_on(Context::open(adapter)).expect("every adapter opens");
    [(whole, open()), ("split", open().with_row_split(RowSplit::Wide))]
        .map(|(mode, context)| (format!("{}, {mode}", context.description()), context))
}

/// A call, and what is right for it where that is known by hand.
struct Report {
    what: &'static str,
    normalization: Normalization,
    eps: f32,
    cols: usize,
    x: Vec<f32>,
    dy: Vec<f32>,
    gain: Option<Vec<f32>>,
    /// Each value of dx and dgain; what is not here is as the reference has it.
    dx: Option<Vec<f64>>,
    dgain: Option<Vec<f64>>,
}

impl Report {
    fn new(what: &'static str, normalization: Normalization, cols: usize, x: &[f32], dy: &[f32]) -> Self {
        let (x, dy) = (x.to_vec(), dy.to_vec());
        Self { what, normalization, eps: 1e-5, cols, x, dy, gain: None, dx: None, dgain: None }
    }

    fn eps(self, eps: f32) -> Self {
        Self { eps, ..self }
    }

    fn gain(self, gain: &[f32]) -> Self {
        Self { gain: Some(gain.to_vec()), ..self }
    }

    fn dx(self, dx: &[f64]) -> Self {
        Self { dx: Some(dx.to_vec()), ..self }
    }

    fn dgain(self, dgain: &[f64]) -> Self {
        Self { dgain: Some(dgain.to_vec()), ..self }
    }

    /// The rows again and again, up to `cols` columns.
    fn widened(&self, cols: usize) -> Self {
        let widen = |values: &[f32]| {
            let rows = values.chunks(self.cols);
            rows.flat_map(|row| row.iter().copied().cycle().take(cols)).collect::<Vec<_>>()
        };
        let gain = self.gain.as_deref().map(widen);
        Self { cols, x: widen(&self.x), dy: widen(&self.dy), gain, dx: None, dgain: None, ..*self }
    }

    /// Runs forward and backward, and compares them with float64: a sentence for each value that is wrong.
    fn check<T: Element>(&self, context: &Context, adapter: &str) -> Vec<String> {
        let Self { what, cols, .. } = *self;
        let rows = self.x.len() / cols;
        let stored = |values: &[f32]| values.iter().map(|v| T::from_f64((*v).into())).collect::<Vec<_>>();
        let (x, dy) = (stored(&self.x), stored(&self.dy));
        let gain = self.gain.as_deref().map(stored);
        let bias = self.gain.as_deref().map(|gain| vec![T::from_f64(0.5); gain.len()]);
        let problem = Problem {
            cols: cols.try_into().unwrap(),
            dtype: T::DTYPE,
            parameter_dtype: T::DTYPE,
            normalization: self.normalization,
            affine: if gain.is_some() { Affine::GainBias } else { Affine::None },
            eps: self.eps,
            ..Problem::default()
        };
        let dense = |data| Rows { data, stride: cols };
        let forward = ForwardInputs {
            gain: gain.as_deref(),
            bias: bias.as_deref(),
            ..ForwardInputs::new(rows, dense(&x[..]))
        };
        let backward = BackwardInputs {
            gain: gain.as_deref(),
            ..BackwardInputs::new(rows, dense(&x[..]), dense(&dy[..]))
        };

        let (mut y, mut statistics) = (vec![0.0; x.len()], vec![[0.0; 2]; rows]);
        let outputs = ForwardOutputs {
            statistics: Some(&mut statistics),
            ..ForwardOutputs::new(RowsMut { data: &mut y, stride: cols })
        };
        reference::forward(&problem, &forward, outputs).unwrap();
        let (mut dx, mut dgain, mut dbias) = (vec![0.0; x.len()], vec![0.0; cols], vec![0.0; cols]);
        let outputs = BackwardOutputs::<f64, f64> {
            dgate_input: None,
            dx: Some(RowsMut { data: &mut dx, stride: cols }),
            dgain: gain.is_some().then_some(&mut dgain[..]),
            dbias: gain.is_some().then_some(&mut dbias[..]),
            drow_gain: None,
            dx_gradient: Gradient::Overwrite,
            parameter_gradient: Gradient::Overwrite,
            ..BackwardOutputs::default()
        };
        reference::backward(&problem, &backward, outputs).unwrap();
        for (name, expected, reference) in [("dx", &self.dx, &dx), ("dgain", &self.dgain, &dgain)] {
            let Some(expected) = expected else { continue };
            if T::DTYPE == Dtype::F32 {
                let close =
                    |(a, b): (&f64, &f64)| a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-6 * b.abs();
                let all = reference.len() == expected.len() && reference.iter().zip(expected).all(close);
                assert!(all, "{what}: the reference's {name} is {reference:?}, expected {expected:?}");
            }
        }

        let terms = Terms::new(self.normalization, cols, &x, &dy, gain.as_deref(), &statistics);
        let mut wrong = Vec::new();
        let mut judge = |name: &str,
                         cols: usize,
                         got: &[f64],
                         expected: &[f64],
                         terms: &dyn Fn(usize) -> Term| {
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                let place = expected.abs() * if T::DTYPE == Dtype::F32 { 0.0 } else { 2_f64.powi(-7) };
                let Term { size, flushed } = terms(i);
                let allowed = UNITS * Dtype::F32.unit_roundoff() * size + flushed + place;
                let is_right = got.is_nan() && expected.is_nan()
                    || *got == T::from_f64(*expected).to_f64()
                    || (got - expected).abs() <= allowed;
                if !is_right {
                    let (row, column) = (i / cols, i % cols);
                    wrong.push(format!(
                        "{adapter}, {}, {:?}, {} columns, {what}: {name}[{row}, {column}] is {got:e}, expected {expected:e}, \
                         {allowed:e} off at most; x[0, 0] is {}",
                        T::DTYPE, self.normalization, self.cols, self.x[0],
                    ));
                    return;
                }
            }
        };
        let widened = |values: &[T]| values.iter().map(|value| value.to_f64()).collect::<Vec<_>>();
        let result = context.forward_blocking(&problem, &forward).unwrap();
        judge("y", cols, &widened(&result.y), &y, &|i| terms.y[i / cols]);
        let got: Vec<f64> = result.statistics.iter().map(|statistics| statistics.rstd.into()).collect();
        let expected: Vec<f64> = statistics.iter().map(|[_, rstd]| *rstd).collect();
        judge("rstd", 1, &got, &expected, &|row| terms.rstd[row]);
        let got: Vec<f64> = result.statistics.iter().map(|statistics| statistics.mean.into()).collect();
        let expected: Vec<f64> = statistics.iter().map(|[mean, _]| *mean).collect();
        judge("mean", 1, &got, &expected, &|row| {
            let values = x[row * cols..][..cols].iter().map(|x| x.to_f64().abs());
            Term { size: values.fold(0.0, f64::max), flushed: f64::from(f32::MIN_POSITIVE) }
        });
        let result = context.backward_blocking(&problem, &backward).unwrap();
        judge("dx", cols, &widened(&result.dx), &dx, &|i| terms.dx[i / cols]);
        if gain.is_some() {
            judge("dgain", cols, &widened(result.dgain.as_deref().unwrap()), &dgain, &|_| terms.dgain);
            judge("dbias", cols, &widened(result.dbias.as_deref().unwrap()), &dbias, &|_| terms.dbias);
        }
        wrong
    }
}

/// The size of the terms that a result is made of, and what taking subnormal numbers for 0 explains.
#[derive(Clone, Copy)]
struct Term {
    size: f64,
    flushed: f64,
}

/// The sizes of the terms that results are made of.
struct Terms {
    y: Vec<Term>,
    rstd: Vec<Term>,
    dx: Vec<Term>,
    dgain: Term,
    dbias: Term,
}

impl Terms {
    fn new<T: Element>(
        normalization: Normalization,
        cols: usize,
        x: &[T],
        dy: &[T],
        gain: Option<&[T]>,
        statistics: &[[f64; 2]],
    ) -> Self {
        let (mut y, mut of_rstd, mut dx) = (Vec::new(), Vec::new(), Vec::new());
        let mut lost = vec![0.0; cols];
        let (mut dgain, mut dbias, mut most_rstd) = (vec![0.0; cols], vec![0.0; cols], 0.0_f64);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / cols as f64;
        let most = |values: &[f64]| values.iter().map(|value| value.abs()).fold(0.0, f64::max);
        for ((x, dy), [row_mean, rstd]) in x.chunks(cols).zip(dy.chunks(cols)).zip(statistics) {
            let gain = |column: usize| gain.map_or(1.0, |gain| gain[column].to_f64());
            let xhat: Vec<f64> = x.iter().map(|x| (x.to_f64() - row_mean) * rstd).collect();
            let dxhat: Vec<f64> = dy.iter().enumerate().map(|(i, dy)| dy.to_f64() * gain(i)).collect();
            let product: Vec<f64> = dxhat.iter().zip(&xhat).map(|(a, b)| a * b).collect();
            let count = if normalization == L2 { 1.0 } else { cols as f64 };
            let m1 = if normalization == Layer { mean(&dxhat) } else { 0.0 };
            let smallest = f64::from(f32::MIN_POSITIVE);
            // Of a norm, the values are smaller by the root of their number, and it has a sum of products.
            let (spread, products) =
                if normalization == L2 { ((cols as f64).sqrt(), cols as f64) } else { (1.0, 0.0) };
            let off = smallest * rstd * spread;
            of_rstd.push(Term { size: *rstd, flushed: smallest + rstd * off });
            let size =
                rstd * (most(&dxhat) + m1.abs() + most(&xhat) * (product.iter().sum::<f64>() / count).abs());
            // An adapter may read 0 for an rstd that is subnormal: then dx is 0.
            let is_lost = *rstd < smallest;
            let flushed =
                smallest * (1.0 + rstd * (1.0 + products * most(&xhat))) + off * rstd * most(&dxhat);
            dx.push(Term { size, flushed: if is_lost { size.max(flushed) } else { flushed } });
            let most_gain = (0..cols).map(|i| gain(i).abs()).fold(0.0, f64::max);
            y.push(Term {
                size: most(&xhat.iter().enumerate().map(|(i, xhat)| xhat * gain(i)).collect::<Vec<_>>())
                    + 0.5,
                flushed: smallest * (1.0 + rstd * most_gain),
            });
            most_rstd = most_rstd.max(*rstd);
            for (i, (dy, xhat)) in dy.iter().zip(&xhat).enumerate() {
                let terms = [dy.to_f64() * xhat, dy.to_f64()].map(f64::abs);
                dgain[i] += terms[0];
                lost[i] += if is_lost { terms[0] } else { 0.0 };
                dbias[i] += terms[1];
            }
        }
        let finite =
            |terms: &[f64]| terms.iter().copied().filter(|terms| terms.is_finite()).fold(0.0, f64::max);
        let flushed = f64::from(f32::MIN_POSITIVE) * (1.0 + finite(&dbias) * (1.0 + most_rstd));
        let dgain = Term { size: finite(&dgain), flushed: flushed + finite(&lost) };
        Self { y, rstd: of_rstd, dx, dgain, dbias: Term { size: finite(&dbias), flushed } }
    }
}

/// What `wrong` says of every adapter, which has to be nothing. All devices of a GL adapter share one GL
/// context, and wgpu panics where a thread waits for it for a second: those take turns, and who does not get
/// the first turn begins with the other adapters.
fn assert_on_every_adapter(wrong: impl Fn(&wgpu::Adapter) -> Vec<String>) {
    static TURN: Mutex<()> = Mutex::new(());
    let adapters = pollster::block_on(adapters());
    assert!(
        !adapters.is_empty(),
        "no adapter: `cargo xtask adapter` installs a software one on Debian and Ubuntu"
    );
    let is_gl = |adapter: &&wgpu::Adapter| adapter.get_info().backend == wgpu::Backend::Gl;
    let (gl, others): (Vec<_>, Vec<_>) = adapters.iter().partition(is_gl);
    let mut all = Vec::new();
    let turn = TURN.try_lock().ok();
    let has_turn = turn.is_some();
    if has_turn {
        all.extend(gl.iter().flat_map(|adapter| wrong(adapter)));
    }
    drop(turn);
    all.extend(others.iter().flat_map(|adapter| wrong(adapter)));
    if !has_turn {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(gl.iter().flat_map(|adapter| wrong(adapter)));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// Runs reports on narrow rows, in f32 and bf16, which has its range.
fn check_all(reports: &[Report]) {
    assert_on_every_adapter(|adapter| {
        let mut wrong = Vec::new();
        for (adapter, context) in contexts(adapter) {
            for report in reports {
                wrong.extend(report.check::<f32>(&context, &adapter));
                if adapter.ends_with("own") {
                    wrong.extend(report.check::<bf16>(&context, &adapter));
                }
            }
        }
        wrong
    });
}

/// Runs reports with a gain on rows that are streamed, and that are split, by the adapter's own plans.
fn check_wide(reports: &[Report]) {
    const COLS: usize = 40_004;
    assert_on_every_adapter(|adapter| {
        let mut wrong = Vec::new();
        for (adapter, context) in whole_and_split(adapter, "streamed") {
            for report in reports.iter().filter(|report| report.cols > 1 && report.gain.is_some()) {
                wrong.extend(report.widened(COLS).check::<f32>(&context, &adapter));
            }
        }
        wrong
    });
}

fn not_finite() -> Vec<Report> {
    let rows = [NAN, INF, 1.0];
    vec![
        Report::new("one column of NaN and infinity", Layer, 1, &rows, &[1.0; 3]).dx(&[
            f64::NAN,
            f64::NAN,
            0.0,
        ]),
        Report::new("one column of NaN and infinity", Rms, 1, &rows, &[0.0; 3]),
        Report::new("one column, dy not finite", Layer, 1, &[1.0, 2.0, 3.0], &[INF, NAN, 1.0])
            .gain(&[2.0])
            .dx(&[f64::NAN, f64::NAN, 0.0])
            .dgain(&[f64::NAN]),
        Report::new("one column, dy infinite", Rms, 1, &[1.0, 2.0, 3.0], &[INF, -INF, 1.0]).gain(&[2.0]),
        Report::new(
            "dy not finite",
            Layer,
            4,
            &[1.0, 2.0, 4.0, 0.0, 3.0, 5.0, 1.0, 0.0],
            &[1.0, INF, 0.0, 1.0, 1.0, 2.0, 3.0, 0.0],
        )
        .gain(&[1.0; 4]),
        Report::new(
            "an infinity of dy where gain is 0",
            Layer,
            4,
            &[1.0, 2.0, 4.0, 0.0],
            &[1.0, INF, 1.0, 0.0],
        )
        .gain(&[1.0, 0.0, 1.0, 1.0]),
    ]
}

#[test]
fn nan_and_infinity_fill_their_row_and_no_other() {
    check_all(&not_finite());
}

fn near_the_largest() -> Vec<Report> {
    let big = 3e38;
    vec![
        Report::new("dy of both signs", Rms, 2, &[1.0, 2.0], &[big, -big])
            .dx(&[2.276_833_8e38, -1.138_420_7e38]),
        Report::new("dy of both signs", Rms, 4, &[1.0, 2.0, 0.0, 0.5], &[big, -big, big, 0.0])
            .gain(&[1.0; 4]),
        Report::new("dy the same", Layer, 2, &[0.0, 1.0], &[big, big]).dx(&[0.0; 2]),
        Report::new("dy the same", Layer, 8, &[0.0, 1.0, 2.0, 9.0, 4.0, 5.0, 6.0, 7.0], &[big; 8])
            .gain(&[1.0; 8]),
        Report::new("one gain that is large", Layer, 4, &[1.0, 2.0, 3.0, 5e5], &[2.0, -2.0, 2.0, 2.0])
            .gain(&[big, 1.0, 1.0, 1.0]),
        Report::new("gain and dy both large", Layer, 4, &[1e30, -2e30, 3e30, 0.0], &[2e30, -2.0, 1e30, 2.0])
            .gain(&[big, 1.0, 1.0, -big]),
        Report::new("gain and dy both large", Rms, 4, &[1e30, -2e30, 3e30, 0.0], &[2e30, -2.0, 1e30, 2.0])
            .gain(&[big, 1.0, 1.0, -big]),
        Report::new(
            "a row beside one that is large",
            Layer,
            4,
            &[1.0, 2.0, 3.0, 5.0, 1.0, 2.0, 4.0, 3.0],
            &[2.0, -2.0, 2.0, 2.0, 1e38, -1e38, 5e37, 0.0],
        )
        .gain(&[1.0, 2.0, 1.0, 1.0]),
        Report::new(
            "sums of dy that cancel",
            Layer,
            2,
            &[0.0, 1.0, 1.0, 0.0, 0.0, 1.0],
            &[8e37, -1e38, 7e37, 1e38, -1e38, -2e37],
        )
        .gain(&[0.5, 0.5]),
        Report::new("one column", Layer, 1, &[1.0, 2.0], &[1.3e38, -1.1e38]).gain(&[1.7]).dx(&[0.0; 2]),
        Report::new("one column", Rms, 1, &[1e20, 2.0], &[1.3e38, -1.1e38]).gain(&[1.7]),
        // The sum of the products exceeds float32, and dx is 0.
        Report::new("dy along x", L2, 2, &[1.0, 1.0], &[big, big]).eps(0.0),
        Report::new("dy along x", L2, 8, &[1.0; 8], &[big; 8]).gain(&[1.0; 8]).eps(0.0),
        Report::new("dy of both signs", L2, 2, &[1.0, 2.0], &[big, -big]).eps(0.0),
        Report::new("dy of both signs", L2, 4, &[1.0, 2.0, 0.0, 0.5], &[big, -big, big, 0.0]).gain(&[1.0; 4]),
        Report::new("one column", L2, 1, &[1e20, 2.0], &[1.3e38, -1.1e38]).gain(&[1.7]).eps(0.0),
    ]
}

#[test]
fn gradients_of_the_largest_numbers_are_finite() {
    check_all(&near_the_largest());
}

#[test]
fn gradients_of_the_largest_numbers_are_finite_in_wide_rows() {
    check_wide(&near_the_largest());
}

/// Rows that fill their steps: a compiler sees that no column is left out, and may add before it scales.
#[test]
fn wide_rows_of_the_largest_numbers_are_finite() {
    let big = 3e38;
    let alternating = [big, -big, big, -big, big, -big, big, -big];
    let halves = [big, big, big, big, -big, -big, -big, -big];
    let most = [f32::MAX, f32::MAX, f32::MAX, f32::MAX, 1.0, 1.0, 1.0, 1.0];
    assert_on_every_adapter(|adapter| {
        let mut wrong = Vec::new();
        for (adapter, context) in whole_and_split(adapter, "streamed") {
            for (normalization, x) in
                [(Layer, alternating), (Layer, halves), (Layer, most), (Rms, alternating)]
            {
                let dy = [1e-3, -2e-3, 5e-4, 3e-3, -1e-3, 2e-3, 1e-3, 0.0];
                let report = Report::new("the largest numbers", normalization, 8, &x, &dy).widened(8192);
                for context in [&context, &context.clone().with_ladder(AdapterKind::Gpu)] {
                    wrong.extend(report.check::<f32>(context, &adapter));
                    wrong.extend(report.check::<bf16>(context, &adapter));
                }
            }
        }
        wrong
    });
}

/// Each thread of a row may find one sign alone, so that every addition of its many values rounds the same
/// way.
#[test]
fn the_mean_of_a_square_wave_is_right() {
    let wave = |period: usize| {
        (0..1000).map(|i| if i % period < period / 2 { 225.5 } else { -225.5 }).collect::<Vec<_>>()
    };
    let dy = noise(1000, 2);
    let report = |period| Report::new("a square wave", Layer, 1000, &wave(period), &dy);
    check_all(&[4, 8, 16, 32].map(report));
}

/// eps of L2, whose square may be out of range, and norms at and around it.
#[test]
fn the_least_norm_may_be_any_number() {
    let reports: Vec<_> = [0.0, 1e-28, 1e-20, 1e-9, 4.99, 5.0, 5.01, 1e20]
        .map(|eps| {
            let rows = Report::new("the least norm", L2, 2, &[3.0, -4.0, 0.0, 0.0], &[1.0, 2.0, 0.0, 0.0]);
            rows.eps(eps).gain(&[1.0, 0.5])
        })
        .into();
    assert_on_every_adapter(|adapter| {
        let mut wrong = Vec::new();
        for (adapter, context) in contexts(adapter) {
            for report in &reports {
                wrong.extend(report.check::<f32>(&context, &adapter));
                wrong.extend(report.check::<bf16>(&context, &adapter));
                wrong.extend(report.check::<f16>(&context, &adapter));
            }
        }
        wrong
    });
}

fn without_eps() -> Vec<Report> {
    let mut reports = Vec::new();
    for normalization in [Layer, Rms, L2] {
        for exponent in [-125, -122, -118, -110, -95, -70, -64, -50, -40, -30, 0, 60, 120] {
            let scale = (exponent as f32).exp2();
            let x = [1.0, -2.0, 0.5, 3.0, -0.25, 1.5, -1.0, 0.75].map(|x| x * scale);
            let dy = [1.0, 0.5, -2.0, 1.0, 0.25, -1.0, 3.0, 1.0];
            let gain = [1.0, 2.0, -0.5, 1.5, 1.0, 0.25, 3.0, -1.0];
            // dx is rstd times as large.
            let dy = dy.map(|dy| dy * scale.min(1.0));
            reports.push(Report::new("eps 0", normalization, 8, &x, &dy).eps(0.0).gain(&gain));
            reports.push(Report::new("eps 2e-38", normalization, 8, &x, &dy).eps(2e-38).gain(&gain));
        }
    }
    for value in [std::f32::consts::PI, -3e38, 1e-30, 0.3, 0.0] {
        let (x, zeros) = ([value; 8], [0.0; 8]);
        let report =
            Report::new("a constant row, eps 0", Layer, 8, &x, &[1.0, 2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 8.0]);
        reports.push(report.eps(0.0).gain(&[2.0; 8]).dx(&zeros).dgain(&zeros));
        reports.push(
            Report::new("a constant row, eps 2e-38", Layer, 8, &x, &[1e-30; 8]).eps(2e-38).gain(&[1.0; 8]),
        );
        reports.push(
            Report::new("a constant row", Layer, 8, &x, &[1.0, -1.0, 2.0, 0.0, 0.0, 0.0, 0.5, 0.0])
                .gain(&[1.0; 8]),
        );
        reports.push(
            Report::new("a constant row, a subnormal eps", Layer, 8, &x, &[1.0; 8]).eps(1e-40).dx(&zeros),
        );
    }
    reports
        .push(Report::new("one column, eps 0", Layer, 1, &[3.0, -1e30], &[1.0, 1e38]).eps(0.0).gain(&[2.0]));
    reports.push(
        Report::new("a row of 0, eps 0", Rms, 8, &[0.0; 8], &[1.0; 8]).eps(0.0).gain(&[2.0; 8]).dx(&[0.0; 8]),
    );
    for x in [[1e-30, -1e-30], [0.0, 0.0], [1e35, -1e35], [2e-38, 2e-38], [3.0, 4.0]] {
        for eps in [0.0, 1e-12, 10.0] {
            let report = Report::new("the norm of a row", L2, 2, &x, &[1.0, 2.0]).eps(eps);
            reports.push(report.gain(&[1.0, 0.5]));
        }
    }
    let subnormal = [1e-40, -3e-40, 2e-39, 0.0];
    reports.push(
        Report::new("subnormal numbers, eps 0", Layer, 4, &subnormal, &[1.0; 4]).eps(0.0).dx(&[0.0; 4]),
    );
    let last_place = 1e6_f32.next_up();
    let x = [1e6, last_place, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6];
    reports.push(
        Report::new("a last place apart, eps 0", Layer, 8, &x, &[1.0, 2.0, 0.0, 1.0, 4.0, 5.0, 0.0, 0.0])
            .eps(0.0),
    );
    reports
}

#[test]
fn eps_may_be_zero() {
    check_all(&without_eps());
}

#[test]
fn eps_may_be_zero_in_wide_rows() {
    check_wide(&without_eps());
}

/// Values of no pattern, near normal.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}

/// Backward from what forward has stored of the same rows, whose own errors it must not carry on.
#[test]
fn backward_after_forward_is_as_accurate_as_by_itself() {
    let mut reports = Vec::new();
    for (rows, cols) in [(9, 384), (9, 5000)] {
        for (what, outlier, mean) in
            [("one column at 1e4", 1e4, 0.0), ("mean 1e5", 1.0, 1e5), ("normal", 0.0, 0.0)]
        {
            for normalization in [Layer, Rms] {
                let mut x: Vec<f32> = noise(rows * cols, 1).iter().map(|x| x + mean).collect();
                x.iter_mut().skip(cols / 3).step_by(cols).for_each(|x| *x += outlier);
                let (dy, gain) = (noise(rows * cols, 2), noise(cols, 3));
                reports.push(Report::new(what, normalization, cols, &x, &dy).gain(&gain));
            }
        }
    }
    assert_on_every_adapter(|adapter| {
        let mut wrong = Vec::new();
        for (adapter, context) in whole_and_split(adapter, "own") {
            for report in &reports {
                wrong.extend(report.check::<f32>(&context, &adapter));
            }
        }
        wrong
    });
}
