// y in codes of 8 bits, four in a word: array<u32>. y ~ code * unit. A row of codes begins with a word and
// takes whole ones, so that no two threads share one: a thread has four neighboring columns, however it reads
// them.

// The bits of 1 / unit, rounded; those of NaN where `nan` has all bits.
fn bits_of_inverse(unit: f32, nan: u32) -> u32 {
    let quotient = 1.0 / unit;
    // A division may be off by 2.5 units in the last place.
    let inverse = fma(quotient, fma(-unit, quotient, 1.0), quotient);
    return select(bitcast<u32>(inverse), 0x7fc00000u, nan != 0u);
}

// Codes saturate, and by their bits: a size beyond the largest code is that, be it infinite.
fn write_codes(row: u32, step: u32, thread: u32, values: Values, inverse_bits: u32) {
    let has_codes = inverse_bits < 0x7f800000u;
    let inverse = select(0.0, bitcast<f32>(inverse_bits), has_codes);
    var y = values;
    for (var part = 0u; part < PARTS; part++) {
        let bits = bitcast<vec4<u32>>(y[part] * inverse);
        let size = bits & vec4<u32>(0x7fffffffu);
        let largest = vec4<u32>(bitcast<u32>(LARGEST_CODE));
        let code = with_signs(codes_of_sizes(bitcast<vec4<f32>>(min(size, largest))), bits > size);
        let is_code = (size <= vec4<u32>(0x7f800000u)) & vec4<bool>(has_codes);
        let written = select(vec4<u32>(NAN_CODE), code, is_code);
        let bytes = select(vec4<u32>(), written, in_row(step, part, thread));
        let column = columns(step, part, thread).x;
        if (column < COLS) {
            let word = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
            codes[row_start(PLACE_CODES, row) + column / 4u] = word;
        }
    }
}
