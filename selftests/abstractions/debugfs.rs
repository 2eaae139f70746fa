// SPDX-License-Identifier: GPL-2.0

//! Folders of debugfs. Reading and writing is for `selftests/abstractions.sh`, which uses [`Files`].

use crate::{
    abstractions::{
        debugfs::{File, Folder, MAX_COMMAND},
        unload,
    },
    support::{Bell, Counter},
    RustKmemcgTest,
};
use core::{cell::UnsafeCell, ptr};
use kernel::{
    bindings,
    prelude::*,
    seq_print,
    str::CStr,
    sync::{new_mutex, Arc, Mutex},
    ModuleMetadata,
};

tests! { "debugfs":
    folder_that_is_there_is_eexist,
    folder_of_another_module_is_einval,
    file_that_is_there_leaves_nothing,
    folder_owns_its_data,
    folder_comes_and_goes,
    folder_without_files,
}

static DROPS: Counter = Counter::new();

const ONE: File<Bell> = File {
    name: c"one",
    show: Some(|_, _| ()),
    store: None,
};
static NONE: [File<Bell>; 0] = [];
static FILES: [File<Bell>; 2] = [
    ONE,
    File {
        name: c"two",
        show: None,
        store: Some(|_, _| Ok(())),
    },
];
static TWICE: [File<Bell>; 2] = [ONE, ONE];

fn folder(files: &'static [File<Bell>]) -> Result<Folder<Bell>> {
    let data = Arc::new(Bell(&DROPS), GFP_KERNEL)?;
    Folder::new::<RustKmemcgTest>(c"rust_kmemcg_test.one", data, files, crate::handle()?)
}

/// And the one that is there stays.
fn folder_that_is_there_is_eexist() -> Result {
    DROPS.set(0);
    let first = folder(&FILES)?;
    check_err!(folder(&FILES), EEXIST);
    check_eq!(DROPS.get(), 1);
    check_err!(folder(&FILES), EEXIST);
    drop(first);
    drop(folder(&FILES)?);
    Ok(())
}

struct Place(UnsafeCell<bindings::module>);

// SAFETY: Nobody writes it.
unsafe impl Sync for Place {}

static PLACE: Place = Place(UnsafeCell::new(pin_init::zeroed()));

// SAFETY: It lives for ever; what is looked at says that it has no memory.
const OTHER: ThisModule = unsafe { ThisModule::from_ptr(PLACE.0.get()) };

// SAFETY: The kernel is null everywhere.
const KERNEL: ThisModule = unsafe { ThisModule::from_ptr(ptr::null_mut()) };

/// Then an open file would keep the other one.
fn folder_of_another_module_is_einval() -> Result {
    /// The kernel itself.
    struct BuiltIn;

    impl ModuleMetadata for BuiltIn {
        const NAME: &'static CStr = c"built in";
        const THIS_MODULE: ThisModule = KERNEL;
    }

    /// A module without memory.
    struct Other;

    impl ModuleMetadata for Other {
        const NAME: &'static CStr = c"other";
        const THIS_MODULE: ThisModule = OTHER;
    }

    DROPS.set(0);
    let data = || Arc::new(Bell(&DROPS), GFP_KERNEL);
    let module = crate::handle()?;
    check_err!(
        Folder::new::<BuiltIn>(c"rust_kmemcg_test.one", data()?, &FILES, module),
        EINVAL
    );
    check_err!(
        Folder::new::<Other>(c"rust_kmemcg_test.one", data()?, &FILES, module),
        EINVAL
    );
    check_eq!(DROPS.get(), 2);
    drop(folder(&FILES)?);
    Ok(())
}

/// Two files of one name: the folder is removed again.
fn file_that_is_there_leaves_nothing() -> Result {
    DROPS.set(0);
    check_err!(folder(&TWICE), EEXIST);
    check_eq!(DROPS.get(), 1);
    drop(folder(&FILES)?);
    Ok(())
}

