// row_sum where one thread holds the row: nothing to do. Barriers: none. Needs: Sums.

struct Invocation {
    index: u32,
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
    kernel(Invocation(index), workgroup);
}

fn row_sum(invocation: Invocation, sums: Sums) -> Sums {
    return sums;
}
