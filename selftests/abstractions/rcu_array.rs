// SPDX-License-Identifier: GPL-2.0

//! An array of slots whose memory is allocated when it is needed, and the numbers that index it.

use crate::{
    abstractions::{
        ida::Ida,
        sync::rcu::{
            array::{
                Index,
                RcuArray,
                LEN, //
            },
            slot::read, //
        }, //
    },
    support::{
        cpus_expected,
        eventually,
        in_parallel,
        Bell,
        Counter, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{atomic::Relaxed, Arc},
};

tests! { "rcu_array":
    indices_are_below_a_million,
    empty_slots_are_none,
    what_is_published_is_found_at_its_index_only,
    every_chunk_can_be_used,
    one_chunk_for_all_that_ask_at_once,
    dropped_array_drops_what_it_holds,
    ida_takes_the_smallest,
    ida_takes_each_number_once,
}

static DROPS: Counter = Counter::new();

/// Indices that differ from a neighbour in the slot, the chunk or the table only; and both ends.
const INDICES: [u32; 10] = [
    0, 1, 255, 256, 65_535, 65_536, 65_537, 131_071, 1_000_000, 1_048_575,
];

fn index(number: u32) -> Result<Index> {
    Index::new(number).ok_or(ERANGE)
}

/// As [`index`], for numbers that are known to be one.
fn at(number: u32) -> Index {
    index(number).unwrap_or(const { Index::new(0).unwrap() })
}

fn array<T>() -> Result<Arc<RcuArray<T>>> {
    Arc::init(RcuArray::new(), GFP_KERNEL)
}

fn indices_are_below_a_million() -> Result {
    check_eq!(LEN, 1 << 20);
    check_eq!(index(1_048_575)?.get(), 1_048_575);
    for number in [1_048_576, 1_048_577, u32::MAX] {
        check_eq!(Index::new(number), None);
    }
    Ok(())
}

fn empty_slots_are_none() -> Result {
    let array = array::<u32>()?;
    for number in INDICES {
        check!(array.get(index(number)?).is_none());
        check!(read(|reader| array.load(at(number), reader).is_none()));
    }
    // Its neighbours are there, too, but empty.
    array.get_or_make(index(0)?, GFP_KERNEL)?;
    let place = array.get(index(255)?).ok_or(ENOENT)?;
    check!(!place.flag.load(Relaxed));
    check!(read(|reader| place.entry.load(reader).is_none()));
    check!(array.get(index(256)?).is_none());
    check!(array.get(index(65_536)?).is_none());
    Ok(())
}

fn what_is_published_is_found_at_its_index_only() -> Result {
    let array = array()?;
    for number in INDICES {
        let place = array.get_or_make(index(number)?, GFP_KERNEL)?;
        place
            .entry
            .publish(Arc::new(number, GFP_KERNEL)?)
            .map_err(|_| EEXIST)?;
        check!(!place.flag.load(Relaxed));
        place.flag.store(true, Relaxed);
    }
    for number in 0..LEN as u32 {
        let found = read(|reader| array.load(at(number), reader).copied());
        let expected = INDICES.contains(&number).then_some(number);
        if found != expected {
            check_eq!((number, found), (number, expected));
        }
    }
    Ok(())
}

/// All 4,096 of them; 16 MiB are too much for a small machine, so each table in turn.
fn every_chunk_can_be_used() -> Result {
    for table in 0..16 {
        let array = array()?;
        for chunk in 0..256 {
            let number = table << 16 | chunk << 8 | (chunk + table) % 256;
            let place = array.get_or_make(index(number)?, GFP_KERNEL)?;
            place
                .entry
                .publish(Arc::new(number, GFP_KERNEL)?)
                .map_err(|_| EEXIST)?;
            check_eq!(
                read(|reader| array.load(at(number), reader).copied()),
                Some(number)
            );
        }
    }
    Ok(())
}

/// Each asks for the same slots at the same time: all get the same ones.
fn one_chunk_for_all_that_ask_at_once() -> Result {
    for _ in 0..50 {
        let array = array::<u32>()?;
        let (shared, taken) = (array, Arc::new(Counter::new(), GFP_KERNEL)?);
        let count = taken.clone();
        let cpus = in_parallel(4, move |_| {
            for number in INDICES {
                if let Ok(place) = shared.get_or_make(at(number), GFP_KERNEL) {
                    if !place.flag.xchg(true, Relaxed) {
                        count.add();
                    }
                }
            }
        })?;
        check!(cpus >= cpus_expected());
        check_eq!(taken.get(), INDICES.len());
    }
    Ok(())
}

fn dropped_array_drops_what_it_holds() -> Result {
    DROPS.set(0);
    let array = array()?;
    for number in INDICES {
        let place = array.get_or_make(index(number)?, GFP_KERNEL)?;
        place
            .entry
            .publish(Arc::new(Bell(&DROPS), GFP_KERNEL)?)
            .map_err(|_| EEXIST)?;
    }
    check_eq!(DROPS.get(), 0);
    drop(array);
    check_eq!(DROPS.get(), INDICES.len());
    Ok(())
}

fn ida_takes_the_smallest() -> Result {
    let ida = KBox::pin_init(Ida::new(), GFP_KERNEL)?;
    for number in 0..3000 {
        check_eq!(ida.alloc_max(2999, GFP_KERNEL), Ok(number));
    }
    check_eq!(ida.alloc_max(2999, GFP_KERNEL), Err(ENOSPC));
    for number in [2999, 7, 2000] {
        ida.free(number);
    }
    for number in [7, 2000, 2999] {
        check_eq!(ida.alloc_max(2999, GFP_KERNEL), Ok(number));
    }
    check_eq!(ida.alloc_max(3000, GFP_KERNEL), Ok(3000));
    // With some in use it is dropped.
    Ok(())
}

/// Four take and give back numbers at once: no two have the same, and there is one for each. Before that,
/// each keeps one until all have one.
fn ida_takes_each_number_once() -> Result {
    let ida = Arc::pin_init(Ida::new(), GFP_KERNEL)?;
    let array = array::<u32>()?;
    let counters = [(); 4].map(|()| Counter::new());
    let counters = Arc::new(counters, GFP_KERNEL)?;
    let shared = counters.clone();
    let cpus = in_parallel(4, move |_| {
        let [holders, taken, twice, refused] = &*shared;
        for round in 0..2000 {
            let Ok(number) = ida.alloc_max(3, GFP_KERNEL) else {
                refused.add();
                continue;
            };
            if let Ok(place) = array.get_or_make(at(number), GFP_KERNEL) {
                if place.flag.xchg(true, Relaxed) {
                    twice.add();
                }
                taken.add();
                if round == 0 {
                    holders.add();
                    eventually(|| holders.get() + refused.get() >= 4);
                }
                place.flag.store(false, Relaxed);
            }
            ida.free(number);
        }
    })?;
    let [holders, taken, twice, refused] = &*counters;
    check_eq!((twice.get(), refused.get()), (0, 0));
    check_eq!((holders.get(), taken.get()), (4, 4 * 2000));
    check!(cpus >= cpus_expected());
    Ok(())
}
