//! DXC's library, called as its header declares it (`dxcapi.h` and `WinAdapter.h` of DXC 1.7, in the package
//! that it comes from).
//!
//! Interfaces are C++ objects: a pointer to a table of functions. Off Windows `IUnknown` of that version has
//! a virtual destructor, which takes two places of the table after its three functions; later versions have
//! not, so that only the pinned library may be loaded.

use crate::Result;
use std::ffi::c_void;
use std::path::Path;
use std::ptr::{self, NonNull};

type HResult = i32;

#[repr(C)]
struct Guid(u32, u16, u16, [u8; 8]);

static CLSID_COMPILER: Guid =
    Guid(0x73e2_2d93, 0xe6ce, 0x47f3, [0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0]);
static IID_COMPILER_3: Guid =
    Guid(0x228b_4687, 0x5a6a, 0x4730, [0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54]);
static IID_RESULT: Guid = Guid(0x5834_6cda, 0xdde7, 0x4497, [0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59]);

type CreateInstance = unsafe extern "C" fn(*const Guid, *const Guid, *mut *mut c_void) -> HResult;

/// `IUnknown`, with its destructor.
#[repr(C)]
struct Unknown {
    query_interface: *const c_void,
    add_reference: *const c_void,
    release: unsafe extern "C" fn(*mut c_void) -> u32,
    destructors: [*const c_void; 2],
}

/// `DxcBuffer`.
#[repr(C)]
struct Buffer {
    bytes: *const c_void,
    length: usize,
    encoding: u32,
}

const CODE_PAGE_UTF_8: u32 = 65_001;

/// `IDxcCompiler3`.
#[repr(C)]
struct CompilerTable {
    unknown: Unknown,
    compile: unsafe extern "C" fn(
        *mut c_void,
        *const Buffer,
        *const *const u32,
        u32,
        *mut c_void,
        *const Guid,
        *mut *mut c_void,
    ) -> HResult,
}

/// `IDxcOperationResult`, which `IDxcResult` begins with.
#[repr(C)]
struct ResultTable {
    unknown: Unknown,
    get_status: unsafe extern "C" fn(*mut c_void, *mut HResult) -> HResult,
    get_result: *const c_void,
    get_error_buffer: unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> HResult,
}

/// `IDxcBlob`, which `IDxcBlobEncoding` begins with.
#[repr(C)]
struct BlobTable {
    unknown: Unknown,
    get_buffer_pointer: unsafe extern "C" fn(*mut c_void) -> *const u8,
    get_buffer_size: unsafe extern "C" fn(*mut c_void) -> usize,
}

/// A reference to an object of the library, given back on drop. `T` is the table that the object was asked
/// for with.
struct Object<T> {
    pointer: NonNull<*const T>,
}

impl<T> Object<T> {
    /// Takes over a reference that a call of the library has written, if it has.
    fn take(pointer: *mut c_void) -> Option<Self> {
        NonNull::new(pointer.cast()).map(|pointer| Self { pointer })
    }

    const fn this(&self) -> *mut c_void {
        self.pointer.as_ptr().cast()
    }

    const fn table(&self) -> &T {
        // SAFETY: the pointer is an object's of the library, as `take` has it, alive by our reference; an
        // object begins with the pointer to its table.
        let table = unsafe { *self.pointer.as_ptr() };
        // SAFETY: tables are constants of the library, which outlives all objects (see `Library`), and begin
        // as `T` does.
        unsafe { &*table }
    }
}

impl<T> Drop for Object<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is an object's, as in `table`; an object begins with the pointer to its table.
        let table = unsafe { *self.pointer.as_ptr() };
        // SAFETY: every interface's table begins with IUnknown's.
        let unknown = unsafe { &*table.cast::<Unknown>() };
        // SAFETY: the object is alive by our reference, which this gives back and which is not used again.
        unsafe { (unknown.release)(self.this()) };
    }
}

/// The library, with a compiler of it.
pub(super) struct Library {
    // Dropped before the library that its code is in.
    compiler: Object<CompilerTable>,
    _library: libloading::Library,
}

impl Library {
    /// Loads the library: it has to be the pinned one, see above.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // SAFETY: loading runs the library's initializers; it is DXC's, which is made to be loaded so.
        let library = unsafe { libloading::Library::new(path) }
            .map_err(|error| format!("{} cannot be loaded: {error}", path.display()))?;
        // SAFETY: DXC exports the function under this name with this type.
        let create = unsafe { library.get::<CreateInstance>(b"DxcCreateInstance\0") }
            .map_err(|error| format!("{} is not DXC: {error}", path.display()))?;
        let mut object = ptr::null_mut();
        // SAFETY: both GUIDs are constants, and there is room for the pointer that is written.
        let code = unsafe { create(&raw const CLSID_COMPILER, &raw const IID_COMPILER_3, &raw mut object) };
        let compiler = Object::take(object)
            .filter(|_| code >= 0)
            .ok_or_else(|| format!("{} makes no compiler: error {code:#x}", path.display()))?;
        Ok(Self { compiler, _library: library })
    }

    /// Compiles HLSL; the error is what the compiler says.
    pub(super) fn compile(&self, source: &str, arguments: &[&str]) -> Result<()> {
        let buffer =
            Buffer { bytes: source.as_ptr().cast(), length: source.len(), encoding: CODE_PAGE_UTF_8 };
        // wchar_t has 32 bits off Windows.
        let wide: Vec<Vec<u32>> =
            arguments.iter().map(|text| text.chars().map(u32::from).chain([0]).collect()).collect();
        let pointers: Vec<*const u32> = wide.iter().map(Vec::as_ptr).collect();
        let count = u32::try_from(pointers.len()).map_err(|error| error.to_string())?;
        let mut object = ptr::null_mut();
        // SAFETY: the compiler is alive; buffer, arguments (each ended by a 0) and GUID live through the
        // call; no include handler is given; there is room for the pointer that is written, an IDxcResult's.
        let code = unsafe {
            (self.compiler.table().compile)(
                self.compiler.this(),
                &raw const buffer,
                pointers.as_ptr(),
                count,
                ptr::null_mut(),
                &raw const IID_RESULT,
                &raw mut object,
            )
        };
        let result: Object<ResultTable> = Object::take(object)
            .filter(|_| code >= 0)
            .ok_or_else(|| format!("the compiler gives no result: error {code:#x}"))?;
        let mut status = -1;
        // SAFETY: the result is alive, and there is room for the status.
        let code = unsafe { (result.table().get_status)(result.this(), &raw mut status) };
        if code >= 0 && status >= 0 {
            return Ok(());
        }
        let mut object = ptr::null_mut();
        // SAFETY: the result is alive, and there is room for the pointer that is written, an
        // IDxcBlobEncoding's.
        unsafe { (result.table().get_error_buffer)(result.this(), &raw mut object) };
        let errors = Object::take(object).map(|blob| text_of(&blob)).unwrap_or_default();
        Err(if errors.is_empty() { format!("error {status:#x} without a word") } else { errors })
    }
}

fn text_of(blob: &Object<BlobTable>) -> String {
    // SAFETY: the blob is alive.
    let bytes = unsafe { (blob.table().get_buffer_pointer)(blob.this()) };
    // SAFETY: the blob is alive.
    let length = unsafe { (blob.table().get_buffer_size)(blob.this()) };
    if bytes.is_null() {
        return String::new();
    }
    // SAFETY: a blob has that many bytes there as long as it lives, and does not change.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, length) };
    String::from_utf8_lossy(bytes).trim_end_matches('\0').trim().to_owned()
}
