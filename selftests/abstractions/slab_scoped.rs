// SPDX-License-Identifier: GPL-2.0

//! Scoped caches, their options, and objects.

use crate::{
    abstractions::{
        context::Context,
        exec,
        slab::*, //
    },
    support::{
        cpus_expected,
        in_parallel,
        Bell,
        Counter,
        CONTEXTS, //
    }, //
};
use core::{alloc::Layout, marker::PhantomPinned, ptr};
use kernel::{interrupt::local_interrupt_disable, page::PAGE_SIZE, prelude::*, sync::Arc};
use pin_init::{init_zeroed, Zeroable};

tests! { "slab_scoped":
    names_are_checked,
    long_names,
    layouts_are_checked,
    options_are_checked,
    every_option_makes_a_cache,
    sizes_from_one_byte_to_the_largest,
    alignments_up_to_a_page,
    hwcache_align_and_align_are_kept,
    zero_sized_objects,
    destructor_runs_once,
    value_is_shared_and_mutable,
    pinned_object_is_made_in_its_place,
    failing_initialiser_gives_the_memory_back,
    destructor_frees_objects_of_the_same_cache,
    raw_round_trip,
    atomic_allocation_in_every_context,
    both_cpus,
    shrink_keeps_live_objects,
}

static DROPS: Counter = Counter::new();

/// Empty names, and those with a space, a slash or no printable ASCII.
fn names_are_checked() -> Result {
    let layout = Layout::new::<u64>();
    for name in [
        c"",
        c" ",
        c"a b",
        c"a/b",
        c"/",
        c"a\n",
        c"\t",
        c"\x7f",
        c"\xff",
        c"\xc3\xa4",
    ] {
        check_err!(RawCache::new(name, layout, Options::new()), EINVAL);
        check_err!(KmemCache::<u64>::new(name, Options::new()), EINVAL);
        check_err!(TypesafeCache::<()>::new(name, Options::new()), EINVAL);
    }
    drop(RawCache::new(
        c"kmemcg_test!~:()%s",
        layout,
        Options::new().no_merge(),
    )?);
    Ok(())
}

/// A name is copied, and can be long.
fn long_names() -> Result {
    let mut name = [b'x'; 201];
    name[..12].copy_from_slice(b"kmemcg_test_");
    name[200] = 0;
    let long = core::ffi::CStr::from_bytes_with_nul(&name).map_err(|_| EINVAL)?;
    let cache = KmemCache::<u64>::new(long, Options::new().no_merge())?;
    name.fill(b'/');
    drop(cache.alloc(1, GFP_KERNEL)?);
    Ok(())
}

/// A layout that is empty, too large, or aligned to more than a page.
fn layouts_are_checked() -> Result {
    let new = |size, align| {
        let layout = Layout::from_size_align(size, align).map_err(|_| EDOM)?;
        let cache = RawCache::new(c"kmemcg_test_layout", layout, Options::new())?;
        check_eq!(cache.layout(), layout);
        cache.shrink();
        Ok(())
    };
    check_err!(new(0, 1), EINVAL);
    check_err!(new(8, 2 * PAGE_SIZE), EINVAL);
    check_err!(new(MAX_SIZE + 1, 1), E2BIG);
    check_err!(new(1 << 40, 1), E2BIG);
    check_err!(new(u32::MAX as usize + 2, 1), E2BIG);
    new(1, 1)?;
    new(3, 1)?;
    new(8, PAGE_SIZE)?;
    new(MAX_SIZE, 1)?;
    new(MAX_SIZE, PAGE_SIZE)
}

/// Alignments, usercopy windows and sheaves that do not fit.
fn options_are_checked() -> Result {
    let new = |options| KmemCache::<[u8; 96]>::new(c"kmemcg_test_options", options).map(drop);
    for align in [
        3,
        24,
        96,
        PAGE_SIZE as u32 + 1,
        2 * PAGE_SIZE as u32,
        1 << 31,
        u32::MAX,
    ] {
        check_err!(new(Options::new().align(align)), EINVAL);
    }
    for (offset, size) in [
        (0, 97),
        (96, 1),
        (95, 2),
        (97, 0),
        (1, 0),
        (u32::MAX, 1),
        (u32::MAX, u32::MAX),
        (1, u32::MAX),
    ] {
        check_err!(new(Options::new().usercopy(offset, size)), EINVAL);
    }
    check_err!(new(Options::new().sheaf_capacity(4097)), EINVAL);
    check_err!(new(Options::new().sheaf_capacity(u32::MAX)), EINVAL);
    Ok(())
}

