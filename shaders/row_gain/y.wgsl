// y replaces what is there, multiplied by the row's gain at last.
fn write_y(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let gain = row_gain[row_start(PLACE_ROW_GAIN, row)];
    var product = values;
    for (var part = 0u; part < PARTS; part++) {
        product[part] *= gain;
    }
    store_y(row, step, thread, product, nan);
}
