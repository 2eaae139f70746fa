// SPDX-License-Identifier: GPL-2.0

//! Memory that keeps its type under RCU.

use crate::{
    abstractions::{
        slab::*,
        sync::rcu::slot::read,
        workqueue, //
    },
    support::{
        eventually,
        give_way,
        spin_until,
        Counter, //
    }, //
};
use core::{marker::PhantomPinned, ptr};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc,
    },
    time::{Delta, Instant, Monotonic},
};
use pin_init::init_zeroed;

tests! { "slab_typesafe":
    constructed_once_and_content_is_kept,
    made_in_its_place,
    zero_flag_is_ignored,
    slot_holds_one,
    slot_is_emptied_by_the_drop,
    found_object_stays_valid_after_its_free,
    reader_looks_while_memory_is_reused,
    zero_sized_and_aligned,
}

const MAGIC: u64 = 0x7e57_ab1e_5afe_0001;

struct Entry {
    magic: u64,
    key: Atomic<u64>,
    twice: Atomic<u64>,
}

impl Typesafe for Entry {
    fn new() -> impl PinInit<Self> {
        Self {
            magic: MAGIC,
            key: Atomic::new(0),
            twice: Atomic::new(0),
        }
    }
}

/// Fresh memory is made by `new()`; what is freed and allocated again has what its last user left.
fn constructed_once_and_content_is_kept() -> Result {
    let cache = TypesafeCache::<Entry>::new(c"kmemcg_test_ts", Options::new())?;
    let mut objects = KVec::new();
    for _ in 0..500 {
        let object = cache.alloc(GFP_KERNEL)?;
        check_eq!(object.magic, MAGIC);
        check_eq!(object.key.load(Relaxed), 0);
        object.key.store(ptr::from_ref(&*object) as u64, Relaxed);
        objects.push(object, GFP_KERNEL)?;
    }
    drop(objects);
    let mut again = 0;
    let mut objects = KVec::new();
    for _ in 0..500 {
        let object = cache.alloc(GFP_KERNEL)?;
        check_eq!(object.magic, MAGIC);
        let key = object.key.load(Relaxed);
        check!(key == 0 || key == ptr::from_ref(&*object) as u64);
        again += usize::from(key != 0);
        objects.push(object, GFP_KERNEL)?;
    }
    check!(again > 0);
    Ok(())
}

/// Larger than a page, and even than the stack; an initialiser is asked for each, once, and sees where
/// the object will be.
fn made_in_its_place() -> Result {
    #[pin_data]
    struct Large {
        place: usize,
        bytes: [u8; 40_000],
        #[pin]
        _pin: PhantomPinned,
    }
    impl Typesafe for Large {
        fn new() -> impl PinInit<Self> {
            pin_init!(&this in Self {
                place: this.as_ptr() as usize,
                bytes <- init_zeroed(),
                _pin: PhantomPinned,
            })
        }
    }
    let cache = TypesafeCache::<Large>::new(c"kmemcg_test_tsplace", Options::new())?;
    let mut objects = KVec::new();
    for _ in 0..20 {
        let object = cache.alloc(GFP_KERNEL)?;
        check_eq!(object.place, ptr::from_ref(&*object) as usize);
        check!(object.bytes.iter().all(|&byte| byte == 0));
        objects.push(object, GFP_KERNEL)?;
    }
    Ok(())
}

/// `__GFP_ZERO` would overwrite what readers look at.
fn zero_flag_is_ignored() -> Result {
    let cache = TypesafeCache::<Entry>::new(c"kmemcg_test_tszero", Options::new().no_merge())?;
    for _ in 0..100 {
        check_eq!(cache.alloc(GFP_KERNEL | __GFP_ZERO)?.magic, MAGIC);
    }
    Ok(())
}

/// Publishing into a slot in use gives the object back.
fn slot_holds_one() -> Result {
    let cache = TypesafeCache::<Entry>::new(c"kmemcg_test_tsslot", Options::new())?;
    let slot = TypesafeSlot::new();
    let (a, b) = (cache.alloc(GFP_KERNEL)?, cache.alloc(GFP_KERNEL)?);
    let (address_a, address_b) = (ptr::from_ref(&*a), ptr::from_ref(&*b));
    let Ok(published) = a.publish(&slot) else {
        check!(false);
        return Ok(());
    };
    check!(ptr::eq(&*published, address_a));
    let Err(b) = b.publish(&slot) else {
        check!(false);
        return Ok(());
    };
    check!(ptr::eq(&*b, address_b));
    check!(read(|reader| slot
        .load(reader)
        .is_some_and(|found| ptr::eq(found, address_a))));
    drop(published);
    check!(b.publish(&slot).is_ok());
    Ok(())
}

/// New slots are empty; so are those whose object is gone.
fn slot_is_emptied_by_the_drop() -> Result {
    let cache = TypesafeCache::<Entry>::new(c"kmemcg_test_tsempty", Options::new())?;
    let slot = TypesafeSlot::default();
    check!(read(|reader| slot.load(reader).is_none()));
    for _ in 0..10 {
        let published = cache
            .alloc(GFP_KERNEL)?
            .publish(&slot)
            .map_err(|_| EEXIST)?;
        check!(read(|reader| slot.load(reader).is_some()));
        drop(published);
        check!(read(|reader| slot.load(reader).is_none()));
    }
    Ok(())
}

