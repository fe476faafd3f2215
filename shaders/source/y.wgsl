// What xhat is made of: y, which it is where there is no gain.
fn load_source(row: u32, step: u32, thread: u32) -> Values {
    var xhat = load_y(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        xhat[part] = shown_xhat(xhat[part], xhat[part]);
    }
    return xhat;
}
