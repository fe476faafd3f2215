//! y in codes of 8 bits: how they round, saturate and treat rows that are zero, tiny or not finite, against a
//! table of their own; where they lie; what calls are refused.

mod support;

use half::{bf16, f16};
use safetensors::SafeTensors;
use support::{buffer, buffer_of_bytes, context, run_bytes, values};
use wgpu_layernorm::plan::{AdapterKind, Kernel, RowSplit, SubgroupSizes};
use wgpu_layernorm::reference::{self, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    Affine, BufferRows, CodeBuffers, CodeDtype, CodeFormat, Context, Dtype, Element, ForwardBuffers,
    LayerNorm, LayerNormDescriptor, Problem, Rows, RowsMut, Running, adapters,
};

/// The values of E4M3FN by their codes, 0 to 0x7e, from its definition.
fn fp8_values() -> Vec<f64> {
    let value = |code: u32| {
        let (exponent, fraction) = (code / 8, f64::from(code % 8));
        if exponent == 0 {
            fraction * 2_f64.powi(-9)
        } else {
            (1.0 + fraction / 8.0) * 2_f64.powi(i32::try_from(exponent).unwrap() - 7)
        }
    };
    (0..=0x7e).map(value).collect()
}

/// The code that is nearest to a multiple, the even one of two, by a search in the table.
fn nearest(dtype: CodeDtype, multiple: f64) -> u8 {
    if multiple.is_nan() {
        return if dtype == CodeDtype::Int8 { 0 } else { 0x7f };
    }
    let sizes: Vec<f64> = match dtype {
        CodeDtype::Int8 => (0..=127).map(f64::from).collect(),
        _ => fp8_values(),
    };
    let size = multiple.abs();
    let above = sizes.partition_point(|value| *value < size);
    let code = match (above.checked_sub(1), sizes.get(above)) {
        (Some(below), Some(next)) => {
            let (down, up) = (size - sizes[below], next - size);
            if down < up || (down == up && below % 2 == 0) { below } else { above }
        }
        (None, _) => 0,
        (Some(below), None) => below,
    };
    let code = u8::try_from(code).unwrap();
    match (multiple.is_sign_negative(), dtype) {
        (false, _) => code,
        (true, CodeDtype::Int8) => code.wrapping_neg(),
        (true, _) => code | 0x80,
    }
}

/// See tests/vectors/README.md.
#[test]
fn the_table_is_that_of_pytorch() {
    let bytes = include_bytes!("vectors/family.safetensors");
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(tensors.tensor("fp8.values").unwrap().data());
    let codes = tensors.tensor("fp8.codes").unwrap();
    assert!(values.len() > 700);
    for (value, code) in values.iter().zip(codes.data()) {
        assert_eq!(nearest(CodeDtype::Fp8E4m3, f64::from(*value)), *code, "{value:e}");
    }
}

/// What is written over, where nothing is.
const POISON: u8 = 0xa5;

fn norm(context: &Context, problem: Problem) -> LayerNorm {
    let Problem { cols, dtype, parameter_dtype, affine, normalization, eps, .. } = problem;
    let descriptor = LayerNormDescriptor {
        cols,
        dtype,
        parameter_dtype: Some(parameter_dtype),
        affine,
        normalization,
        eps,
        ..LayerNormDescriptor::default()
    };
    LayerNorm::new(context.kernels(), &descriptor).unwrap()
}

/// Codes of rows whose x is alike, so that y is the bias, and the units where they are found.
fn codes_of_bias(context: &Context, bias: &[f32], format: CodeFormat) -> (Vec<u8>, Option<Vec<f32>>) {
    let cols = bias.len();
    let (x, gain) = (vec![1.0_f32; cols], vec![1.0_f32; cols]);
    let problem = Problem::layer(u32::try_from(cols).unwrap());
    let inputs = ForwardInputs {
        gain: Some(&gain[..]),
        bias: Some(bias),
        ..ForwardInputs::new(1, Rows { data: &x[..], stride: cols })
    };
    let result = context.forward_codes_blocking(&problem, &inputs, &format).unwrap();
    (result.codes, result.units)
}

