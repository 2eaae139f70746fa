// SPDX-License-Identifier: GPL-2.0

//! An admission is leave to queue one thing.
//@ inside: protocol/gate.rs

use super::{Admission, Child};
use kernel::sync::Arc;

fn example(admission: Admission<'_>, child: Arc<Child>, _other: Arc<Child>) {
    admission.shut_down(child);
    #[cfg(not(fixed))]
    admission.shut_down(_other); //~ ERROR E0382 use of moved value: `admission`
}
