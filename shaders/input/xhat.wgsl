// xhat as dx has it, from x.
fn load_xhat(row: u32, step: u32, thread: u32, saved: RowStatistics, delta: f32) -> Values {
    var xhat = load_source(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        xhat[part] = saved_xhat(xhat[part], saved) - delta;
    }
    return xhat;
}
