// The slots of a workgroup leave one partial sum: a tree in workgroup memory over the threads of the same
// columns. Barriers: 1 + log2(ROWS_PER_WORKGROUP) a call. Needs: WORKGROUP_SIZE, THREADS_PER_ROW,
// ROWS_PER_WORKGROUP.
//
//     index        0  1 | 2  3 | 4  5 | 6  7    (2 threads a row, 4 slots)
//     stride 4     04 15  26 37
//     stride 2     0246   1357
//
// The first slot has the sum; what others get is some part of it.
var<workgroup> slot_sums: array<vec4<f32>, WORKGROUP_SIZE>;

fn slot_sum(index: u32, own: vec4<f32>) -> vec4<f32> {
    var sum = own;
    for (var stride = WORKGROUP_SIZE / 2u; stride >= THREADS_PER_ROW; stride /= 2u) {
        if (index >= stride && index < 2u * stride) {
            slot_sums[index] = sum;
        }
        workgroupBarrier();
        if (index < stride) {
            sum += slot_sums[index + stride];
        }
    }
    // The next call writes where this one still reads.
    workgroupBarrier();
    return sum;
}

fn partial_row_of(first_slot: u32, slot_in_workgroup: u32) -> u32 {
    return first_slot / ROWS_PER_WORKGROUP;
}

fn leaves_sum(slot_in_workgroup: u32) -> bool {
    return slot_in_workgroup == 0u;
}