/// Each option alone, and all of them together.
fn every_option_makes_a_cache() -> Result {
    for options in [
        Options::default(),
        Options::new().align(0),
        Options::new().align(PAGE_SIZE as u32),
        Options::new().account(),
        Options::new().hwcache_align(),
        Options::new().reclaim_account(),
        Options::new().no_merge(),
        Options::new().usercopy(0, 0),
        Options::new().usercopy(0, 96),
        Options::new().usercopy(95, 1),
        Options::new().sheaf_capacity(1),
        Options::new().sheaf_capacity(32),
        Options::new().sheaf_capacity(4096),
        Options::new()
            .align(64)
            .account()
            .hwcache_align()
            .reclaim_account()
            .no_merge()
            .usercopy(8, 16)
            .sheaf_capacity(8),
    ] {
        let cache = KmemCache::<[u8; 96]>::new(c"kmemcg_test_option", options)?;
        let mut objects = KVec::with_capacity(100, GFP_KERNEL)?;
        for i in 0..100u8 {
            objects.push(cache.alloc([i; 96], GFP_KERNEL)?, GFP_KERNEL)?;
        }
        for (i, object) in objects.iter().enumerate() {
            check_eq!(**object, [i as u8; 96]);
        }
    }
    Ok(())
}

/// Objects of `N` bytes do not overlap.
fn size<const N: usize>() -> Result
where
    [u8; N]: Zeroable,
{
    let cache = KmemCache::<[u8; N]>::new(c"kmemcg_test_size", Options::new().no_merge())?;
    let mut objects = KVec::new();
    for i in 1..=5 {
        let mut object = cache.alloc(init_zeroed::<[u8; N]>(), GFP_KERNEL)?;
        check!(object.iter().all(|byte| *byte == 0));
        object.fill(i);
        objects.push(object, GFP_KERNEL)?;
    }
    for (i, object) in (1..=5).zip(objects.iter()) {
        check!(object.iter().all(|byte| *byte == i));
    }
    Ok(())
}

/// Sizes that are odd, small, a page, more than a page, and the largest.
fn sizes_from_one_byte_to_the_largest() -> Result {
    size::<1>()?;
    size::<3>()?;
    size::<8>()?;
    size::<96>()?;
    size::<4096>()?;
    size::<5000>()?;
    size::<MAX_SIZE>()
}

macro_rules! aligned {
    ($($name:ident = $align:literal;)*) => {$(
        #[repr(align($align))]
        struct $name(u8);
    )*};
}

aligned! { A1 = 1; A2 = 2; A8 = 8; A64 = 64; A128 = 128; A512 = 512; A2048 = 2048; A4096 = 4096; }

#[repr(align(4096))]
struct Empty4096;

fn alignment<T>(make: impl Fn(u8) -> T, read: impl Fn(&T) -> u8) -> Result {
    let cache = KmemCache::<T>::new(c"kmemcg_test_align", Options::new())?;
    let objects = cache.alloc_bulk(7, |i| make(i as u8), GFP_KERNEL)?;
    for (i, object) in objects.iter().enumerate() {
        check_eq!(ptr::from_ref::<T>(object) as usize % align_of::<T>(), 0);
        check_eq!(read(object), i as u8);
    }
    Ok(())
}

/// Types of every alignment, over-aligned ones too.
fn alignments_up_to_a_page() -> Result {
    alignment(A1, |a| a.0)?;
    alignment(A2, |a| a.0)?;
    alignment(A8, |a| a.0)?;
    alignment(A64, |a| a.0)?;
    alignment(A128, |a| a.0)?;
    alignment(A512, |a| a.0)?;
    alignment(A2048, |a| a.0)?;
    alignment(A4096, |a| a.0)
}

