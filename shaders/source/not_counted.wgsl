// Nobody asks how many columns have a gain below the least.
fn count_clamped(invocation: Invocation, workgroup: vec3<u32>, thread: u32) {}
