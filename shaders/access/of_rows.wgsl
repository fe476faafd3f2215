// The four components of a vec4 are one column of four rows that lie side by side. Neighboring slots have
// neighboring rows, and so have neighboring invocations:
//
//     index        slot = index % ROWS_PER_WORKGROUP, thread = index / ROWS_PER_WORKGROUP
//     row          4 * slot onwards
//     column       step * THREADS_PER_ROW + thread
//
// so that a column's part of a block of rows is one run of memory, and columns are a stride apart. A dispatch
// has all rows of its accesses.

// A number, a word or a decision for each row that a vec4 has values of.
alias PerRow = vec4<f32>;
alias PerRowBits = vec4<u32>;
alias PerRowBool = vec4<bool>;
// Sums over a row, two and three at a time.
alias TwoSums = mat2x4<f32>;
alias ThreeSums = mat3x4<f32>;

// Rows that a vec4 has values of.
const ACCESS_ROWS: u32 = 4u;
const STEP_COLS: u32 = THREADS_PER_ROW;
// Invocations from one thread of a row to the next.
const THREAD_STRIDE: u32 = ROWS_PER_WORKGROUP;

fn thread_of(index: u32) -> u32 {
    return index / ROWS_PER_WORKGROUP;
}

fn slot_of(index: u32) -> u32 {
    return index % ROWS_PER_WORKGROUP;
}

// The first row of the b-th access of a slot's block.
fn block_row(first_block: u32, slot_in_workgroup: u32, b: u32, block_rows: u32) -> u32 {
    return first_block + (b * ROWS_PER_WORKGROUP + slot_in_workgroup) * ACCESS_ROWS;
}

fn columns(step: u32, part: u32, thread: u32) -> vec4<u32> {
    return vec4<u32>(step * THREADS_PER_ROW + thread);
}

// Beyond the rows' last column, that one.
fn readable_column(step: u32, thread: u32) -> u32 {
    return min(columns(step, 0u, thread).x, COLS - 1u);
}

// Where a column of a row of the tensor at a place lies, from which on the same column of the next rows lies
// side by side.
fn element(place: u32, row: u32, column: u32) -> u32 {
    return row_start(place, row) + column * column_stride(place);
}

// Each component is a row's own.
fn of_row(v: vec4<f32>) -> PerRow {
    return v;
}

fn add_components(v: vec4<f32>) -> PerRow {
    return v;
}

fn largest_component(v: vec4<f32>) -> PerRow {
    return v;
}

// Whether any of the rows is one.
fn is_any(rows: PerRowBool) -> bool {
    return any(rows);
}
