// No xhat is larger: it is at most the root of the columns, of which there are 2^24.
const MOST_XHAT: f32 = 4096.0;

// xhat as y shows it: whatever a y that forward has not made holds, no sum of it exceeds float32. NaN where y
// is not finite, by bits, see numerics.wgsl.
fn shown_xhat(xhat: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    let bounded = clamp(xhat, vec4<f32>(-MOST_XHAT), vec4<f32>(MOST_XHAT));
    let is_finite = (bitcast<vec4<u32>>(y) & vec4<u32>(0x7f800000u)) != vec4<u32>(0x7f800000u);
    return bitcast<vec4<f32>>(select(vec4<u32>(0x7fc00000u), bitcast<vec4<u32>>(bounded), is_finite));
}

// What load_source has is xhat.
fn saved_xhat(xhat: vec4<f32>, saved: RowStatistics) -> vec4<f32> {
    return xhat;
}
