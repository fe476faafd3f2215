// x[0] of a row whose threads are one subgroup: what its first lane has read.
fn first_of_row(row: u32, own_first: f32) -> f32 {
    return subgroupBroadcastFirst(own_first);
}