/// The alignment that the options ask for is that of every object.
fn hwcache_align_and_align_are_kept() -> Result {
    let mut align = 1;
    while align <= PAGE_SIZE {
        let options = Options::new().align(align as u32).no_merge();
        let cache = KmemCache::<[u8; 40]>::new(c"kmemcg_test_aligned", options)?;
        for object in cache.alloc_bulk(5, |_| [1; 40], GFP_KERNEL)? {
            check_eq!(ptr::from_ref(&*object) as usize % align, 0);
        }
        align *= 2;
    }
    let cache = KmemCache::<[u8; 64]>::new(c"kmemcg_test_line", Options::new().hwcache_align())?;
    for object in cache.alloc_bulk(5, |_| [1; 64], GFP_KERNEL)? {
        check_eq!(ptr::from_ref(&*object) as usize % 64, 0);
    }
    Ok(())
}

/// They have addresses of their own, their alignment, and are dropped.
fn zero_sized_objects() -> Result {
    struct Empty;
    impl Drop for Empty {
        fn drop(&mut self) {
            DROPS.add();
        }
    }
    DROPS.set(0);
    let cache = KmemCache::<Empty>::new(c"kmemcg_test_empty", Options::new())?;
    let (a, b) = (
        cache.alloc(Empty, GFP_KERNEL)?,
        cache.alloc(Empty, GFP_KERNEL)?,
    );
    check!(!ptr::eq(&*a, &*b));
    drop((a, b));
    check_eq!(DROPS.get(), 2);
    let cache = KmemCache::<Empty4096>::new(c"kmemcg_test_empty4096", Options::new())?;
    for object in cache.alloc_bulk(40, |_| Empty4096, GFP_KERNEL)? {
        check_eq!(ptr::from_ref(&*object) as usize % 4096, 0);
    }
    Ok(())
}

/// At the drop of the object, not before and not again.
fn destructor_runs_once() -> Result {
    DROPS.set(0);
    let cache = KmemCache::<Bell>::new(c"kmemcg_test_drop", Options::new())?;
    let object = cache.alloc(Bell(&DROPS), GFP_KERNEL)?;
    let moved = KBox::new(object, GFP_KERNEL)?;
    check_eq!(DROPS.get(), 0);
    drop(moved);
    check_eq!(DROPS.get(), 1);
    for _ in 0..1000 {
        cache.alloc(Bell(&DROPS), GFP_KERNEL)?;
    }
    check_eq!(DROPS.get(), 1001);
    drop(cache);
    check_eq!(DROPS.get(), 1001);
    Ok(())
}

/// Deref, DerefMut, `as_mut()`, and `owner()`.
fn value_is_shared_and_mutable() -> Result {
    let cache = KmemCache::<[u32; 4]>::new(c"kmemcg_test_value", Options::new())?;
    let mut object = cache.alloc([1, 2, 3, 4], GFP_KERNEL)?;
    check_eq!(*object, [1, 2, 3, 4]);
    object[1] = 7;
    object.as_mut().get_mut()[2] = 8;
    check_eq!(*object, [1, 7, 8, 4]);
    check!(ptr::eq(*object.owner(), &cache));
    Ok(())
}

/// A pinned initialiser gets the address that the object keeps.
fn pinned_object_is_made_in_its_place() -> Result {
    #[pin_data]
    struct Knows {
        me: *const Knows,
        #[pin]
        _pin: PhantomPinned,
    }
    let cache = KmemCache::<Knows>::new(c"kmemcg_test_pinned", Options::new())?;
    let mut object = cache.alloc(
        pin_init!(&this in Knows { me: this.as_ptr(), _pin: PhantomPinned }),
        GFP_KERNEL,
    )?;
    check!(ptr::eq(object.me, &*object));
    check!(ptr::eq(object.as_mut().as_ref().get_ref(), object.me));
    let moved = KBox::new(object, GFP_KERNEL)?;
    check!(ptr::eq(moved.me, &**moved));
    Ok(())
}

/// What it had made is dropped, the error arrives, and no object is left in the cache.
fn failing_initialiser_gives_the_memory_back() -> Result {
    #[pin_data]
    struct Two {
        first: Bell,
        second: u64,
    }
    let fails = || -> Result<u64> { Err(EXDEV) };
    DROPS.set(0);
    let cache = KmemCache::<Two>::new(c"kmemcg_test_fails", Options::new().no_merge())?;
    for i in 0..1000 {
        let init = try_pin_init!(Two { first: Bell(&DROPS), second: fails()? }? Error);
        check_err!(cache.alloc(init, GFP_KERNEL), EXDEV);
        check_eq!(DROPS.get(), i + 1);
    }
    // The kernel complains when it destroys a cache with objects.
    Ok(())
}

