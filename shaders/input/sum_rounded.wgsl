// A sum in 16 bits, rounded as it is stored.
fn round_sum(v: vec4<f32>) -> vec4<f32> {
    return as_stored(v);
}
