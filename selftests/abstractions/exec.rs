// SPDX-License-Identifier: GPL-2.0

//! Contexts, and running in them.

use crate::{
    abstractions::{context::Context, exec},
    support::{cpus_expected, in_parallel, Bell, Counter, CONTEXTS, IRQ},
};
use kernel::{interrupt::local_interrupt_disable, prelude::*, str::CString, sync::rcu};

tests! { "exec":
    each_context_is_itself,
    other_contexts_give_the_value_back,
    returns_after_the_closure,
    value_is_dropped_once,
    context_of_the_caller_is_a_task,
    contexts_have_names,
    many_in_a_row_from_both_cpus,
}

static SEEN: Counter = Counter::new();
static DROPS: Counter = Counter::new();

/// The closure finds itself where it was asked for.
fn each_context_is_itself() -> Result {
    for &context in CONTEXTS {
        SEEN.set(0);
        exec::run(context, (), |()| SEEN.set(Context::current() as usize + 1))
            .map_err(|(error, ())| error)?;
        check_eq!(SEEN.get(), context as usize + 1);
    }
    check_eq!(Context::current(), Context::Task);
    Ok(())
}

/// And calls nothing: in an NMI, and on PREEMPT_RT in a hard interrupt.
fn other_contexts_give_the_value_back() -> Result {
    let others = [Context::HardIrq, Context::Nmi];
    for context in others.into_iter().filter(|other| !CONTEXTS.contains(other)) {
        SEEN.set(0);
        let Err((error, value)) = exec::run(context, 7, |_| SEEN.set(1)) else {
            check!(false);
            return Ok(());
        };
        check_eq!((error, value, SEEN.get()), (EOPNOTSUPP, 7, 0));
    }
    Ok(())
}

/// However long that takes.
fn returns_after_the_closure() -> Result {
    for &context in CONTEXTS {
        SEEN.set(0);
        exec::run(context, (), |()| {
            crate::support::spin_until(|| false, kernel::time::Delta::from_millis(2));
            SEEN.set(1);
        })
        .map_err(|(error, ())| error)?;
        check_eq!(SEEN.get(), 1);
    }
    Ok(())
}

/// What the closure gets, and what it has captured.
fn value_is_dropped_once() -> Result {
    for context in [
        Context::Task,
        Context::SoftIrq,
        Context::HardIrq,
        Context::Nmi,
    ] {
        DROPS.set(0);
        let captured = Bell(&DROPS);
        let result = exec::run(context, Bell(&DROPS), move |value| {
            let _ = &captured;
            drop(value);
        });
        drop(result);
        check_eq!(DROPS.get(), 2);
    }
    Ok(())
}

/// With interrupts disabled and under RCU, too.
fn context_of_the_caller_is_a_task() -> Result {
    let disabled = local_interrupt_disable();
    let one = Context::current();
    drop(disabled);
    let guard = rcu::read_lock();
    let two = Context::current();
    drop(guard);
    check_eq!((one, two), (Context::Task, Context::Task));
    Ok(())
}

/// The words that the control files use.
fn contexts_have_names() -> Result {
    for (context, word) in [
        (Context::Task, "task"),
        (Context::SoftIrq, "softirq"),
        (Context::HardIrq, "hardirq"),
        (Context::Nmi, "nmi"),
    ] {
        let text = CString::try_from_fmt(fmt!("{}", context))?;
        check_eq!(text.to_bytes(), word.as_bytes());
    }
    Ok(())
}

/// Timers do not get in each other's way.
fn many_in_a_row_from_both_cpus() -> Result {
    SEEN.set(0);
    let cpus = in_parallel(4, |me| {
        for i in 0..50 {
            let context = if (me + i) % 2 == 0 {
                IRQ
            } else {
                Context::SoftIrq
            };
            let result = exec::run(context, context, |context| {
                if Context::current() == context {
                    SEEN.add();
                }
            });
            if let Err((error, _)) = result {
                pr_err!("{:?}\n", error);
            }
        }
    })?;
    check!(cpus >= cpus_expected());
    check_eq!(SEEN.get(), 200);
    Ok(())
}