/// A list that its head owns: dropping the head drops a thousand others inside of each other.
fn destructor_frees_objects_of_the_same_cache() -> Result {
    struct Node<'a> {
        _next: Option<ScopedObject<'a, Node<'a>>>,
        _bell: Bell,
    }
    DROPS.set(0);
    let cache = KmemCache::<Node<'_>>::new(c"kmemcg_test_list", Options::new())?;
    let mut list = None;
    for _ in 0..40 {
        list = Some(cache.alloc(
            Node {
                _next: list,
                _bell: Bell(&DROPS),
            },
            GFP_KERNEL,
        )?);
    }
    check_eq!(DROPS.get(), 0);
    drop(list);
    check_eq!(DROPS.get(), 40);
    Ok(())
}

/// An object that was split and put together is the same.
fn raw_round_trip() -> Result {
    struct Value(u64, Bell);
    DROPS.set(0);
    let cache = KmemCache::<Value>::new(c"kmemcg_test_raw", Options::new())?;
    let object = cache.alloc(Value(7, Bell(&DROPS)), GFP_KERNEL)?;
    let address = ptr::from_ref(&*object);
    let (ptr, owner) = object.into_raw();
    check_eq!(DROPS.get(), 0);
    check_eq!(ptr.as_ptr().cast_const(), address);
    // SAFETY: Both are from `into_raw()`.
    let object: ScopedObject<'_, Value> = unsafe { Object::from_raw(ptr, owner) };
    check_eq!(object.0, 7);
    let _ = &object.1;
    drop(object);
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// `GFP_ATOMIC` allocates, and drops free, in a softirq, a hard interrupt, and with interrupts
/// disabled.
fn atomic_allocation_in_every_context() -> Result {
    static DONE: Counter = Counter::new();
    DROPS.set(0);
    DONE.set(0);
    let cache = Arc::new(
        KmemCache::<Bell>::new(c"kmemcg_test_ctx", Options::new())?,
        GFP_KERNEL,
    )?;
    for &context in CONTEXTS {
        exec::run(context, cache.clone(), move |cache| {
            for _ in 0..100 {
                let object = cache.alloc(Bell(&DROPS), GFP_ATOMIC);
                if object.is_ok() && Context::current() == context {
                    DONE.add();
                }
            }
        })
        .map_err(|(error, _)| error)?;
    }
    let disabled = local_interrupt_disable();
    for _ in 0..100 {
        if cache.alloc(Bell(&DROPS), GFP_ATOMIC).is_ok() {
            DONE.add();
        }
    }
    drop(disabled);
    check_eq!(DONE.get(), 100 * (CONTEXTS.len() + 1));
    check_eq!(DROPS.get(), 100 * (CONTEXTS.len() + 1));
    Ok(())
}

/// Allocating and freeing at the same time, each CPU seeing its own values.
fn both_cpus() -> Result {
    static WRONG: Counter = Counter::new();
    WRONG.set(0);
    let cache = Arc::new(
        KmemCache::<[usize; 8]>::new(c"kmemcg_test_cpus", Options::new().no_merge())?,
        GFP_KERNEL,
    )?;
    let shared = cache.clone();
    let cpus = in_parallel(4, move |me| {
        for i in 0..200 {
            let value = [me * 10_000 + i; 8];
            match shared.alloc_bulk(10, |_| value, GFP_KERNEL) {
                Ok(objects) if objects.iter().all(|object| **object == value) => (),
                _ => {
                    WRONG.add();
                }
            }
        }
    })?;
    check_eq!(WRONG.get(), 0);
    check!(cpus >= cpus_expected());
    Ok(())
}

/// With and without objects.
fn shrink_keeps_live_objects() -> Result {
    let cache = KmemCache::<[u8; 512]>::new(c"kmemcg_test_shrink", Options::new().no_merge())?;
    cache.shrink();
    let mut objects = cache.alloc_bulk(200, |i| [i as u8; 512], GFP_KERNEL)?;
    objects.truncate(3);
    cache.shrink();
    for (i, object) in objects.iter().enumerate() {
        check_eq!(**object, [i as u8; 512]);
    }
    drop(objects);
    cache.shrink();
    Ok(())
}
