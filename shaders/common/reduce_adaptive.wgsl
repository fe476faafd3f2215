// row_sum where a subgroup may have more lanes than the row has threads, or fewer, as the driver likes, and
// where nobody knows whether all of its subgroups are full: a butterfly over as many lanes as there are of
// the row in a subgroup, the first of which leaves the sum in workgroup memory, and after one barrier every
// thread adds up those of its row. In a workgroup whose subgroups are not all full, each lane leaves its own.
// Barriers: 1. Needs: Sums, Invocation, WORKGROUP_SIZE, THREADS_PER_ROW.
//
//     subgroup_size   8 threads a row: what is left, and added up by each thread
//     4               0123 4567
//     8 or more       01234567
//     not full        0 1 2 3 4 5 6 7
//
// Calls use the halves of `group_sums` in turn: a thread that is still reading one half is never more than
// one barrier behind the threads that write the other.

var<workgroup> group_sums: array<Sums, 2u * WORKGROUP_SIZE>;
// The half that the next call uses.
var<private> half: u32;

// The sum with the lane across, where there are more than `mask` lanes to a group. All lanes ask: a subgroup
// operation behind a branch has to be in uniform control flow, which browsers cannot see here.
fn with_lane_across(sums: Sums, mask: u32, group: u32) -> Sums {
    var both = sums;
    both += subgroupShuffleXor(sums, mask);
    return select(sums, both, group > mask);
}

fn row_sum(invocation: Invocation, sums: Sums) -> Sums {
    let are_full = invocation.subgroups * invocation.subgroup_size == WORKGROUP_SIZE;
    let group = select(1u, min(invocation.subgroup_size, THREADS_PER_ROW), are_full);
    var total = with_lane_across(sums, 1u, group);
    if (THREADS_PER_ROW > 2u) {
        total = with_lane_across(total, 2u, group);
    }
    if (THREADS_PER_ROW > 4u) {
        total = with_lane_across(total, 4u, group);
    }
    if (THREADS_PER_ROW > 8u) {
        total = with_lane_across(total, 8u, group);
    }
    if (THREADS_PER_ROW > 16u) {
        total = with_lane_across(total, 16u, group);
    }
    if (THREADS_PER_ROW > 32u) {
        total = with_lane_across(total, 32u, group);
    }
    if (THREADS_PER_ROW > 64u) {
        total = with_lane_across(total, 64u, group);
    }
    let first = half * WORKGROUP_SIZE;
    half = 1u - half;
    if (invocation.index % group == 0u) {
        group_sums[first + invocation.index / group] = total;
    }
    workgroupBarrier();
    let groups = THREADS_PER_ROW / group;
    let first_of_row = first + invocation.index / THREADS_PER_ROW * groups;
    var row_total = group_sums[first_of_row];
    for (var i = 1u; i < groups; i++) {
        row_total += group_sums[first_of_row + i];
    }
    return row_total;
}
