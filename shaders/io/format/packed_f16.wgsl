// float16, two in a word, the first in the low half.
fn unpack(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn pack(v: vec4<f32>) -> vec2<u32> {
    return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}

fn as_stored(v: vec4<f32>) -> vec4<f32> {
    return unpack(pack(v));
}
