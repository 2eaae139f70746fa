// SPDX-License-Identifier: GPL-2.0

//! The release callback runs in any context, and must not run the destructor of the structure, which
//! may sleep: it gets no `Arc` that could be dropped there, but a pointer that can be queued.

use kernel::{prelude::*, sync::Arc, workqueue::*};
use rust_kmemcg::{
    abstractions::{
        slab::RawCache,
        sync::percpu_ref::*,
        workqueue::OwnedQueue, //
    },
    impl_has_percpu_ref, //
};

#[pin_data]
pub struct Store {
    cache: RawCache,
    #[pin]
    refs: PercpuRef<Store>,
    #[pin]
    work: Work<Store>,
    queue: Arc<OwnedQueue>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Store { self.refs } }
impl_has_work! { impl HasWork<Self> for Store { self.work } }

impl WorkItem for Store {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {}
}

impl Release for Store {
    fn release(this: Released<Self>) {
        #[cfg(not(fixed))]
        drop::<Arc<Self>>(this); //~ ERROR E0308 expected `Arc<Store>`, found `Released<Store>`
        #[cfg(fixed)]
        assert!(this.enqueue_on(|this| &this.queue).is_ok());
    }
}