/// All float16, and between any two of one sign the float32 in the middle and those beside that.
fn many_values() -> Vec<f32> {
    let of_sign = |sign: u16| {
        (0..0x7c00_u16).flat_map(move |bits| {
            let [value, next] = [bits, bits + 1].map(|bits| f16::from_bits(sign | bits).to_f32());
            let middle = if next.is_finite() { 0.5 * (value + next) } else { value };
            [value, middle.next_down(), middle, middle.next_up()]
        })
    };
    of_sign(0).chain(of_sign(0x8000)).collect()
}

/// In rows of both kernels. The largest multiples are 65504, far beyond the largest code.
#[test]
fn every_rounding_is_to_the_nearest_and_ties_are_even() {
    let context = context();
    let values = many_values();
    for dtype in CodeDtype::ALL {
        for cols in [1024, 65_536] {
            for unit in [1.0, 0.25] {
                for bias in values.chunks(cols) {
                    let (codes, units) = codes_of_bias(&context, bias, CodeFormat::with_unit(dtype, unit));
                    assert_eq!(units, None);
                    for (code, value) in codes.iter().zip(bias) {
                        let expected = nearest(dtype, f64::from(*value) / f64::from(unit));
                        // An adapter may take numbers below 2^-126 as 0, and so lose their sign.
                        let (code, expected) =
                            if *value == 0.0 { (code & 0x7f, 0) } else { (*code, expected) };
                        assert_eq!(code, expected, "{value:e} of unit {unit} in {dtype}");
                    }
                }
            }
        }
    }
}

/// By every reduction: with subgroups of one size, of any, and without; of threads that are a row, a part of
/// a subgroup, or several.
#[test]
fn a_unit_makes_the_largest_y_the_largest_code() {
    let sizes = SubgroupSizes { min: 4, max: 64 };
    let of_gpu = || context().with_ladder(AdapterKind::Gpu);
    let adapter = pollster::block_on(adapters()).remove(0);
    let plain = pollster::block_on(Context::open_plain(&adapter)).unwrap();
    for (context, columns) in [
        (context(), &[1_usize, 2, 7, 33, 1000, 20_000][..]),
        (of_gpu(), &[16, 33, 1000, 5000, 20_000]),
        (of_gpu().with_subgroup_sizes(sizes), &[33, 1000, 20_000]),
        (plain.with_ladder(AdapterKind::Gpu), &[33, 1000, 20_000]),
    ] {
        for dtype in CodeDtype::ALL {
            for (cols, size) in columns.iter().flat_map(|cols| [1.0, 3e-30, 1e37].map(|size| (*cols, size))) {
                check_unit_of_row(&context, dtype, cols, size);
            }
        }
    }
}

fn check_unit_of_row(context: &Context, dtype: CodeDtype, cols: usize, size: f32) {
    let bias: Vec<f32> = values(3, cols).into_iter().map(|value| size * value).collect();
    // Anywhere in the row, and of either sign.
    for place in [0, cols / 3, cols - 1] {
        let mut bias = bias.clone();
        bias[place] = if cols.is_multiple_of(2) { -3.0 } else { 3.0 } * size;
        let (codes, units) = codes_of_bias(context, &bias, CodeFormat::per_row(dtype));
        let [unit] = units.unwrap()[..] else { panic!("one row") };
        let expected = f64::from(3.0 * size) / f64::from(dtype.largest());
        assert!((f64::from(unit) / expected - 1.0).abs() < 3.0 / f64::from(1 << 24), "{cols}: {unit:e}");
        assert_eq!(dtype.multiple(codes[place]).abs(), dtype.largest(), "{dtype}, {cols}");
        for (code, value) in codes.iter().zip(&bias) {
            let multiple = f64::from(*value) / f64::from(unit);
            let off = (f64::from(dtype.multiple(*code)) - multiple).abs();
            let half = match dtype {
                CodeDtype::Int8 => 0.5,
                _ => 0.5 * multiple.abs().log2().floor().max(-6.0).exp2() / 8.0,
            };
            assert!(off <= half * (1.0 + 1.0 / 256.0), "{value:e} is off by {off} in {dtype}");
        }
    }
}

