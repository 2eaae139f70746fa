// SPDX-License-Identifier: GPL-2.0

//! The files `roots`, `children` and `stats`: roots, their caches, and their counters.

use super::{
    command::{name, number, words},
    Control,
};
use crate::{
    abstractions::{
        debugfs::File,
        slab::{
            Options,
            MAX_SIZE, //
        }, //
    },
    protocol::Stage, //
};
use core::alloc::Layout;
use kernel::{prelude::*, seq_file::SeqFile, seq_print};

/// `create NAME SIZE [ALIGN] [account]`, `destroy NAME [async|uncounted]`; shows every root.
pub(super) const FILE: File<Control> = File {
    name: c"roots",
    show: Some(show),
    store: Some(store),
};

/// Shows every child, and the own cache of every root (`child=0`).
pub(super) const CHILDREN: File<Control> = File {
    name: c"children",
    show: Some(show_children),
    store: None,
};

/// Shows the counters of each root: live objects and the caches in each stage now; everything else since
/// the root was created. Times are in microseconds.
pub(super) const STATS: File<Control> = File {
    name: c"stats",
    show: Some(show_stats),
    store: None,
};

fn show(control: &Control, seq: &SeqFile) {
    control.kmemcg.for_each_root(|root| {
        let mut children = 0;
        root.for_each_child(|child| children += usize::from(child.number() != 0));
        seq_print!(
            seq,
            "root={} name={} size={} align={} account={} state={} children={}\n",
            root.number(),
            root.name(),
            root.layout().size(),
            root.layout().align(),
            if root.options().accounts() {
                "yes"
            } else {
                "no"
            },
            root.phase(),
            children,
        );
    });
}

fn show_children(control: &Control, seq: &SeqFile) {
    control.kmemcg.for_each_root(|root| {
        root.for_each_child(|child| {
            seq_print!(
                seq,
                "child={} root={} name={} owner={} stage={} objects={}\n",
                child.number(),
                root.number(),
                root.name(),
                child.owner(),
                child.stage(),
                child.objects(),
            );
        });
    });
}

fn show_stats(control: &Control, seq: &SeqFile) {
    control.kmemcg.for_each_root(|root| {
        let mut children = [0; Stage::ALL.len()];
        let mut objects = 0;
        root.for_each_child(|child| {
            if let Some(children) = children.get_mut(child.stage() as usize) {
                *children += 1;
            }
            objects += child.objects();
        });
        seq_print!(
            seq,
            "root={} name={} objects={}",
            root.number(),
            root.name(),
            objects
        );
        for (stage, children) in Stage::ALL.iter().zip(children) {
            seq_print!(seq, " now_{}={}", stage, children);
        }
        root.stats()
            .for_each(|name, value| seq_print!(seq, " {}={}", name, value));
        root.stats()
            .for_each_longest(|stage, time| seq_print!(seq, " longest_{}_us={}", stage, time));
        seq_print!(seq, "\n");
    });
}

fn store(control: &Control, command: &str) -> Result {
    let (words, mut count) = words::<5>(command)?;
    let mut options = Options::new();
    if words[0] == "create" && count > 3 && words[count - 1] == "account" {
        options = options.account();
        count -= 1;
    }
    match (words, count) {
        (["create", root, size, align, ..], 3 | 4) => {
            let size = number(size, 1..=MAX_SIZE)?;
            let align = if count == 4 {
                number(align, 1..=kernel::page::PAGE_SIZE)?
            } else {
                align_of::<usize>()
            };
            let layout = Layout::from_size_align(size, align).map_err(|_| EINVAL)?;
            control.kmemcg.create_root(name(root)?, layout, options)?;
        }
        (["destroy", root, "async", ..], 3) => {
            let root = control.kmemcg.root(name(root)?)?;
            control.kmemcg.close_root(&root)?;
        }
        // A test knob.
        (["destroy", root, "uncounted", ..], 3) => {
            let root = control.kmemcg.root(name(root)?)?;
            control.kmemcg.destroy_root_uncounted(&root)?;
        }
        (["destroy", root, ..], 2) => {
            let root = control.kmemcg.root(name(root)?)?;
            control.kmemcg.destroy_root(&root)?;
        }
        _ => return Err(EINVAL),
    }
    Ok(())
}
