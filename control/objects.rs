// SPDX-License-Identifier: GPL-2.0

//! The file `objects`: allocates objects under a name, and frees them, in a chosen context.

use super::{
    command::{self, name, number, words},
    Control,
};
use crate::{
    abstractions::{context::Context, debugfs::File, exec, gfp::GFP_KERNEL_MAYFAIL},
    cgroup::Cgroups,
    protocol::ChildObject,
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    str::CString,
    sync::{new_spinlock_irq, Arc},
};

/// The greatest number of objects under one name.
const MAX_OBJECTS: usize = 1 << 16;

/// The word for the group of the writing task's cgroup.
pub(super) const CURRENT: &str = "current";

/// `alloc HANDLE ROOT GROUP [COUNT [CONTEXT]]`, `free HANDLE [CONTEXT]`; shows the handles.
///
/// The group is a name, `-` for none, or `current` for that of the writing task's cgroup. The context is
/// `task`, `softirq` or `hardirq`.
pub(super) const FILE: File<Control> = File {
    name: c"objects",
    show: Some(show),
    store: Some(store),
};

/// The objects that one `alloc` has allocated, under the name that it gave them (the handle).
///
/// They live until a `free` of that name, in any context, or until the control plane is dropped. A `free`
/// that fails leaves them as they were.
pub(super) struct NamedObjects {
    name: CString,
    objects: KVec<ChildObject>,
}

/// The result of an `alloc`, filled in the context that the command chose.
///
/// After an error it has the objects that were allocated before.
struct Allocation {
    outcome: Result,
    objects: KVec<ChildObject>,
}

fn show(control: &Control, seq: &SeqFile) {
    for handle in control.objects.lock().iter() {
        // Child 0 is the root's own cache.
        let own = handle.objects.iter().filter(|object| object.child() == 0);
        let own = own.count();
        let root = handle.objects.first().map(|object| object.root().clone());
        seq_print!(
            seq,
            "handle={} root={} objects={} from_root={} from_children={}\n",
            &*handle.name,
            root.as_ref().map_or(c"-", |root| root.name()),
            handle.objects.len(),
            own,
            handle.objects.len() - own,
        );
    }
}

fn store(control: &Control, command: &str) -> Result {
    let (words, count) = words::<6>(command)?;
    match (words, count) {
        (["alloc", handle, root, group, objects, context], 4..=6) => {
            let objects = match count {
                4 => 1,
                _ => number(objects, 1..=MAX_OBJECTS)?,
            };
            let context = match count {
                6 => self::context(context)?,
                _ => Context::Task,
            };
            alloc(control, name(handle)?, name(root)?, group, objects, context)
        }
        (["free", handle, ..], 2) => free(control, name(handle)?, Context::Task),
        (["free", handle, context, ..], 3) => free(control, name(handle)?, self::context(context)?),
        _ => Err(EINVAL),
    }
}

fn context(word: &str) -> Result<Context> {
    match word {
        "task" => Ok(Context::Task),
        "softirq" => Ok(Context::SoftIrq),
        "hardirq" => Ok(Context::HardIrq),
        _ => Err(EINVAL),
    }
}

fn alloc(
    control: &Control,
    handle: &str,
    root: &str,
    group: &str,
    count: usize,
    context: Context,
) -> Result {
    let cgroups = control.cgroups.clone();
    let (current, group) = match group {
        CURRENT => (true, None),
        "-" => (false, None),
        group => (false, Some(control.kmemcg.group(command::group(group)?)?)),
    };
    let root = control.kmemcg.root(root)?;
    let charge_target = group
        .as_ref()
        .and_then(|group| Cgroups::charge_target(&root, group));
    let mut handles = control.objects.lock();
    if position(&handles, handle).is_some() {
        return Err(EEXIST);
    }
    handles.reserve(1, GFP_KERNEL)?;
    let name = CString::try_from_fmt(fmt!("{handle}"))?;
    let flags = match context {
        Context::Task => GFP_KERNEL_MAYFAIL,
        _ => GFP_ATOMIC,
    };
    let result = Allocation {
        outcome: Ok(()),
        objects: KVec::with_capacity(count, GFP_KERNEL)?,
    };
    let result = Arc::pin_init(new_spinlock_irq!(result, "rust_kmemcg::alloc"), GFP_KERNEL)?;
    let caches = root.clone();
    exec::run(context, result.clone(), move |result| {
        for _ in 0..count {
            // Allocate without the lock, as this may sleep. The capacity for push() is reserved.
            let object = match &charge_target {
                _ if current => root.alloc_for(&*cgroups, flags),
                Some(memcg) => memcg.charge(|| root.alloc(group.as_ref(), flags)),
                None => root.alloc(group.as_ref(), flags),
            };
            let mut result = result.lock();
            result.outcome =
                object.and_then(|object| Ok(result.objects.push(object, GFP_ATOMIC)?));
            if result.outcome.is_err() {
                return;
            }
        }
    })
    .map_err(|(error, _)| error)?;
    let objects = core::mem::replace(&mut result.lock().objects, KVec::new());
    let from_children = objects.iter().filter(|object| object.child() != 0).count();
    caches.stats().allocations_child.add(from_children as u64);
    result.lock().outcome?;
    handles.push(NamedObjects { name, objects }, GFP_KERNEL)?;
    Ok(())
}

/// The index of the objects with this name.
fn position(handles: &[NamedObjects], name: &str) -> Option<usize> {
    let mut handles = handles.iter();
    handles.position(|handle| handle.name.to_bytes() == name.as_bytes())
}

fn free(control: &Control, handle: &str, context: Context) -> Result {
    let mut handles = control.objects.lock();
    let found = position(&handles, handle).ok_or(ENOENT)?;
    let handle = handles.remove(found).map_err(|_| ENOENT)?;
    let NamedObjects { name, objects } = handle;
    exec::run(context, objects, drop).or_else(|(error, objects)| {
        // Nothing was freed: put them back. remove() has left the capacity.
        handles.insert_within_capacity(found, NamedObjects { name, objects })?;
        Err(error)
    })
}
