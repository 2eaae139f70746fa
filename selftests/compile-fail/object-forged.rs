// SPDX-License-Identifier: GPL-2.0

//! An object comes from its cache, and cannot be made from any other pointer.

use core::ptr::NonNull;
use rust_kmemcg::abstractions::slab::{Detached, KmemCache, Object, ScopedObject};

pub fn example<'a>(
    ptr: NonNull<u64>,
    owner: &'a KmemCache<u64>,
    _detached: Detached<&'a KmemCache<u64>>,
) -> ScopedObject<'a, u64> {
    #[cfg(not(fixed))]
    //~v ERROR E0451 field `owner` of struct
    return Object { ptr, owner }; //~ ERROR E0451 field `ptr` of struct
    #[cfg(fixed)]
    {
        let _ = owner;
        // SAFETY: None; but it compiles.
        unsafe { Object::from_raw(ptr, _detached) }
    }
}
