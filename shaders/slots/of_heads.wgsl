// A workgroup works on one inner row of each outer row alone, such as one head of each token: so its slots
// share gain and bias, and in backward leave sums over that head. What a body calls a row, from 0 on, is then
// an outer row, of which the workgroup has that inner row; dispatches have whole outer rows.
//
//     workgroup   number n on head n % inner_rows, whose workgroups are numbered n / inner_rows

var<private> head: u32;

// Of those of the head.
fn workgroup_number(workgroup: vec3<u32>) -> u32 {
    let number = workgroup.y * params.workgroups_x + workgroup.x;
    head = number % params.inner_rows;
    return number / params.inner_rows;
}

struct Rows {
    first: u32,
    end: u32,
}

fn workgroup_rows(first_slot: u32) -> Rows {
    let first = first_slot * params.slot_rows;
    return Rows(first, min(first + ROWS_PER_WORKGROUP * params.slot_rows, params.rows / params.inner_rows));
}

fn inner_row_of(row: u32) -> u32 {
    return head;
}
