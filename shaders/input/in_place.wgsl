// The row's first value, which every thread has loaded, lies where the first thread is about to write. The
// barrier keeps a compiler from loading it again behind that. Barriers: 1.
fn before_writing() {
    storageBarrier();
}
