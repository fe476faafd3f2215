// row_sum where the row's threads are the workgroup and the workgroup is one subgroup. Barriers: none. Needs:
// Sums.

struct Invocation {
    index: u32,
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
    kernel(Invocation(index), workgroup);
}

// The same sums, which Mesa's software rasterizer has then worked out before its loop over the lanes: else it
// moves the whole chain of additions behind them into that loop, lane by lane. `params.one` is 1, which
// compilers do not know.
fn opaque(sums: Sums) -> Sums {
    return select(Sums(), sums, Sums(params.one) > Sums());
}

fn row_sum(invocation: Invocation, sums: Sums) -> Sums {
    return subgroupAdd(opaque(sums));
}
