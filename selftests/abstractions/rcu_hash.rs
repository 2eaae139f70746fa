// SPDX-License-Identifier: GPL-2.0

//! A hash table that readers search under RCU.

use crate::{
    abstractions::{
        exec,
        sync::rcu::{
            hash::{
                RcuHash,
                Reservation, //
            },
            slot::read, //
        }, //
    },
    callbacks,
    support::{
        cpus_expected,
        eventually,
        give_way,
        in_parallel,
        stays_false,
        Bell,
        Counter,
        HeldGracePeriod,
        CONTEXTS, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

tests! { "rcu_hash":
    sizes_out_of_range_are_einval,
    what_is_inserted_is_found,
    key_in_use_is_refused,
    one_bucket_holds_many,
    removed_is_dropped_after_a_grace_period,
    dropped_table_drops_what_it_holds,
    every_context,
    neighbours_of_what_goes_are_always_found,
}

struct Value {
    number: u64,
    alive: Atomic<usize>,
    _bell: Bell,
}

static DROPS: Counter = Counter::new();

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.store(0, Relaxed);
    }
}

type Table = RcuHash<Value>;

fn table(bits: u32) -> Result<Arc<Table>> {
    let callbacks = callbacks()?;
    // What another test has removed is gone before this one counts.
    callbacks.barrier();
    DROPS.set(0);
    Arc::pin_init(RcuHash::new(bits, &callbacks), GFP_KERNEL)
}

fn value(number: u64) -> Value {
    Value {
        number,
        alive: Atomic::new(1),
        _bell: Bell(&DROPS),
    }
}

/// Inserts the value `number` by the key of the same number; false where that is in use.
fn insert(table: &Table, number: u64, flags: kernel::alloc::Flags) -> Result<bool> {
    let entry = Reservation::new(flags)?.into_entry(number, value(number));
    // Named, so that what is refused is dropped without the lock.
    let refused = table.lock().insert(entry).err();
    Ok(refused.is_none())
}

fn finds(table: &Table, key: u64) -> bool {
    read(|reader| {
        table
            .get(key, reader)
            .is_some_and(|value| value.number == key)
    })
}

/// None, and more than a million buckets.
fn sizes_out_of_range_are_einval() -> Result {
    for bits in [0, 21, 32, 64, u32::MAX] {
        check_err!(table(bits), EINVAL);
    }
    check!(table(1).is_ok());
    check!(table(20).is_ok());
    Ok(())
}

/// By its key and no other, whatever the key is.
fn what_is_inserted_is_found() -> Result {
    let table = table(4)?;
    let keys = [0, 1, 2, 1 << 32, 1 << 63, u64::MAX];
    check!(table.lock().is_empty());
    for (i, key) in keys.into_iter().enumerate() {
        check!(!finds(&table, key));
        check!(table.lock().get(key).is_none());
        check!(insert(&table, key, GFP_KERNEL)?);
        check!(finds(&table, key));
        check!(table.lock().get(key).is_some());
        check_eq!(table.lock().len(), i + 1);
    }
    check!(!finds(&table, 3));
    for key in keys {
        check!(table.lock().remove(key));
        check!(!finds(&table, key));
        check!(!table.lock().remove(key));
    }
    check!(table.lock().is_empty());
    Ok(())
}

/// The new entry comes back, the old one stays.
fn key_in_use_is_refused() -> Result {
    let table = table(4)?;
    check!(insert(&table, 7, GFP_KERNEL)?);
    check!(!insert(&table, 7, GFP_KERNEL)?);
    check_eq!(DROPS.get(), 1);
    check!(finds(&table, 7));
    check_eq!(table.lock().len(), 1);
    Ok(())
}

