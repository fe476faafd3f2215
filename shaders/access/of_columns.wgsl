// The four components of a vec4 are columns of one row. One step of a row, here with THREADS_PER_ROW = 4:
//
//     CONTIGUOUS = 4   thread  0 0 0 0 1 1 1 1 2 2 2 2 3 3 3 3
//     CONTIGUOUS = 2   thread  0 0 1 1 2 2 3 3 0 0 1 1 2 2 3 3
//     CONTIGUOUS = 1   thread  0 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3
//
// and CONTIGUOUS = 8 as 4, with two vec4 to a thread. So neighboring threads always access neighboring
// memory, and every thread holds PARTS vec4 of float32 a step, whatever the storage.

// A number, a word or a decision for each row that a vec4 has values of.
alias PerRow = f32;
alias PerRowBits = u32;
alias PerRowBool = bool;
// Sums over a row, two and three at a time.
alias TwoSums = vec2<f32>;
alias ThreeSums = vec3<f32>;

// Rows that a vec4 has values of.
const ACCESS_ROWS: u32 = 1u;
const STEP_COLS: u32 = THREADS_PER_ROW * PARTS * 4u;

// Invocations from one thread of a row to the next: side by side, rows one after the other.
const THREAD_STRIDE: u32 = 1u;

fn thread_of(index: u32) -> u32 {
    return index % THREADS_PER_ROW;
}

fn slot_of(index: u32) -> u32 {
    return index / THREADS_PER_ROW;
}

// The b-th row of a slot's block of so many.
fn block_row(first_block: u32, slot_in_workgroup: u32, b: u32, block_rows: u32) -> u32 {
    return first_block + slot_in_workgroup * block_rows + b;
}

// The columns of the four components of a part.
fn columns(step: u32, part: u32, thread: u32) -> vec4<u32> {
    let element = vec4<u32>(0u, 1u, 2u, 3u) + 4u * part;
    let group = step * (4u * PARTS / CONTIGUOUS) + element / CONTIGUOUS;
    return (group * THREADS_PER_ROW + thread) * CONTIGUOUS + element % CONTIGUOUS;
}

// The first column of an access of four; beyond the row, of its last one.
fn readable_column(step: u32, thread: u32) -> u32 {
    return min(columns(step, 0u, thread).x, COLS - 4u);
}

// Where a column of a row of the tensor at a place lies, from which on as many lie side by side as are
// accessed at once.
fn element(place: u32, row: u32, column: u32) -> u32 {
    return row_start(place, row) + column_start(place, column);
}

// What components that are alike in a row are.
fn of_row(v: vec4<f32>) -> PerRow {
    return v.x;
}

// The sum of a row's components, and the largest.
fn add_components(v: vec4<f32>) -> PerRow {
    return (v.x + v.y) + (v.z + v.w);
}

fn largest_component(v: vec4<f32>) -> PerRow {
    return max(max(v.x, v.y), max(v.z, v.w));
}

// Whether any of the rows is one.
fn is_any(rows: PerRowBool) -> bool {
    return rows;
}
