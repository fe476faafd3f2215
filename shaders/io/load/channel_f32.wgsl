// float32, a value for each channel, one at a time: array<f32>.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    var values: Values;
    for (var part = 0u; part < PARTS; part++) {
        let i = params.places[PLACE_TENSOR].x + channels(row, step, part, thread);
        if (IS_ONE_CHANNEL) {
            values[part] = vec4<f32>(BUFFER[i.x]);
        } else {
            values[part] = vec4<f32>(BUFFER[i.x], BUFFER[i.y], BUFFER[i.z], BUFFER[i.w]);
        }
    }
    return values;
}