#[test]
fn rows_that_are_zero_tiny_or_not_finite_have_their_units() {
    let context = context();
    for dtype in CodeDtype::ALL {
        let least = CodeDtype::LEAST_UNIT;
        for cols in [1_usize, 5, 64, 20_000] {
            let of = |fill: f32, last: f32| {
                let mut bias = vec![fill; cols];
                bias[cols - 1] = last;
                let (codes, units) = codes_of_bias(&context, &bias, CodeFormat::per_row(dtype));
                (codes, units.unwrap()[0])
            };
            let (codes, unit) = of(0.0, 0.0);
            assert_eq!((codes, unit), (vec![0; cols], least), "zeros");
            // 2 and 3 times the least unit: a quotient by the largest code would be subnormal.
            let (codes, unit) = of(2.0 * least, -3.0 * least);
            let expected = [2.0, -3.0].map(|multiple| nearest(dtype, multiple));
            assert_eq!((codes[0], unit), (expected[usize::from(cols == 1)], least), "tiny");
            assert_eq!(codes[cols - 1], expected[1], "tiny");
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let (codes, unit) = of(1.0, bad);
                assert!(unit.is_nan(), "{bad} in {dtype}: {unit}");
                assert_eq!(codes, vec![nearest(dtype, f64::NAN); cols], "{bad} in {dtype}");
                // Of a unit that is given, each y is by itself.
                let mut bias = vec![1.0; cols];
                bias[cols - 1] = bad;
                let (codes, _) = codes_of_bias(&context, &bias, CodeFormat::with_unit(dtype, 1.0));
                assert_eq!(codes[cols - 1], nearest(dtype, bad.into()), "{bad} in {dtype}");
                assert!(codes[..cols - 1].iter().all(|code| *code == nearest(dtype, 1.0)));
            }
        }
    }
}

/// x that is not finite is of its row alone, whatever the unit.
#[test]
fn a_row_that_is_not_finite_touches_no_other() {
    let context = context();
    let cols = 40_usize;
    for dtype in CodeDtype::ALL {
        for format in [CodeFormat::per_row(dtype), CodeFormat::with_unit(dtype, 0.5)] {
            let x = values(1, 5 * cols);
            let mut bad = x.clone();
            bad[2 * cols + 7] = f32::NAN;
            bad[3 * cols] = f32::INFINITY;
            let inputs = |x| ForwardInputs::<f32, f32>::new(5, Rows { data: x, stride: cols });
            let problem = Problem { affine: Affine::None, ..Problem::layer(40) };
            let sound = context.forward_codes_blocking(&problem, &inputs(&x), &format).unwrap();
            let got = context.forward_codes_blocking(&problem, &inputs(&bad), &format).unwrap();
            for row in 0..5 {
                let of_row = row * cols..(row + 1) * cols;
                if row == 2 || row == 3 {
                    assert_eq!(got.codes[of_row], vec![nearest(dtype, f64::NAN); cols]);
                    assert!(got.units.as_ref().is_none_or(|units| units[row].is_nan()));
                } else {
                    assert_eq!(got.codes[of_row.clone()], sound.codes[of_row]);
                    assert_eq!(got.units.as_ref().map(|u| u[row]), sound.units.as_ref().map(|u| u[row]));
                }
            }
        }
    }
}

