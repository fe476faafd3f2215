// What a row's dx is multiplied by at last: the gain of its channel.
fn times_row_gain(row: u32, values: Values) -> Values {
    var product = values;
    var factors = load_factors(row, 0u, 0u);
    for (var part = 0u; part < PARTS; part++) {
        product[part] *= factors[0].x;
    }
    return product;
}
