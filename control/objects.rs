// SPDX-License-Identifier: GPL-2.0

//! The file `objects`: objects that are held by name, to be freed where it hurts.

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

/// How many objects a handle can hold.
const MAX_OBJECTS: usize = 1 << 16;

/// What a group is called by who means that of his own cgroup.
pub(super) const CURRENT: &str = "current";

/// `alloc HANDLE ROOT GROUP [COUNT [CONTEXT]]`, `free HANDLE [CONTEXT]`; the group is a name, `-` for none, or
/// `current` for the cgroup of who writes; the context is `task`, `softirq` or `hardirq`.
pub(super) const FILE: File<Control> = File {
    name: c"objects",
    show: Some(show),
    store: Some(store),
};

/// Objects with a name.
pub(super) struct Handle {
    name: CString,
    objects: KVec<ChildObject>,
}

/// What an allocation leaves behind, in whatever context it runs.
struct Allocation {
    outcome: Result,
    objects: KVec<ChildObject>,
}

fn show(control: &Control, seq: &SeqFile) {
    for handle in control.objects.lock().iter() {
        // Which cache the objects came from: the first and the last, of which number.
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
    let payer = group
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
            // The allocation may sleep, so not with the lock held. There is room for the object.
            let object = match &payer {
                _ if current => root.alloc_for(&*cgroups, flags),
                Some(payer) => payer.charge(|| root.alloc(group.as_ref(), flags)),
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
    handles.push(Handle { name, objects }, GFP_KERNEL)?;
    Ok(())
}

fn position(handles: &[Handle], name: &str) -> Option<usize> {
    let mut handles = handles.iter();
    handles.position(|handle| handle.name.to_bytes() == name.as_bytes())
}

fn free(control: &Control, handle: &str, context: Context) -> Result {
    let mut handles = control.objects.lock();
    let found = position(&handles, handle).ok_or(ENOENT)?;
    let handle = handles.remove(found).map_err(|_| ENOENT)?;
    let Handle { name, objects } = handle;
    exec::run(context, objects, drop).or_else(|(error, objects)| {
        // Nothing was freed. There is room for it, where it was before.
        handles.insert_within_capacity(found, Handle { name, objects })?;
        Err(error)
    })
}