/// The codes and units of a call beside y and statistics, or in their place, in buffers with poison around.
fn check_places<T: Element>(context: &Context, cols: u32, code: CodeDtype) {
    let rows = 6_usize;
    let width = cols as usize;
    let x: Vec<T> = values(5, rows * width).into_iter().map(|value| T::from_f64(value.into())).collect();
    let (gain, bias) = (values(6, width), values(7, width));
    let problem = Problem { dtype: T::DTYPE, parameter_dtype: Dtype::F32, ..Problem::layer(cols) };
    let norm = norm(context, problem);
    let word_cols = width.next_multiple_of(4);
    // A row of codes longer than it needs to be, from the third word on.
    let (stride, start) = (word_cols + 8, 12);
    let x_buffer = buffer_of_bytes(context, bytemuck::cast_slice(&padded(&x)));
    let (gain_buffer, bias_buffer) = (buffer(context, &gain), buffer(context, &bias));
    let y = buffer_of_bytes(context, &vec![POISON; (rows * width * 4).next_multiple_of(4)]);
    let codes = buffer_of_bytes(context, &vec![POISON; start + rows * stride + 16]);
    let units = buffer_of_bytes(context, &vec![POISON; 4 * rows + 8]);
    let of_codes = CodeBuffers::per_row(
        code,
        BufferRows::at_element(&codes, start as u64).with_stride(stride as u64),
        &units,
    );
    let alone = ForwardBuffers {
        gain: Some((&gain_buffer).into()),
        bias: Some((&bias_buffer).into()),
        ..ForwardBuffers::codes(rows as u64, &x_buffer, of_codes)
    };
    let beside = ForwardBuffers { y: Some((&y).into()), ..alone };
    let mut seen = Vec::new();
    for buffers in [alone, beside] {
        let prepared = norm.prepare_forward(&buffers).unwrap();
        seen.push(run_bytes(context, &[&prepared], &[&codes, &units]));
    }
    assert_eq!(seen[0], seen[1], "beside y and in its place");
    let [codes, units] = &seen[0][..] else { panic!("two buffers") };

    // What y is without codes, in float32 and in its own type.
    let mut expected = vec![0.0_f64; rows * width];
    let inputs = ForwardInputs {
        gain: Some(&gain[..]),
        bias: Some(&bias[..]),
        ..ForwardInputs::new(rows, Rows { data: &x[..], stride: width })
    };
    let outputs = ForwardOutputs::new(RowsMut { data: &mut expected, stride: width });
    reference::forward(&problem, &inputs, outputs).unwrap();
    let reference = reference::codes(&CodeFormat::per_row(code), width, &expected).unwrap();
    let units_got: Vec<f32> = bytemuck::pod_collect_to_vec(&units[..4 * rows]);
    assert!(units[4 * rows..].iter().all(|byte| *byte == POISON));
    assert!(codes[..start].iter().all(|byte| *byte == POISON), "before the first row");
    let mut others = 0;
    for row in 0..rows {
        let bytes = &codes[start + row * stride..][..stride];
        assert!(bytes[width..word_cols].iter().all(|byte| *byte == 0), "what is left of the last word");
        assert!(bytes[word_cols..].iter().all(|byte| *byte == POISON), "between rows");
        let off = f64::from(units_got[row]) / f64::from(reference.units[row]) - 1.0;
        assert!(off.abs() < 40.0 / f64::from(1 << 24), "unit {row} is off by {off:e}");
        let expected = &reference.codes[row * width..][..width];
        others += bytes.iter().zip(expected).filter(|(got, expected)| got != expected).count();
    }
    // Only where y / unit is next to a tie.
    assert!(others * 1000 <= rows * width, "{others} of {} codes of {cols} {:?}", rows * width, T::DTYPE);
    let [y] = &run_bytes(context, &[], &[&y])[..] else { panic!("one buffer") };
    let plain = buffer_of_bytes(context, &vec![POISON; y.len()]);
    let without = ForwardBuffers { codes: None, y: Some((&plain).into()), ..beside };
    let prepared = norm.prepare_forward(&without).unwrap();
    let [plain] = &run_bytes(context, &[&prepared], &[&plain])[..] else { panic!("one buffer") };
    let bytes = rows * width * T::DTYPE.size() as usize;
    let to_f64 = |bytes: &[u8]| -> Vec<f64> {
        bytemuck::pod_collect_to_vec::<u8, T>(bytes).into_iter().map(|value| value.to_f64()).collect()
    };
    // Rows that are read in another order are summed in another, but for the last bit alike.
    for (y, plain) in to_f64(&y[..bytes]).iter().zip(to_f64(&plain[..bytes])) {
        let off = (y - plain).abs();
        assert!(off <= 4.0 * T::DTYPE.unit_roundoff() * (1.0 + plain.abs()), "{y:e} for {plain:e}");
    }
}

