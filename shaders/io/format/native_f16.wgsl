// float16 rows as WGSL's own type.
fn as_stored(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(vec4<f16>(v));
}
