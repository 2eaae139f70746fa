// SPDX-License-Identifier: GPL-2.0

//! Sample for rust_kmemcg: each open file of `/dev/kmemcg_sessions_rust` has a record in the slab cache of the
//! cgroup that opened it. A read returns the record, and the numbers of caches and objects.
//!
//! A cgroup may be removed while its files are open; its cache is destroyed after the last one is closed.

#[path = "../include/rust_kmemcg.rs"]
mod kmemcg;

use kernel::{
    fs::{File, Kiocb},
    iov::IovIterDest,
    miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration},
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, Relaxed},
        global_lock, Arc,
    },
};

module! {
    type: Sessions,
    name: "sessions_rust",
    authors: ["The rust_kmemcg developers"],
    description: "Sample for rust_kmemcg: session records of cgroups, in Rust",
    license: "GPL",
}

/// The record of a session.
struct Record {
    number: u64,
    pid: i32,
}

type Root = kmemcg::Root<Record>;

global_lock! {
    // SAFETY: Initialised in the `init()` of the module, before the device is registered.
    unsafe(uninit) static ROOT: Mutex<Option<Arc<Root>>> = None;
}

static NEXT: Atomic<u64> = Atomic::new(1);

#[pin_data(PinnedDrop)]
struct Sessions {
    #[pin]
    _device: MiscDeviceRegistration<Session>,
    _root: (),
}

impl kernel::InPlaceModule for Sessions {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: Called once, when the module is initialised.
        unsafe { ROOT.init() };
        if let Err(error) = kmemcg::attach_cgroups() {
            pr_warn!("cgroups cannot be attached ({error:?}): one cache for all sessions\n");
        }
        let options = MiscDeviceOptions {
            name: c"kmemcg_sessions_rust",
        };
        // `open()` returns `ENODEV` until there is a root.
        try_pin_init!(Self {
            _device <- MiscDeviceRegistration::register(options),
            _root: *ROOT.lock() = Some(Arc::new(Root::new(c"sessions_rust")?, GFP_KERNEL)?),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Sessions {
    fn drop(self: Pin<&mut Self>) {
        // No file is open: an open file holds a reference to the module.
        *ROOT.lock() = None;
    }
}

/// An open file. The record is dropped before the root.
struct Session {
    record: kmemcg::Object<Record>,
    root: Arc<Root>,
}

#[vtable]
impl MiscDevice for Session {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let root = ROOT.lock().clone().ok_or(ENODEV)?;
        let record = Record {
            number: NEXT.fetch_add(1, Relaxed),
            pid: current!().pid(),
        };
        let record = root.alloc_current(record, GFP_KERNEL)?;
        Ok(KBox::new(Self { record, root }, GFP_KERNEL)?)
    }

    fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let session = kiocb.file();
        let stats = session.root.stats();
        let text = CString::try_from_fmt(fmt!(
            "session={} pid={} caches={} objects={}\n",
            session.record.number,
            session.record.pid,
            stats.caches,
            stats.objects,
        ))?;
        iov.simple_read_from_buffer(kiocb.ki_pos_mut(), text.to_bytes())
    }
}