/// To whole words.
fn padded<T: Element>(values: &[T]) -> Vec<T> {
    let mut padded = values.to_vec();
    padded.resize(values.len().next_multiple_of(4), T::from_f64(0.0));
    padded
}

#[test]
fn rows_of_codes_begin_on_words_and_fill_their_last() {
    let context = context();
    for code in CodeDtype::ALL {
        for cols in [1, 3, 6, 31, 64, 1000, 16_386] {
            check_places::<f32>(&context, cols, code);
            check_places::<f16>(&context, cols, code);
            check_places::<bf16>(&context, cols, code);
        }
    }
}

/// y over x, in one pool with the rest: nothing that codes are made of is written before they are.
#[test]
fn codes_are_those_of_x_where_y_lies_over_it() {
    let context = context();
    for cols in [96_u64, 20_000] {
        let x = values(8, 3 * usize::try_from(cols).unwrap());
        let problem = Problem { affine: Affine::None, ..Problem::layer(u32::try_from(cols).unwrap()) };
        let norm = norm(&context, problem);
        let run = |in_place: bool| {
            // x, y, codes and units from one 256th byte each.
            let bytes = (12 * cols).next_multiple_of(256);
            let mut pool = vec![0; usize::try_from(3 * bytes + 256).unwrap()];
            pool[..4 * x.len()].copy_from_slice(bytemuck::cast_slice(&x));
            let pool = buffer_of_bytes(&context, &pool);
            let y = BufferRows::at_byte(&pool, if in_place { 0 } else { bytes });
            let codes = BufferRows::at_byte(&pool, 2 * bytes);
            let units = wgpu_layernorm::BufferVector::at_byte(&pool, 3 * bytes);
            let codes = CodeBuffers::per_row(CodeDtype::Int8, codes, units);
            let call = ForwardBuffers {
                codes: Some(codes),
                ..ForwardBuffers::new(3, BufferRows::at_byte(&pool, 0), y)
            };
            let prepared = norm.prepare_forward(&call).unwrap();
            let [all] = &run_bytes(&context, &[&prepared], &[&pool])[..] else { panic!("one buffer") };
            all[usize::try_from(2 * bytes).unwrap()..].to_vec()
        };
        assert_eq!(run(true), run(false), "{cols} columns");
    }
}

/// Fewer rows than were prepared write theirs alone.
#[test]
fn heads_and_fewer_rows_have_their_codes() {
    let context = context();
    let x = buffer(&context, &values(9, 12 * 32));
    let norm = norm(&context, Problem { affine: Affine::None, ..Problem::rms(32) });
    let run = |inner: bool| {
        let codes = buffer_of_bytes(&context, &[POISON; 12 * 48]);
        // Three heads of each of four tokens, 16 bytes apart from the next token's.
        let rows = match inner {
            true => BufferRows::at_element(&codes, 0).with_stride(32).with_inner_rows(3, 3 * 32 + 16),
            false => BufferRows::at_element(&codes, 0),
        };
        let of_codes = CodeBuffers::with_unit(CodeDtype::Fp8E4m3, rows, 0.125);
        let prepared = norm.prepare_forward(&ForwardBuffers::codes(12, &x, of_codes)).unwrap();
        run_bytes(&context, &[&prepared], &[&codes]).remove(0)
    };
    let (dense, heads) = (run(false), run(true));
    for token in 0..4 {
        let at = token * (3 * 32 + 16);
        assert_eq!(heads[at..at + 96], dense[token * 96..][..96]);
        if token < 3 {
            assert!(heads[at + 96..at + 112].iter().all(|byte| *byte == POISON));
        }
    }
}

