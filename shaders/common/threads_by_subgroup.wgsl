// A thread's number follows its subgroup: the threads of a row are then neighboring lanes, or whole
// subgroups, however the API numbers invocations, about which Vulkan and WGSL say nothing. Drivers that lay
// workgroups out in tiles do so only for shaders that ask for none of these. In a workgroup whose subgroups
// are not all full such numbers would have gaps: there it is the invocation's, and row_sum knows.

struct Invocation {
    index: u32,
    lane: u32,
    subgroup: u32,
    subgroup_size: u32,
    // Subgroups of the workgroup.
    subgroups: u32,
}

// The builtins are parameters and not in a struct: naga makes no valid HLSL of those.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(local_invocation_index) invocation_index: u32,
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
) {
    let are_full = subgroups * subgroup_size == WORKGROUP_SIZE;
    let index = select(invocation_index, subgroup * subgroup_size + lane, are_full);
    kernel(Invocation(index, lane, subgroup, subgroup_size, subgroups), workgroup);
}
