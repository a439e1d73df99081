//! Pages of memory that nobody needs, given back to the system while readers go on reading them.
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU64;

/// The smallest page there is; larger ones hold whole numbers of these.
pub(super) const PAGE: usize = 4096;

/// Gives the pages under `words` back: they read as zero from here on, and take memory again when they are written. Changes nothing where
/// the words are not whole pages.
pub(super) fn discard(words: &[AtomicU64]) {
    // SAFETY: no pointers; the kernel answers a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    let is_whole = |bytes: usize| bytes.checked_rem(page) == Some(0);
    if !is_whole(words.as_ptr().addr()) || !is_whole(size_of_val(words)) {
        return;
    }
    // SAFETY: the pages are private memory of this process without a file behind them, as all that comes from the allocator, and whole, so
    // that nobody else's memory is touched. Their words are atomic: to whoever reads them it is as if another thread stored zeros.
    unsafe {
        libc::madvise(words.as_ptr().cast_mut().cast(), size_of_val(words), libc::MADV_DONTNEED);
    }
}
