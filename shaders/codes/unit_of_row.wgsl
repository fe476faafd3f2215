// A unit of each row, which makes its largest |y| the largest code: max(largest |y| / LARGEST_CODE, 2^-126).

// The bits of |y|, where they are larger: those of infinity and NaN are larger than those of numbers, and no
// compiler leaves them out.
fn larger(largest: vec4<u32>, values: Values, step: u32, thread: u32) -> vec4<u32> {
    var y = values;
    var bits = largest;
    for (var part = 0u; part < PARTS; part++) {
        let size = bitcast<vec4<u32>>(keep_row(y[part], step, part, thread)) & vec4<u32>(0x7fffffffu);
        bits = max(bits, size);
    }
    return bits;
}

// Finds the unit of a row, and writes it: NaN where any y of the row is not finite.
fn inverse_unit(invocation: Invocation, row: u32, has_row: bool, thread: u32, largest: vec4<u32>, nan: u32) -> u32 {
    let bits = max(max(largest.x, largest.y), max(largest.z, largest.w));
    let is_finite = bits < 0x7f800000u;
    let of_thread = Sums(select(0.0, bitcast<f32>(bits), is_finite), select(1.0, 0.0, is_finite));
    let of_row = row_max(invocation, of_thread);
    let unit = max(of_row.x * (1.0 / LARGEST_CODE), 0x1p-126f);
    let is_nan = nan | bits_if(of_row.y > 0.0);
    if (has_row && thread == 0u) {
        units[row_start(PLACE_UNITS, row)] = or_nan(vec4<f32>(unit), is_nan).x;
    }
    return bits_of_inverse(unit, is_nan);
}
