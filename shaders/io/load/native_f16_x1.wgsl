// float16, four times one element: array<f16>.
// `tensor` stands for the name of the tensor. Columns beyond the row read as some column of it.
fn load_tensor(start: u32, step: u32, thread: u32) -> Values {
    let i = start + min(columns(step, 0u, thread), vec4<u32>(COLS - 1u));
    return Values(vec4<f32>(vec4<f16>(tensor[i.x], tensor[i.y], tensor[i.z], tensor[i.w])));
}
