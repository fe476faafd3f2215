// row_sum without subgroup operations: a tree in workgroup memory, for all rows of the workgroup at once.
// Barriers: 2 + log2(THREADS_PER_ROW). Needs: Sums, WORKGROUP_SIZE, THREADS_PER_ROW.
//
//     thread       0    1    2    3  | 4  ...   (4 threads a row)
//     stride 2     02   13           |
//     stride 1     0123              |

struct Invocation {
    index: u32,
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
    kernel(Invocation(index), workgroup);
}

var<workgroup> thread_sums: array<Sums, WORKGROUP_SIZE>;

fn row_sum(invocation: Invocation, sums: Sums) -> Sums {
    let thread = thread_of(invocation.index);
    thread_sums[invocation.index] = sums;
    workgroupBarrier();
    for (var stride = THREADS_PER_ROW / 2u; stride > 0u; stride /= 2u) {
        if (thread < stride) {
            thread_sums[invocation.index] += thread_sums[invocation.index + stride * THREAD_STRIDE];
        }
        workgroupBarrier();
    }
    let total = thread_sums[invocation.index - thread * THREAD_STRIDE];
    // The next call writes where this one still reads.
    workgroupBarrier();
    return total;
}
