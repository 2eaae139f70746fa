// SPDX-License-Identifier: GPL-2.0

//! What all caches have in common.

use crate::abstractions::kmem_cache::*;
use core::{mem::MaybeUninit, ptr::NonNull, slice};
use kernel::{
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

tests! { "kmem_cache":
    objects_are_copied_to_user_space,
    more_than_c_counts_is_e2big,
}

/// Copies to an address where nothing is, so as far as the check of the source.
fn copied(bytes: &[u8]) -> Result {
    let mut writer = UserSlice::new(UserPtr::from_addr(1), bytes.len()).writer();
    check_err!(writer.write_slice(bytes), EFAULT);
    Ok(())
}

/// As a whole, as from a box; or the window that was asked for.
fn objects_are_copied_to_user_space() -> Result {
    let cache = KmemCache::<[u8; 96]>::new(c"kmemcg_test_copy", Options::new())?;
    let object = cache.alloc([1; 96], GFP_KERNEL)?;
    copied(&*object)?;
    copied(&object[95..])?;
    drop(object);
    drop(cache);
    let cache = KmemCache::<[u8; 96]>::new(c"kmemcg_test_copy", Options::new().usercopy(8, 16))?;
    let object = cache.alloc([1; 96], GFP_KERNEL)?;
    copied(&object[8..24])?;
    drop(object);
    drop(cache);
    let reaper = Reaper::new(c"kmemcg_test_copy", crate::handle()?)?;
    let cache = CountedCache::<[u8; 96]>::new(c"kmemcg_test_copy", Options::new(), &reaper)?;
    let object = cache.alloc([1; 96], GFP_KERNEL)?;
    copied(&*object)
}

/// Before anything is written.
fn more_than_c_counts_is_e2big() -> Result {
    let cache = KmemCache::<u64>::new(c"kmemcg_test_many", Options::new())?;
    let space = NonNull::<MaybeUninit<*mut u8>>::dangling();
    // SAFETY: Not valid, but refused because of its length.
    let space = unsafe { slice::from_raw_parts_mut(space.as_ptr(), i32::MAX as usize + 1) };
    check_err!(Bulk::memory(&cache, space, GFP_KERNEL), E2BIG);
    Ok(())
}
