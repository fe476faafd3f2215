// 16-bit, a value for each channel, one at a time, each in one half of a word that other threads may write
// to: array<atomic<u32>>.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    var values: Values;
    for (var part = 0u; part < PARTS; part++) {
        let i = params.places[PLACE_TENSOR].x + channels(row, step, part, thread);
        var words = vec4<u32>(atomicLoad(&BUFFER[i.x / 2u]));
        if (!IS_ONE_CHANNEL) {
            words = vec4<u32>(words.x, atomicLoad(&BUFFER[i.y / 2u]), atomicLoad(&BUFFER[i.z / 2u]), atomicLoad(&BUFFER[i.w / 2u]));
        }
        let halves = (words >> (16u * (i & vec4<u32>(1u)))) & vec4<u32>(0xffffu);
        values[part] = unpack(halves.xz | (halves.yw << vec2<u32>(16u)));
    }
    return values;
}
