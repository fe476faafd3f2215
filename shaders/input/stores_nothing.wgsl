// What is normalized is not written out.
fn store_input(row: u32, step: u32, thread: u32, values: Values) {}
