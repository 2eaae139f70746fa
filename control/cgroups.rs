// SPDX-License-Identifier: GPL-2.0

//! The file `cgroups`: the binding of groups to cgroups.

use super::Control;
use crate::abstractions::debugfs::File;
use kernel::{prelude::*, seq_file::SeqFile, seq_print};

/// `attach`, `detach`; shows the state, and the counters while attached.
pub(super) const FILE: File<Control> = File {
    name: c"cgroups",
    show: Some(show),
    store: Some(store),
};

fn show(control: &Control, seq: &SeqFile) {
    match control.cgroups.status() {
        Some(status) => seq_print!(
            seq,
            "state=attached followed={} missed={} walks={} limit={}\n",
            status.followed,
            status.missed,
            status.walks,
            control.kmemcg.group_limit(),
        ),
        None => seq_print!(seq, "state=detached\n"),
    }
}

fn store(control: &Control, command: &str) -> Result {
    match command {
        "attach" => control.cgroups.attach(),
        "detach" => control.cgroups.detach(),
        _ => Err(EINVAL),
    }
}
