// SPDX-License-Identifier: GPL-2.0

//! Static caches as allocators: layouts, alignments, and NUMA nodes.

use crate::{
    abstractions::{
        gfp::__GFP_THISNODE,
        slab::*,
        unload, //
    },
    kmem_cache,
    node, //
};
use core::{
    alloc::Layout,
    ptr, //
};
use kernel::{
    alloc::{
        Allocator,
        Box,
        NumaNode,
        Vec, //
    },
    prelude::*, //
};

tests! { "slab_static":
    layouts_that_fit,
    reallocation_keeps_its_layout,
    zero_size_is_no_allocation,
    zero_flag_clears,
    alignment_is_that_of_the_type,
    boxes_on_a_node,
}

kmem_cache! {
    struct Words {
        type: [u64; 4],
        name: c"kmemcg_test_static_words",
        options: Options::new(),
    }
}

/// Smaller ones, too, as a box may be of any type.
fn layouts_that_fit() -> Result {
    #[repr(align(16))]
    struct Aligned(u64);
    unload::scope(|module| {
        let _cache = Registration::<Words>::new(module)?;
        check_eq!(*Box::<[u64; 4], Words>::new([1; 4], GFP_KERNEL)?, [1; 4]);
        check_eq!(*Box::<[u8; 32], Words>::new([2; 32], GFP_KERNEL)?, [2; 32]);
        check_eq!(*Box::<u8, Words>::new(3, GFP_KERNEL)?, 3);
        check!(Box::<[u8; 33], Words>::new([0; 33], GFP_KERNEL).is_err());
        check!(Box::<[u64; 5], Words>::new([0; 5], GFP_KERNEL).is_err());
        check!(Box::<Aligned, Words>::new(Aligned(0), GFP_KERNEL).map_or(true, |one| one.0 != 0));
        let mut list = Vec::<u64, Words>::with_capacity(4, GFP_KERNEL)?;
        for i in 0..4 {
            list.push(i, GFP_KERNEL)?;
        }
        check!(list.push(4, GFP_KERNEL).is_err());
        check_eq!(list.len(), 4);
        check!(list.iter().copied().eq(0..4));
        Ok(())
    })
}

/// The same is where it was; another one, or a node, is refused, and nothing has changed.
fn reallocation_keeps_its_layout() -> Result {
    let layout = Layout::new::<[u64; 4]>();
    unload::scope(|module| {
        let _cache = Registration::<Words>::new(module)?;
        let memory = Words::alloc(layout, GFP_KERNEL, NumaNode::NO_NODE)?;
        check_eq!(memory.len(), 32);
        let memory = memory.cast::<u8>();
        // SAFETY: 32 bytes of ours.
        unsafe { memory.write_bytes(7, 32) };
        let realloc = |new, node| {
            // SAFETY: An allocation of that layout, which is used again only if it was not freed.
            unsafe { Words::realloc(Some(memory), new, layout, GFP_KERNEL, node) }
        };
        let same = realloc(layout, NumaNode::NO_NODE)?;
        check!(ptr::eq(same.as_ptr().cast::<u8>(), memory.as_ptr()));
        for size in [1, 31, 33, 64, 4096] {
            let other = Layout::from_size_align(size, 8).map_err(|_| EINVAL)?;
            check!(realloc(other, NumaNode::NO_NODE).is_err());
        }
        check!(realloc(
            Layout::from_size_align(32, 4).map_err(|_| EINVAL)?,
            NumaNode::NO_NODE
        )
        .is_err());
        check!(realloc(layout, NumaNode::new(0)?).is_err());
        // SAFETY: Written above.
        check_eq!(unsafe { memory.cast::<[u8; 32]>().read() }, [7; 32]);
        // No size frees it, as `free()` does.
        check_eq!(realloc(Layout::new::<()>(), NumaNode::NO_NODE)?.len(), 0);
        Ok(())
    })
}