/// As in the documentation: the memory is an `Entry` until the closure returns.
fn found_object_stays_valid_after_its_free() -> Result {
    let cache = TypesafeCache::<Entry>::new(c"kmemcg_test_tsfree", Options::new().no_merge())?;
    let slot = TypesafeSlot::new();
    for _ in 0..100 {
        let published = cache
            .alloc(GFP_KERNEL)?
            .publish(&slot)
            .map_err(|_| EEXIST)?;
        read(|reader| {
            let found = slot.load(reader).ok_or(ENOENT)?;
            drop(published);
            check!(found.magic == MAGIC);
            Ok(())
        })?;
        cache.cache_is_usable()?;
    }
    Ok(())
}

trait Usable {
    fn cache_is_usable(&self) -> Result;
}

impl Usable for TypesafeCache<Entry> {
    fn cache_is_usable(&self) -> Result {
        check_eq!(self.alloc(GFP_KERNEL)?.magic, MAGIC);
        Ok(())
    }
}

/// A reader on another CPU never sees anything that is no `Entry`, while the entry that it looks at
/// is freed and allocated again under another key.
fn reader_looks_while_memory_is_reused() -> Result {
    struct Shared {
        slot: TypesafeSlot<'static, Entry>,
        stop: Counter,
        looks: Counter,
        moved_on: Counter,
        wrong: Counter,
    }
    // Dropped below, after everything that borrows it.
    let cache: &'static TypesafeCache<Entry> = KBox::leak(KBox::new(
        TypesafeCache::<Entry>::new(c"kmemcg_test_tsrace", Options::new().no_merge())?,
        GFP_KERNEL,
    )?);
    let shared = Arc::new(
        Shared {
            slot: TypesafeSlot::new(),
            stop: Counter::new(),
            looks: Counter::new(),
            moved_on: Counter::new(),
            wrong: Counter::new(),
        },
        GFP_KERNEL,
    )?;
    let queue = workqueue::Builder::unbound().build(c"kmemcg_test_ts", crate::handle()?)?;
    let reader = shared.clone();
    queue.try_spawn(GFP_KERNEL, move || {
        while reader.stop.get() == 0 {
            read(|guard| {
                if let Some(found) = reader.slot.load(guard) {
                    let key = found.key.load(Relaxed);
                    spin_until(|| found.key.load(Relaxed) != key, Delta::from_micros(200));
                    if found.magic != MAGIC {
                        reader.wrong.add();
                    }
                    if found.key.load(Relaxed) != key {
                        reader.moved_on.add();
                    }
                    reader.looks.add();
                }
            });
            give_way();
        }
    })?;
    let mut failed: Result = Ok(());
    let mut key = 0;
    let mut progress = || {
        key += 1;
        let object = cache.alloc(GFP_KERNEL)?;
        object.key.store(key, Relaxed);
        object.twice.xchg(2 * key, Full);
        let published = object.publish(&shared.slot).map_err(|_| EEXIST)?;
        // The first stays until the reader is there: it may wait for this very CPU.
        if shared.looks.get() == 0 {
            eventually(|| shared.looks.get() > 0);
        }
        drop(published);
        // Others take its place.
        let other = cache.alloc(GFP_KERNEL)?;
        other.key.store(0, Relaxed);
        Ok(())
    };
    let begin = Instant::<Monotonic>::now();
    while begin.elapsed() < Delta::from_secs(2) {
        failed = progress();
        if failed.is_err() || (shared.moved_on.get() > 3 && shared.looks.get() > 100) {
            break;
        }
    }
    shared.stop.set(1);
    queue.flush();
    drop(queue);
    let (wrong, looks) = (shared.wrong.get(), shared.looks.get());
    drop(shared);
    // SAFETY: From `leak()` above; nobody uses it any more.
    drop(unsafe { KBox::from_raw(ptr::from_ref(cache).cast_mut()) });
    failed?;
    check_eq!(wrong, 0);
    check!(looks > 0);
    Ok(())
}

/// Types of no size and of a large alignment.
fn zero_sized_and_aligned() -> Result {
    #[repr(align(512))]
    struct Big(Atomic<u64>);
    impl Typesafe for Big {
        fn new() -> impl PinInit<Self> {
            Self(Atomic::new(3))
        }
    }
    let cache = TypesafeCache::<Big>::new(c"kmemcg_test_tsbig", Options::new())?;
    let mut objects = KVec::new();
    for _ in 0..20 {
        let object = cache.alloc(GFP_KERNEL)?;
        check_eq!(ptr::from_ref(&*object) as usize % 512, 0);
        check_eq!(object.0.load(Relaxed), 3);
        objects.push(object, GFP_KERNEL)?;
    }
    let cache = TypesafeCache::<()>::new(c"kmemcg_test_tsunit", Options::new())?;
    let slot = TypesafeSlot::new();
    let published = cache
        .alloc(GFP_KERNEL)?
        .publish(&slot)
        .map_err(|_| EEXIST)?;
    check!(read(|reader| slot.load(reader).is_some()));
    drop(published);
    Ok(())
}

impl Typesafe for () {
    fn new() -> impl PinInit<Self> {
        init_zeroed()
    }
}
