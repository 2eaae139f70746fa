// SPDX-License-Identifier: GPL-2.0

//! NUMA nodes, for the tests of slab caches.

use core::ffi::{c_int, c_void};
use kernel::alloc::NumaNode;

// Defined in `kernel.c`.
extern "C" {
    fn rust_kmemcg_test_node_of(object: *const c_void) -> c_int;
    fn rust_kmemcg_test_node_has_memory(node: c_int) -> bool;
    fn rust_kmemcg_test_node_online(node: c_int) -> bool;
}

/// All nodes that this kernel has a number for.
fn possible() -> impl Iterator<Item = (i32, NumaNode)> {
    (0..).map_while(|number| Some((number, NumaNode::new(number).ok()?)))
}

/// The nodes that have memory; a test machine may have one only.
pub(crate) fn with_memory() -> impl Iterator<Item = (i32, NumaNode)> {
    // SAFETY: The number is less than `MAX_NUMNODES`.
    possible().filter(|&(number, _)| unsafe { rust_kmemcg_test_node_has_memory(number) })
}

/// The first and the last of the nodes that are not online; none if the kernel has one node only.
pub(crate) fn absent() -> impl Iterator<Item = NumaNode> {
    let mut absent = possible().filter(|&(number, _)| {
        // SAFETY: The number is less than `MAX_NUMNODES`.
        !unsafe { rust_kmemcg_test_node_online(number) }
    });
    let first = absent.next();
    let last = absent.last();
    Iterator::chain(first.into_iter(), last).map(|(_, node)| node)
}

/// Is a slab object on that node? One of KFENCE may be anywhere.
pub(crate) fn is_on<T>(object: *const T, number: i32) -> bool {
    // SAFETY: The address is that of a slab object, so of the direct mapping.
    let node = unsafe { rust_kmemcg_test_node_of(object.cast()) };
    node == -1 || node == number
}