/// With a registration, and without.
fn zero_size_is_no_allocation() -> Result {
    struct Empty;
    let dangling = Box::<Empty, Words>::new(Empty, GFP_KERNEL)?;
    check_eq!(ptr::from_ref(&*dangling) as usize % Words::MIN_ALIGN, 0);
    unload::scope(|module| {
        let _cache = Registration::<Words>::new(module)?;
        // Dropped in the scope, allocated before it.
        drop(dangling);
        let empty = Layout::from_size_align(0, 64).map_err(|_| EINVAL)?;
        let dangling = Words::alloc(empty, GFP_KERNEL, NumaNode::NO_NODE)?;
        check_eq!(dangling.len(), 0);
        check_eq!(dangling.as_ptr().cast::<u8>() as usize % 64, 0);
        // What has no size was not allocated: this allocates, and frees.
        // SAFETY: An allocation of no size may have any address.
        let memory = unsafe {
            Words::realloc(
                Some(dangling.cast()),
                Layout::new::<u64>(),
                empty,
                GFP_KERNEL,
                NumaNode::NO_NODE,
            )
        }?;
        // SAFETY: Allocated just now.
        unsafe { Words::free(memory.cast(), Layout::new::<u64>()) };
        Ok(())
    })
}

/// What another box has left.
fn zero_flag_clears() -> Result {
    unload::scope(|module| {
        let _cache = Registration::<Words>::new(module)?;
        for _ in 0..100 {
            let mut one = Box::<[u64; 4], Words>::zeroed(GFP_KERNEL)?;
            check_eq!(*one, [0; 4]);
            *one = [u64::MAX; 4];
        }
        Ok(())
    })
}

#[repr(align(256))]
struct Aligned(#[allow(dead_code)] u8);

kmem_cache! {
    struct AlignedCache {
        type: Aligned,
        name: c"kmemcg_test_static_align",
        options: Options::new(),
    }
}

/// For smaller objects, too.
fn alignment_is_that_of_the_type() -> Result {
    check_eq!(AlignedCache::MIN_ALIGN, 256);
    unload::scope(|module| {
        let _cache = Registration::<AlignedCache>::new(module)?;
        let mut boxes = KVec::new();
        for _ in 0..50 {
            let one = Box::<Aligned, AlignedCache>::new(Aligned(1), GFP_KERNEL)?;
            let small = Box::<u8, AlignedCache>::new(1, GFP_KERNEL)?;
            check_eq!(ptr::from_ref(&*one) as usize % 256, 0);
            check_eq!(ptr::from_ref(&*small) as usize % 256, 0);
            boxes.push((one, small), GFP_KERNEL)?;
        }
        Ok(())
    })
}

/// Each that has memory, whether that is demanded or preferred; one that is not online, only if that is
/// not demanded.
fn boxes_on_a_node() -> Result {
    let layout = Layout::new::<[u64; 4]>();
    let strict = GFP_KERNEL | __GFP_THISNODE;
    unload::scope(|module| {
        let _cache = Registration::<Words>::new(module)?;
        for (number, node) in node::with_memory() {
            for _ in 0..100 {
                for flags in [GFP_KERNEL, strict] {
                    let memory = Words::alloc(layout, flags, node)?.cast();
                    let is_there = node::is_on(memory.as_ptr(), number);
                    // SAFETY: Allocated just now.
                    unsafe { Words::free(memory, layout) };
                    check!(is_there);
                }
            }
        }
        for node in node::absent() {
            let memory = Words::alloc(layout, GFP_KERNEL, node)?;
            // SAFETY: Allocated just now.
            unsafe { Words::free(memory.cast(), layout) };
            let refused = Words::alloc(layout, strict, node).map(|memory| {
                // SAFETY: Allocated just now. The scope would wait for it.
                unsafe { Words::free(memory.cast(), layout) };
            });
            check!(refused.is_err());
        }
        Ok(())
    })
}
