// row_sum where the row's threads are an aligned group of a subgroup's lanes: a butterfly, in which every
// lane of the group ends up with the same bits. Barriers: none. Needs: Sums, Invocation, THREADS_PER_ROW (at
// most the smallest subgroup size), and a workgroup of full subgroups.
//
//     lane   0   1   2   3
//     ^ 1    01  01  23  23
//     ^ 2    0123 ...

fn row_sum(invocation: Invocation, sums: Sums) -> Sums {
    var total = sums;
    if (THREADS_PER_ROW > 1u) {
        total += subgroupShuffleXor(total, 1u);
    }
    if (THREADS_PER_ROW > 2u) {
        total += subgroupShuffleXor(total, 2u);
    }
    if (THREADS_PER_ROW > 4u) {
        total += subgroupShuffleXor(total, 4u);
    }
    if (THREADS_PER_ROW > 8u) {
        total += subgroupShuffleXor(total, 8u);
    }
    if (THREADS_PER_ROW > 16u) {
        total += subgroupShuffleXor(total, 16u);
    }
    if (THREADS_PER_ROW > 32u) {
        total += subgroupShuffleXor(total, 32u);
    }
    if (THREADS_PER_ROW > 64u) {
        total += subgroupShuffleXor(total, 64u);
    }
    return total;
}
