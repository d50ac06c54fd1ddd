//! The functions that the generated bindings call: memory for values on their way between the agent and a plugin, and the
//! constructors of a module. They stand for the library wit-bindgen, so that a plugin has none of its crates to build.

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};

/// Memory of a value that the agent reads during a call.
pub struct Cleanup {
    memory: NonNull<u8>,
    layout: Layout,
}

impl Cleanup {
    /// Allocates memory. Without a size there is none: the pointer is null, and nothing has to be freed.
    #[must_use]
    pub fn new(layout: Layout) -> (*mut u8, Option<Self>) {
        if layout.size() == 0 {
            return (ptr::null_mut(), None);
        }
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc::alloc(layout) });
        let Some(memory) = memory else { alloc::handle_alloc_error(layout) };
        (memory.as_ptr(), Some(Self { memory, layout }))
    }

    /// Leaves the memory to the caller of an export, who frees it by the function after the call.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout, and freed once.
        unsafe { alloc::dealloc(self.memory.as_ptr(), self.layout) }
    }
}

/// Allocates memory for a value that the agent passes to the plugin, or changes its size. On wasm32-wasip2 the standard library
/// has this function.
///
/// # Safety
///
/// As in the canonical ABI: `old` was returned for `old_bytes` and `align`, or both are zero; `align` is a power of two.
#[cfg(any(test, all(target_family = "wasm", not(target_env = "p2"))))]
#[cfg_attr(target_family = "wasm", unsafe(no_mangle))]
pub unsafe extern "C" fn cabi_realloc(old: *mut u8, old_bytes: usize, align: usize, new_bytes: usize) -> *mut u8 {
    if old_bytes == 0 && new_bytes == 0 {
        return ptr::without_provenance_mut(align);
    }
    // SAFETY: the caller passes an alignment of the ABI and sizes of values in memory; the size to allocate is not zero.
    let memory = unsafe {
        if old_bytes == 0 {
            alloc::alloc(Layout::from_size_align_unchecked(new_bytes, align))
        } else {
            alloc::realloc(old, Layout::from_size_align_unchecked(old_bytes, align), new_bytes)
        }
    };
    if memory.is_null() {
        // Ends the call. A message would need memory.
        #[cfg(target_family = "wasm")]
        core::arch::wasm32::unreachable();
    }
    memory
}

/// Called where the bindings are linked. Keeps `cabi_realloc` in modules whose linker drops what Rust does not call.
pub fn maybe_link_cabi_realloc() {
    #[cfg(all(target_family = "wasm", not(target_env = "p2")))]
    {
        #[used]
        static CABI_REALLOC: unsafe extern "C" fn(*mut u8, usize, usize, usize) -> *mut u8 = cabi_realloc;
    }
}

/// Runs the constructors of the module at the first call of an export. A module that calls them itself is not given calls of them
/// before each export by the linker.
#[cfg(target_family = "wasm")]
pub fn run_ctors_once() {
    use std::cell::Cell;

    thread_local! {
        static HAVE_RUN: Cell<bool> = const { Cell::new(false) };
    }
    unsafe extern "C" {
        /// The linker makes it.
        fn __wasm_call_ctors();
    }
    if !HAVE_RUN.replace(true) {
        // SAFETY: once, and before anything of the plugin runs.
        unsafe { __wasm_call_ctors() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_without_a_size_is_not_allocated() {
        let (memory, cleanup) = Cleanup::new(Layout::new::<()>());
        assert!(memory.is_null() && cleanup.is_none());
        // SAFETY: nothing is allocated.
        let memory = unsafe { cabi_realloc(ptr::null_mut(), 0, 8, 0) };
        assert_eq!(memory.addr(), 8, "aligned, and not null");
    }

    #[test]
    fn memory_keeps_its_content_when_it_grows() {
        let layout = Layout::array::<u64>(4).expect("a small layout");
        // SAFETY: written within its bounds, and freed with its layout.
        unsafe {
            let memory = cabi_realloc(ptr::null_mut(), 0, 8, 16);
            memory.write_bytes(7, 16);
            let memory = cabi_realloc(memory, 16, 8, layout.size());
            assert_eq!((memory.addr() % 8, memory.read(), memory.add(15).read()), (0, 7, 7));
            alloc::dealloc(memory, layout);
        }
        let (memory, cleanup) = Cleanup::new(layout);
        assert!(!memory.is_null() && memory.addr() % layout.align() == 0);
        cleanup.expect("memory to free").forget();
        // SAFETY: forgotten, so not freed yet.
        unsafe { alloc::dealloc(memory, layout) };
    }
}
