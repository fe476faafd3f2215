// `workgroup` is the builtin, a parameter of `main` by itself: browsers take all members of a struct of
// builtins to differ between threads if one does, and refuse barriers behind a branch on them.
fn workgroup_number(workgroup: vec3<u32>) -> u32 {
    return workgroup.y * params.workgroups_x + workgroup.x;
}

// The rows of a workgroup's slots, which take them in turn, and with them neighboring memory. A workgroup
// beyond the grid's need has none.
struct Rows {
    first: u32,
    end: u32,
}

fn workgroup_rows(first_slot: u32) -> Rows {
    let first = first_slot * params.slot_rows;
    return Rows(first, min(first + ROWS_PER_WORKGROUP * params.slot_rows, params.rows));
}
