// SPDX-License-Identifier: GPL-2.0

//! An admission is permission to queue one thing.
//@ inside: protocol/steps.rs

use super::{start_shutdown, Admission, Child};
use kernel::sync::Arc;

fn example(admission: Admission<'_, Child>, child: Arc<Child>, _other: Arc<Child>) {
    start_shutdown(child.into(), admission);
    #[cfg(not(fixed))]
    start_shutdown(_other.into(), admission); //~ ERROR E0382 use of moved value: `admission`
}
