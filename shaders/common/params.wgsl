// The numbers of one dispatch. `Params` of src/gpu/params.rs has the same fields in the same order.
//
// A tensor of rows is (start, stride): the element, counted from the start of its binding, at which row 0 of this
// dispatch starts, and the elements from one row's start to the next. The others are starts alone.
struct Params {
    rows: u32,
    // Workgroups in x; workgroup (x, y) is number y * workgroups_x + x.
    workgroups_x: u32,
    // Rows that a slot walks, one below the other; see workgroup_rows.
    slot_rows: u32,
    // Backward: partial sums below this are there from an earlier dispatch, and are added to.
    earlier_partial_rows: u32,
    x: vec2<u32>,
    residual: vec2<u32>,
    y: vec2<u32>,
    sum: vec2<u32>,
    dy: vec2<u32>,
    dx: vec2<u32>,
    gain: u32,
    bias: u32,
    statistics: u32,
    dgain: u32,
    dbias: u32,
    eps: f32,
    // 1.0, see add_compensated.
    one: f32,
    row_partials: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
