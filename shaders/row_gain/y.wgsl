// y is what gain and bias make of xhat, multiplied by the row's gain at last.
fn finish_y(row: u32, step: u32, thread: u32, values: Values) -> Values {
    let gain = row_gain[row_start(PLACE_ROW_GAIN, row)];
    var product = values;
    for (var part = 0u; part < PARTS; part++) {
        product[part] *= gain;
    }
    return product;
}
