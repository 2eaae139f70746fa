// SPDX-License-Identifier: GPL-2.0

//! What all caches have in common.

use crate::{
    abstractions::{gfp::__GFP_THISNODE, slab::*},
    node, //
};
use core::{mem::MaybeUninit, ptr::NonNull, slice};
use kernel::{
    alloc::NumaNode,
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

tests! { "slab":
    objects_are_copied_to_user_space,
    more_than_c_counts_is_e2big,
    allocations_on_a_node,
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

/// On each node that has memory, whether that is demanded or preferred; on one that is not online, where
/// the page allocator must not be asked, only if that is not demanded.
fn allocations_on_a_node() -> Result {
    let options = Options::new().no_merge();
    let scoped = KmemCache::<[u64; 3]>::new(c"kmemcg_test_node", options)?;
    let reaper = Reaper::new(c"kmemcg_test_node", crate::handle()?)?;
    let counted = CountedCache::<u64>::new(c"kmemcg_test_cnode", options, &reaper)?;
    let typesafe = TypesafeCache::<()>::new(c"kmemcg_test_tsnode", options)?;
    let strict = GFP_KERNEL | __GFP_THISNODE;
    let mut nodes = 0;
    for (number, node) in node::with_memory() {
        nodes += 1;
        for i in 0..100 {
            for flags in [GFP_KERNEL, strict] {
                let object = scoped.alloc_node([i; 3], flags, node)?;
                check_eq!(*object, [i; 3]);
                check!(node::is_on(&*object, number));
                let object = counted.alloc_node(i, flags, node)?;
                check_eq!(*object, i);
                check!(node::is_on(&*object, number));
                let object = typesafe.alloc_node(flags, node)?;
                check!(node::is_on(&*object, number));
                let object = Object::<Memory, _>::memory_node(&scoped, flags, node)?;
                check!(node::is_on(object.as_ptr().as_ptr(), number));
            }
        }
    }
    check!(nodes > 0);
    for node in Iterator::chain(node::absent(), [NumaNode::NO_NODE]) {
        for i in 0..100 {
            check_eq!(*scoped.alloc_node([i; 3], GFP_KERNEL, node)?, [i; 3]);
            check_eq!(*counted.alloc_node(i, GFP_KERNEL, node)?, i);
            drop(typesafe.alloc_node(GFP_KERNEL, node)?);
            drop(Object::<Memory, _>::memory_node(&scoped, GFP_KERNEL, node)?);
        }
    }
    for node in node::absent() {
        check_err!(scoped.alloc_node([1; 3], strict, node), ENOMEM);
        check_err!(counted.alloc_node(1, strict, node), ENOMEM);
        check_err!(typesafe.alloc_node(strict, node), ENOMEM);
        check_err!(
            Object::<Memory, _>::memory_node(&scoped, strict, node),
            ENOMEM
        );
    }
    Ok(())
}