/// Shares it, and lets it go.
fn folder_owns_its_data() -> Result {
    DROPS.set(0);
    let folder = folder(&FILES)?;
    let data = folder.data().clone();
    drop(folder);
    check_eq!(DROPS.get(), 0);
    drop(data);
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// A hundred times.
fn folder_comes_and_goes() -> Result {
    DROPS.set(0);
    for _ in 0..100 {
        drop(folder(&FILES)?);
    }
    check_eq!(DROPS.get(), 100);
    Ok(())
}

/// That is a folder, too.
fn folder_without_files() -> Result {
    drop(folder(&NONE)?);
    Ok(())
}

/// What the shell reads and writes, in `rust_kmemcg_test.files`.
pub(crate) struct Files {
    _folder: Folder<Content>,
}

#[pin_data]
pub(crate) struct Content {
    generation: Counter,
    #[pin]
    written: Mutex<(usize, [u8; MAX_COMMAND])>,
}

/// Lines of `large`: 64 bytes each, and far more than 64 KiB of them.
const LINES: usize = 5_000;

static CONTENT: [File<Content>; 6] = [
    // Each show is another generation: a reader must see one only.
    File {
        name: c"large",
        show: Some(|content, seq| {
            let generation = content.generation.add();
            for line in 0..LINES {
                seq_print!(seq, "{:010} {:010} {:041}\n", generation, line, 0);
            }
        }),
        store: None,
    },
    File {
        name: c"empty",
        show: Some(|_, _| ()),
        store: None,
    },
    // What was written, as the store function saw it, between brackets; and its length.
    File {
        name: c"echo",
        show: Some(|content, seq| {
            let written = content.written.lock();
            let bytes = &written.1[..written.0];
            seq_print!(
                seq,
                "{} [{}]\n",
                written.0,
                core::str::from_utf8(bytes).unwrap_or("?")
            );
        }),
        store: Some(|content, command| {
            let mut written = content.written.lock();
            written.0 = command.len();
            written.1[..command.len()].copy_from_slice(command.as_bytes());
            Ok(())
        }),
    },
    File {
        name: c"refuses",
        show: None,
        store: Some(|_, _| Err(ERANGE)),
    },
    File {
        name: c"neither",
        show: None,
        store: None,
    },
    // Makes the folder `rust_kmemcg_test.own`.
    File {
        name: c"own",
        show: None,
        store: Some(|_, _| {
            let own = Arc::pin_init(pin_init!(Own { folder <- new_mutex!(None) }), GFP_KERNEL)?;
            let (name, module) = (c"rust_kmemcg_test.own", crate::handle()?);
            let folder = Folder::new::<RustKmemcgTest>(name, own.clone(), &OWN, module)?;
            *own.folder.lock() = Some(folder);
            Ok(())
        }),
    },
];

/// The owner of the folder that it is the content of.
#[pin_data]
struct Own {
    #[pin]
    folder: Mutex<Option<Folder<Own>>>,
}

// SAFETY: Owns a folder, which is `Send` where its content is: the compiler goes round in circles.
unsafe impl Send for Own {}
// SAFETY: The folder is locked.
unsafe impl Sync for Own {}

static OWN: [File<Own>; 1] = [File {
    name: c"drop",
    show: None,
    store: Some(|own, _| {
        let folder = own.folder.lock().take().ok_or(ENOENT)?;
        drop(folder);
        Ok(())
    }),
}];

impl Files {
    pub(crate) fn new<M: ModuleMetadata + 'static>(module: &unload::Handle) -> Result<Self> {
        let content = Arc::pin_init(
            pin_init!(Content {
                generation: Counter::new(),
                written <- new_mutex!((0, [0; MAX_COMMAND])),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _folder: Folder::new::<M>(c"rust_kmemcg_test.files", content, &CONTENT, module)?,
        })
    }
}
