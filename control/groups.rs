// SPDX-License-Identifier: GPL-2.0

//! The file `groups`: groups that are created by name, and those of cgroups.

use super::{
    command::{name, number, words},
    objects, Control,
};
use crate::{abstractions::debugfs::File, protocol::MAX_GROUPS};
use kernel::{prelude::*, seq_file::SeqFile, seq_print};

/// `create NAME [PARENT]`, `offline NAME`, `limit NUMBER`; shows every online group.
pub(super) const FILE: File<Control> = File {
    name: c"groups",
    show: Some(show),
    store: Some(store),
};

fn show(control: &Control, seq: &SeqFile) {
    control.kmemcg.for_each_group(|group, parent, children| {
        seq_print!(
            seq,
            "group={} name={} parent={} children={}",
            group.number(),
            group.name(),
            parent,
            children,
        );
        if group.cookie() != 0 {
            seq_print!(seq, " cgroup={}", group.cookie());
        }
        seq_print!(seq, "\n");
    });
}

/// Checks the name of a new group. `current` is refused: in the file `objects` it means a cgroup.
fn new_name(word: &str) -> Result<&str> {
    if word == objects::CURRENT {
        return Err(EINVAL);
    }
    name(word)
}

fn store(control: &Control, command: &str) -> Result {
    let (words, count) = words::<3>(command)?;
    match (words, count) {
        (["create", group, ..], 2) => {
            control.kmemcg.create_group(new_name(group)?, None)?;
        }
        (["create", group, parent], 3) => {
            let group = new_name(group)?;
            let parent = control.kmemcg.group(name(parent)?)?;
            control.kmemcg.create_group(group, Some(&parent))?;
        }
        (["offline", group, ..], 2) => {
            let group = control.kmemcg.group(name(group)?)?;
            control.kmemcg.offline_group(&group)?;
        }
        (["limit", groups, ..], 2) => {
            control
                .kmemcg
                .set_group_limit(number(groups, 0..=MAX_GROUPS)?);
        }
        _ => return Err(EINVAL),
    }
    Ok(())
}
