// A thread's number is its invocation's, and lanes are taken to be invocations in order. For browsers, of
// which not all have the number of a subgroup (WGSL's language feature subgroup_id).

struct Invocation {
    index: u32,
    lane: u32,
    subgroup: u32,
    subgroup_size: u32,
    // Subgroups of the workgroup.
    subgroups: u32,
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
) {
    let subgroups = (WORKGROUP_SIZE + subgroup_size - 1u) / subgroup_size;
    kernel(Invocation(index, lane, index / subgroup_size, subgroup_size, subgroups), workgroup);
}
