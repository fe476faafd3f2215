// row_sum where the row's threads are the workgroup and the workgroup is one subgroup. Barriers: none. Needs: Sums.

struct Invocation {
    @builtin(local_invocation_index) index: u32,
}

fn row_sum(invocation: Invocation, sums: Sums, half: u32) -> Sums {
    return subgroupAdd(sums);
}
