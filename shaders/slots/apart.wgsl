// Each slot leaves a partial sum of its own. Barriers: none.
fn slot_sum(index: u32, own: vec4<f32>) -> vec4<f32> {
    return own;
}

fn partial_row_of(first_slot: u32, slot_in_workgroup: u32) -> u32 {
    return first_slot + slot_in_workgroup;
}

fn leaves_sum(slot_in_workgroup: u32) -> bool {
    return true;
}