/// Of two buckets at least one has hundreds: first, middle and last are found, and removed, alike.
fn one_bucket_holds_many() -> Result {
    const MANY: u64 = 1000;
    let table = table(1)?;
    for key in 0..MANY {
        check!(insert(&table, key, GFP_KERNEL)?);
    }
    check_eq!(table.lock().len(), MANY as usize);
    check!((0..MANY).all(|key| finds(&table, key)));
    for key in (0..MANY).step_by(3) {
        check!(table.lock().remove(key));
    }
    check!((0..MANY).all(|key| finds(&table, key) == (key % 3 != 0)));
    callbacks()?.barrier();
    check_eq!(DROPS.get(), MANY.div_ceil(3) as usize);
    Ok(())
}

/// Who found it may go on looking.
fn removed_is_dropped_after_a_grace_period() -> Result {
    let table = table(4)?;
    check!(insert(&table, 7, GFP_KERNEL)?);
    let held = HeldGracePeriod::new()?;
    read(|reader| {
        let found = table.get(7, reader).ok_or(ENOENT)?;
        check!(table.lock().remove(7));
        check!(table.get(7, reader).is_none());
        check_eq!(found.alive.load(Relaxed), 1);
        Ok(())
    })?;
    check!(stays_false(|| DROPS.get() != 0));
    check!(held.is_held());
    held.release();
    check!(eventually(|| DROPS.get() == 1));
    Ok(())
}

/// All of them, once.
fn dropped_table_drops_what_it_holds() -> Result {
    let table = table(2)?;
    for key in 0..10 {
        check!(insert(&table, key, GFP_KERNEL)?);
    }
    check!(table.lock().remove(3));
    callbacks()?.barrier();
    check_eq!(DROPS.get(), 1);
    drop(table);
    check_eq!(DROPS.get(), 10);
    Ok(())
}

/// Inserted, found and removed where nobody may sleep.
fn every_context() -> Result {
    static DONE: Counter = Counter::new();
    let table = table(4)?;
    DONE.set(0);
    for &context in CONTEXTS {
        exec::run(context, table.clone(), |table| {
            let inserted = matches!(insert(&table, 7, GFP_ATOMIC), Ok(true));
            if inserted && finds(&table, 7) && table.lock().remove(7) && !finds(&table, 7) {
                DONE.add();
            }
        })
        .map_err(|(error, _)| error)?;
    }
    check_eq!(DONE.get(), CONTEXTS.len());
    Ok(())
}

/// In one bucket, on all CPUs: a key that stays is found at every look, one that comes and goes is whole.
fn neighbours_of_what_goes_are_always_found() -> Result {
    static LOOKS: Counter = Counter::new();
    static WRONG: Counter = Counter::new();
    const LAST: u64 = 40;
    let table = table(1)?;
    LOOKS.set(0);
    WRONG.set(0);
    for key in (0..LAST).step_by(2) {
        check!(insert(&table, key, GFP_KERNEL)?);
    }
    let (shared, stop) = (table.clone(), Arc::new(Counter::new(), GFP_KERNEL)?);
    let cpus = in_parallel(3, move |me| {
        if me == 0 {
            // Some rounds, and until somebody has looked.
            for round in 0..50_000 {
                if round >= 50 && LOOKS.get() > 0 {
                    break;
                }
                give_way();
                for key in (1..LAST).step_by(2) {
                    let _ = insert(&shared, key, GFP_KERNEL);
                }
                for key in (1..LAST).step_by(2) {
                    shared.lock().remove(key);
                }
            }
            stop.set(1);
            return;
        }
        while stop.get() == 0 {
            for key in 0..LAST {
                let right = read(|reader| match shared.get(key, reader) {
                    Some(value) => value.number == key && value.alive.load(Relaxed) == 1,
                    None => key % 2 == 1,
                });
                if !right {
                    WRONG.add();
                }
                LOOKS.add();
            }
            give_way();
        }
    })?;
    check!(cpus >= cpus_expected());
    check_eq!(WRONG.get(), 0);
    check!(LOOKS.get() > 0);
    check_eq!(table.lock().len(), LAST as usize / 2);
    Ok(())
}
