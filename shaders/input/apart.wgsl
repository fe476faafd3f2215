// What is written is no input, or each thread has its columns from itself alone.
fn before_writing() {}
