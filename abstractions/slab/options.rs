// SPDX-License-Identifier: GPL-2.0

//! Options of a cache.

use core::alloc::Layout;
use kernel::{
    bindings,
    prelude::*, //
};

/// Options of a cache, beside the type of its objects.
///
/// # Examples
///
/// ```
/// use rust_kmemcg::abstractions::slab::Options;
///
/// const OPTIONS: Options = Options::new().account().hwcache_align().sheaf_capacity(32);
/// ```
///
/// # Invariants
///
/// `constructor` is set if and only if `flags` has `SLAB_TYPESAFE_BY_RCU`.
#[derive(Clone, Copy)]
#[must_use = "options do nothing until a cache is made with them"]
pub struct Options {
    flags: bindings::slab_flags_t,
    align: u32,
    usercopy: Option<(u32, u32)>,
    sheaf_capacity: u32,
    account: bool,
    pub(super) constructor: Option<unsafe extern "C" fn(*mut kernel::ffi::c_void)>,
}

const fn flag(bit: u32) -> bindings::slab_flags_t {
    1 << bit
}

impl Options {
    /// The defaults.
    pub const fn new() -> Self {
        // INVARIANT: Neither.
        Self {
            flags: 0,
            align: 1,
            usercopy: None,
            sheaf_capacity: 0,
            account: false,
            constructor: None,
        }
    }

    /// Aligns objects to at least `align` bytes, a power of two up to a page; 0 is the alignment of
    /// the type.
    pub const fn align(mut self, align: u32) -> Self {
        self.align = align;
        self
    }

    /// Charges the objects to the memory cgroup of the task that allocates them (`SLAB_ACCOUNT`).
    /// Without `CONFIG_MEMCG` this does nothing.
    pub const fn account(mut self) -> Self {
        self.account = true;
        #[cfg(CONFIG_MEMCG)]
        {
            self.flags |= flag(bindings::_slab_flag_bits__SLAB_ACCOUNT);
        }
        self
    }

    /// Was [`account`](Self::account) called?
    #[inline]
    pub const fn accounts(&self) -> bool {
        self.account
    }

    /// Starts objects on cache lines (`SLAB_HWCACHE_ALIGN`).
    pub const fn hwcache_align(mut self) -> Self {
        self.flags |= flag(bindings::_slab_flag_bits__SLAB_HWCACHE_ALIGN);
        self
    }

    /// The objects can be reclaimed: their pages count as such (`SLAB_RECLAIM_ACCOUNT`).
    pub const fn reclaim_account(mut self) -> Self {
        self.flags |= flag(bindings::_slab_flag_bits__SLAB_RECLAIM_ACCOUNT);
        self
    }

    /// Never merges the cache with one of the same layout (`SLAB_NO_MERGE`): its statistics in
    /// `/sys/kernel/slab` are its own, and destroying it means something.
    pub const fn no_merge(mut self) -> Self {
        self.flags |= flag(bindings::_slab_flag_bits__SLAB_NO_MERGE);
        self
    }

    /// The part of an object that may be copied to and from user space, in bytes from its
    /// beginning; a size of 0 is none. By default this is the whole object if the cache has a type,
    /// and none if it is a [`RawCache`](super::RawCache).
    ///
    /// To copy another part, by `UserSlice` for instance, is a `BUG()` with
    /// `CONFIG_HARDENED_USERCOPY`. A cache with a window is not merged with others, as with
    /// [`no_merge`](Self::no_merge).
    pub const fn usercopy(mut self, offset: u32, size: u32) -> Self {
        self.usercopy = Some((offset, size));
        self
    }

    /// The whole of `layout`, unless there is a window.
    pub(super) const fn usercopy_by_default(mut self, layout: Layout) -> Self {
        if self.usercopy.is_none() {
            self.usercopy = Some((0, layout.size() as u32));
        }
        self
    }

    /// Per-CPU arrays (sheaves) of at least this many objects. Implies
    /// [`no_merge`](Self::no_merge).
    pub const fn sheaf_capacity(mut self, objects: u32) -> Self {
        self.sheaf_capacity = objects;
        self
    }

    /// Memory keeps its type for a grace period (`SLAB_TYPESAFE_BY_RCU`).
    ///
    /// `constructor` may be called with a pointer to the memory of any object, before that is
    /// allocated for the first time, and makes it valid.
    pub(super) const fn typesafe_by_rcu(
        mut self,
        constructor: unsafe extern "C" fn(*mut kernel::ffi::c_void),
    ) -> Self {
        // INVARIANT: Both.
        self.flags |= flag(bindings::_slab_flag_bits__SLAB_TYPESAFE_BY_RCU);
        self.constructor = Some(constructor);
        self
    }

    /// The flags of `kmem_cache_create()`.
    #[inline]
    pub(super) fn flags(&self) -> bindings::slab_flags_t {
        self.flags
    }

    /// The arguments for objects of `layout`.
    pub(super) fn args(&self, layout: Layout) -> Result<bindings::kmem_cache_args> {
        /// More than the kernel ever chooses by itself, and far from an overflow.
        const MAX_SHEAF: u32 = 4096;
        let align = self.align.max(layout.align() as u32);
        let (useroffset, usersize) = self.usercopy.unwrap_or((0, 0));
        let end = useroffset.checked_add(usersize).ok_or(EINVAL)?;
        // C warns of a window that does not fit.
        if (self.align != 0 && !self.align.is_power_of_two())
            || align as usize > kernel::page::PAGE_SIZE
            || end as usize > layout.size()
            || (usersize == 0 && useroffset != 0)
            || self.sheaf_capacity > MAX_SHEAF
        {
            return Err(EINVAL);
        }
        Ok(bindings::kmem_cache_args {
            align,
            useroffset,
            usersize,
            sheaf_capacity: self.sheaf_capacity,
            ctor: self.constructor,
            ..Default::default()
        })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_slab_options)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout::new::<[u64; 8]>();

    fn error(options: Options) -> Option<Error> {
        options.args(LAYOUT).err()
    }

    #[test]
    fn the_type_aligns_where_nothing_else_does() -> Result {
        assert_eq!(Options::new().args(LAYOUT)?.align, 8);
        assert_eq!(Options::new().align(0).args(LAYOUT)?.align, 8);
        assert_eq!(Options::new().align(64).args(LAYOUT)?.align, 64);
        assert_eq!(error(Options::new().align(24)), Some(EINVAL));
        assert_eq!(
            error(Options::new().align(2 * kernel::page::PAGE_SIZE as u32)),
            Some(EINVAL)
        );
        Ok(())
    }

    #[test]
    fn a_window_is_within_the_object() -> Result {
        let args = Options::new().usercopy_by_default(LAYOUT).args(LAYOUT)?;
        assert_eq!((args.useroffset, args.usersize), (0, 64));
        let args = Options::new()
            .usercopy(8, 56)
            .usercopy_by_default(LAYOUT)
            .args(LAYOUT)?;
        assert_eq!((args.useroffset, args.usersize), (8, 56));
        assert_eq!(error(Options::new().usercopy(8, 57)), Some(EINVAL));
        assert_eq!(error(Options::new().usercopy(8, 0)), Some(EINVAL));
        assert_eq!(error(Options::new().usercopy(8, u32::MAX)), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn sheaves_are_bounded() {
        assert_eq!(error(Options::new().sheaf_capacity(4096)), None);
        assert_eq!(error(Options::new().sheaf_capacity(4097)), Some(EINVAL));
    }
}
