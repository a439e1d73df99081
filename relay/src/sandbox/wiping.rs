//! A heap that forgets: whatever is freed is overwritten first, so that what people said and are does not outlive its use in some
//! buffer of a library's. The relayed packets themselves never touch the heap; this costs what is freed, once.
#![allow(unsafe_code, reason = "an allocator is unsafe by nature; each call is handed on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, with a sponge.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wiping;

// SAFETY: every call is the system allocator's own, with the caller's arguments; memory is written to only while it is still the
// caller's to give back.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the block is `layout.size()` bytes and nobody else's. `explicit_bzero` is a write that no optimiser may drop.
        unsafe {
            libc::explicit_bzero(memory.cast(), layout.size());
            System.dealloc(memory, layout);
        }
    }

    /// The system's could leave the old block behind as it was.
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `size` within the bounds of a layout. Both blocks are at least as long as what is copied, and two.
        unsafe {
            let moved = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(memory, moved, size.min(layout.size()));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a block after it was freed, as somebody with a debugger would. The first bytes are the system's again by then.
    #[test]
    fn what_is_freed_and_what_has_moved_is_gone() {
        const WORD: &[u8] = b"what somebody said";
        let layout = Layout::array::<u8>(4096).expect("a layout");
        // SAFETY: `mine` is written within its bounds while it lives; what a freed block holds is read through the kernel, which
        // answers for any address.
        unsafe {
            let mine = Wiping.alloc(layout);
            let middle = mine.add(2048);
            std::ptr::copy_nonoverlapping(WORD.as_ptr(), middle, WORD.len());
            let (here, place) = (memory(middle), mine.expose_provenance());
            assert_eq!(here, WORD);
            let moved = Wiping.realloc(mine, layout, 8192);
            assert_eq!(memory(moved.add(2048)), WORD, "it goes along");
            assert_ne!(memory(std::ptr::with_exposed_provenance::<u8>(place + 2048)), WORD, "and is not left behind");
            Wiping.dealloc(moved, Layout::array::<u8>(8192).expect("a layout"));
        }
    }

    fn memory(at: *const u8) -> Vec<u8> {
        use std::os::unix::fs::FileExt as _;
        let mut bytes = vec![0; 18];
        let all = std::fs::File::open("/proc/self/mem").expect("our own memory");
        all.read_exact_at(&mut bytes, at.addr() as u64).expect("it is mapped");
        bytes
    }
}
