// row_sum where the row's threads are a workgroup of several subgroups: each subgroup adds up its own, its
// first lane leaves the sum in workgroup memory, and after one barrier every thread adds up all of them. Many
// are spread over the lanes of its subgroup: one thread adding up as many as 256 would be slower, and off by
// dozens of units where they are alike. Barriers: 1. Needs: Sums, Invocation, WORKGROUP_SIZE. Any subgroups
// of SUBGROUP_MIN lanes and more will do. Where they are not all full, nobody knows which lanes there are,
// and every thread adds up all sums itself.
//
// Calls use the halves of `subgroup_sums` in turn: a thread that is still reading one half is never more than
// one barrier behind the threads that write the other.

// The smallest size that the adapter's subgroups may have, where that is known, or 4, the smallest of WebGPU:
// it bounds how many there are.
const SUBGROUP_MIN: u32 = 32u;
const MOST_SUBGROUPS: u32 = (WORKGROUP_SIZE + SUBGROUP_MIN - 1u) / SUBGROUP_MIN;
// As many are added up in less time than a subgroup operation takes.
const FEW_SUBGROUPS: u32 = 8u;

var<workgroup> subgroup_sums: array<Sums, 2u * MOST_SUBGROUPS>;
// The half that the next call uses.
var<private> half: u32;

fn row_sum(invocation: Invocation, sums: Sums) -> Sums {
    let first = half * MOST_SUBGROUPS;
    half = 1u - half;
    let subgroup_sum = subgroupAdd(sums);
    if (invocation.lane == subgroupBroadcastFirst(invocation.lane)) {
        subgroup_sums[first + invocation.subgroup] = subgroup_sum;
    }
    workgroupBarrier();
    let subgroups = invocation.subgroups;
    var total = Sums();
    if (MOST_SUBGROUPS <= FEW_SUBGROUPS) {
        for (var i = 0u; i < MOST_SUBGROUPS; i++) {
            if (i < subgroups) {
                total += subgroup_sums[first + i];
            }
        }
        return total;
    }
    let are_full = subgroups * invocation.subgroup_size == WORKGROUP_SIZE;
    let lanes = select(1u, invocation.subgroup_size, are_full);
    let lane = select(0u, invocation.lane, are_full);
    // As many trips for all lanes, so that all take part in what follows.
    for (var group = 0u; group < subgroups; group += lanes) {
        if (group + lane < subgroups) {
            total += subgroup_sums[first + group + lane];
        }
    }
    return select(total, subgroupAdd(total), are_full);
}
