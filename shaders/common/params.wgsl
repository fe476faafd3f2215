// The numbers of one dispatch. `Uniform` of src/plan/uniform.rs has the same fields in the same order.
//
// places      for each storage buffer, in the order of the bindings, where its tensor lies:
//             .x  the element, counted from the binding's start, at which row 0 of this dispatch starts; of strided
//                 rows, the first of row 0's outer row
//             .y  elements from one row's start to the next
//             .z  elements from one column to the next: 1, but where mean and rstd lie apart. If rstd is first,
//                 the sum of both wraps around
//             .w  elements from one outer row's start to the next, see layout/strided.wgsl
struct Params {
    rows: u32,
    // Workgroups in x; workgroup (x, y) is number y * workgroups_x + x.
    workgroups_x: u32,
    // Rows that a slot walks, one below the other; see workgroup_rows.
    slot_rows: u32,
    // Backward: partial sums below this are there from an earlier dispatch, and are added to.
    earlier_partial_rows: u32,
    eps: f32,
    // 1.0, see add_compensated.
    one: f32,
    // 0, see unfactored.
    zero: u32,
    // Strided rows: how many of them an outer row has, and which of those row 0 of this dispatch is.
    inner_rows: u32,
    first_inner_row: u32,
    // The constants of these names (common/row.wgsl, common/numerics.wgsl), where the text has none: of
    // kernels that hold no row in registers, rows of all widths share one.
    cols: u32,
    steps: u32,
    chunks: u32,
    sum_scale: f32,
    mean_factor: f32,
    // Likewise those of along/channel.wgsl.
    channels: u32,
    spatial: u32,
    // Columns inside an outer column: layout/outer_columns.wgsl.
    inner_columns: u32,
    // Of running statistics: the share of the new value, and what a variance is multiplied by before it is
    // kept.
    momentum: f32,
    variance_factor: f32,
    // What codes are multiples of, where that is given. In backward from y the least |gain| (source/).
    unit: f32,
    places: array<vec4<u32>, 11>,
}

@group(0) @binding(0) var<uniform> params: Params;

fn column_stride(place: u32) -> u32 {
    return params.places[place].z;
}
