// How rows and their columns are dealt to threads; see access/ for what a vec4 has of them.

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
// Whether no step has columns beyond the row.
const IS_FULL: bool = true;

// What a thread holds of one step.
alias Values = array<vec4<f32>, PARTS>;

// Which of the columns of a part the row has. In all steps but the last of a row that is one chunk, and in
// all of a full row, the compiler sees that it is all.
fn in_row(step: u32, part: u32, thread: u32) -> vec4<bool> {
    return vec4<bool>(IS_FULL || (step + 1u) * STEP_COLS <= COLS) | (columns(step, part, thread) < vec4<u32>(COLS));
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