/// Rows that would be split are not where y is written in codes.
#[test]
fn wide_rows_with_codes_are_not_split() {
    let context = context();
    let cols = 131_072;
    let descriptor = LayerNormDescriptor {
        row_split: RowSplit::Wide,
        affine: Affine::None,
        ..LayerNormDescriptor::layer(cols)
    };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let x = buffer(&context, &values(1, cols as usize));
    let codes = buffer_of_bytes(&context, &vec![0; cols as usize]);
    let units = buffer(&context, &[0.0]);
    let buffers = ForwardBuffers::codes(1, &x, CodeBuffers::per_row(CodeDtype::Int8, &codes, &units));
    let kernels: Vec<Kernel> = norm.plan_forward(&buffers).unwrap().iter().map(|plan| plan.kernel).collect();
    assert_eq!(kernels, [Kernel::ForwardStreamed]);
    let y = buffer(&context, &vec![0.0; cols as usize]);
    assert_eq!(norm.plan_forward(&ForwardBuffers::new(1, &x, &y)).unwrap().len(), 2);
}

#[test]
fn calls_that_cannot_be_are_refused_by_name() {
    let context = context();
    let norm = norm(&context, Problem { affine: Affine::None, ..Problem::layer(6) });
    let all = buffer(&context, &[0.0; 1024]);
    let (codes, small) = (buffer(&context, &[0.0; 64]), buffer(&context, &[0.0; 4]));
    let of = |codes: BufferRows<'_>, unit: f32| {
        let codes = CodeBuffers::with_unit(CodeDtype::Int8, codes, unit);
        norm.plan_forward(&ForwardBuffers::codes(3, &all, codes)).map(|_| ()).unwrap_err().to_string()
    };
    let at = |offset| BufferRows::at_element(&codes, offset);
    assert_eq!(
        of(at(0).with_stride(10), 1.0),
        "codes.stride is 10, needs to be a multiple of 4: a row of codes begins with a word"
    );
    assert_eq!(
        of(at(0).with_stride(4), 1.0),
        "codes.stride is 4, needs to be at least 8, cols rounded up to a multiple of 4"
    );
    assert_eq!(
        of(at(2), 1.0),
        "codes.start is 2, needs to be a multiple of 4: a row of codes begins with a word"
    );
    assert!(of(at(0).with_column_stride(2), 1.0).starts_with("codes.column_stride is 2, needs to be 1"));
    assert!(of(at(0).with_inner_columns(3, 8), 1.0).starts_with("codes.inner_columns is 3"));
    assert_eq!(of((&small).into(), 1.0), "buffer codes has 16 bytes, needs 24");
    for unit in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-39, 1e38] {
        assert_eq!(of(at(0), unit), format!("codes.unit is {unit}, needs to be 2^-126 to 2^126"));
    }
    let codes = CodeBuffers::per_row(CodeDtype::Int8, &codes, &small);
    let given = ForwardBuffers {
        mean: Some((&small).into()),
        variance: Some((&small).into()),
        ..ForwardBuffers::codes(3, &all, codes)
    };
    let error = norm.plan_forward(&given).unwrap_err();
    assert!(error.to_string().starts_with("buffer codes was given but is not used"), "{error}");
    let running = ForwardBuffers {
        running: Some(Running::new((&small).into(), (&small).into())),
        ..ForwardBuffers::codes(3, &all, codes)
    };
    assert!(norm.plan_forward(&running).is_err());
    let gain = ForwardBuffers { gain: Some((&all).into()), ..ForwardBuffers::codes(3, &all, codes) };
    assert!(norm.plan_forward(&gain).unwrap_err().to_string().contains("gain"));
}
