// row_sum over the slices of backward_reduce_parameters: a tree in workgroup memory over the threads of one column.
// Barriers: 2 + log2(ROWS_PER_WORKGROUP). Needs: Sums, WORKGROUP_SIZE, THREADS_PER_ROW, ROWS_PER_WORKGROUP.

struct Invocation {
    index: u32,
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
    kernel(Invocation(index), workgroup);
}

var<workgroup> slice_sums: array<Sums, WORKGROUP_SIZE>;

fn row_sum(invocation: Invocation, sums: Sums, half: u32) -> Sums {
    slice_sums[invocation.index] = sums;
    workgroupBarrier();
    for (var stride = WORKGROUP_SIZE / 2u; stride >= THREADS_PER_ROW; stride /= 2u) {
        if (invocation.index < stride) {
            slice_sums[invocation.index] += slice_sums[invocation.index + stride];
        }
        workgroupBarrier();
    }
    let total = slice_sums[invocation.index % THREADS_PER_ROW];
    // The next call writes where this one still reads.
    workgroupBarrier();
    return total;
}
