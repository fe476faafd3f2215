// What a row's y is multiplied by at last: the row's gain.
fn times_row_gain(row: u32, values: Values) -> Values {
    var product = values;
    let gain = row_gain[row_start(PLACE_ROW_GAIN, row)];
    for (var part = 0u; part < PARTS; part++) {
        product[part] *= gain;
    }
    return product;
}
