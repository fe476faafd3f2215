// How the threads of a row lie on its columns. One step of a row, here with THREADS_PER_ROW = 4:
//
//     CONTIGUOUS = 4   thread  0 0 0 0 1 1 1 1 2 2 2 2 3 3 3 3
//     CONTIGUOUS = 2   thread  0 0 1 1 2 2 3 3 0 0 1 1 2 2 3 3
//     CONTIGUOUS = 1   thread  0 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3
//
// and CONTIGUOUS = 8 as 4, with two vec4 to a thread. So neighboring threads always access neighboring
// memory, and every thread holds PARTS vec4 of float32 a step, whatever the storage.

const COLS: u32 = 1024u;
const THREADS_PER_ROW: u32 = 32u;
const ROWS_PER_WORKGROUP: u32 = 4u;
// Neighboring columns that a thread accesses at once: 1, 2, 4 or 8.
const CONTIGUOUS: u32 = 4u;
// vec4s to a step: 2 where CONTIGUOUS is 8, else 1.
const PARTS: u32 = 1u;
// Steps that walk the row, or a chunk of it; in the last ones some columns may lie beyond the row.
const STEPS: u32 = 8u;
// Chunks of STEPS steps that a row is dealt to, each to another workgroup: chunk c has the steps c * STEPS
// onwards.
const CHUNKS: u32 = 1u;

const WORKGROUP_SIZE: u32 = THREADS_PER_ROW * ROWS_PER_WORKGROUP;
const STEP_COLS: u32 = THREADS_PER_ROW * PARTS * 4u;
// Whether no step has columns beyond the row.
const IS_FULL: bool = true;

// What a thread holds of one step.
alias Values = array<vec4<f32>, PARTS>;

// The columns of the four components of a part.
fn columns(step: u32, part: u32, thread: u32) -> vec4<u32> {
    let element = vec4<u32>(0u, 1u, 2u, 3u) + 4u * part;
    let group = step * (4u * PARTS / CONTIGUOUS) + element / CONTIGUOUS;
    return (group * THREADS_PER_ROW + thread) * CONTIGUOUS + element % CONTIGUOUS;
}

// Which of them the row has. In all steps but the last of a row that is one chunk, and in all of a full row,
// the compiler sees that it is all.
fn in_row(step: u32, part: u32, thread: u32) -> vec4<bool> {
    return vec4<bool>(IS_FULL || (step + 1u) * STEP_COLS <= COLS) | (columns(step, part, thread) < vec4<u32>(COLS));
}

// Where a column of a row of the tensor at a place lies, from which on as many lie side by side as are
// accessed at once.
fn element(place: u32, row: u32, column: u32) -> u32 {
    return row_start(place, row) + column_start(place, column);
}

// v where the row has a column, 0 beyond it.
fn keep_row(v: vec4<f32>, step: u32, part: u32, thread: u32) -> vec4<f32> {
    return select(vec4<f32>(), v, in_row(step, part, thread));
}

fn add_values(a: Values, b: Values) -> Values {
    var sum = a;
    var terms = b;
    for (var part = 0u; part < PARTS; part++) {
        sum[part] += terms[part];
    }
    return sum;
}

fn add_components(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
