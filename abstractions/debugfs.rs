// SPDX-License-Identifier: GPL-2.0

//! A folder of text files in debugfs.
//!
//! The in-tree abstraction leaves `owner` of the file operations null: a file that is still open
//! when its module is unloaded makes debugfs follow a pointer into memory that is gone (its
//! `release` is looked up when the file is closed). Here the operations belong to the module, so
//! an open file keeps it loaded and `rmmod` fails with `EBUSY`. Reads see one snapshot, however
//! large and in however many pieces it is read (`seq_file`); each `write()` is one command.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, seq_print, sync::Arc, ModuleMetadata};
//! use rust_kmemcg::abstractions::{debugfs::*, unload};
//!
//! static FILES: [File<u32>; 1] = [File {
//!     name: c"answer",
//!     show: Some(|answer, seq| seq_print!(seq, "{answer}\n")),
//!     store: None,
//! }];
//!
//! fn example<M: ModuleMetadata + 'static>(module: &unload::Handle) -> Result {
//!     let folder = Folder::new::<M>(c"example", Arc::new(42, GFP_KERNEL)?, &FILES, module)?;
//!     drop(folder); // The files are removed, and no call of `show` or `store` is running.
//!     Ok(())
//! }
//! ```
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use super::unload;
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::{c_char, c_int, c_void},
    prelude::*,
    seq_file::SeqFile,
    str::CStr,
    sync::{
        new_mutex,
        Arc,
        Mutex, //
    },
    task::{
        might_sleep,
        Task, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        system_long,
        Work,
        WorkItem, //
    },
    ModuleMetadata, //
};

/// The longest command that a write may carry, in bytes. A longer one is `E2BIG`.
pub const MAX_COMMAND: usize = 512;

/// A file of a [`Folder`].
pub struct File<T: 'static> {
    /// Its name.
    pub name: &'static CStr,
    /// Prints the content. May be called again for the same read, if the buffer was too small.
    pub show: Option<fn(&T, &SeqFile)>,
    /// Carries out a command: the text that was written, without the newline at its end.
    pub store: Option<fn(&T, &str) -> Result>,
}

/// What the inode of a file points at.
struct Node<T: Send + Sync + 'static> {
    inner: *const Inner<T>,
    file: &'static File<T>,
}

/// A folder at the top of debugfs, with its files.
///
/// Dropping it removes them and waits until no call of [`File::show`] or [`File::store`] is
/// running; in such a call, which cannot wait for itself, it leaves both to a worker. Context of
/// the drop: may sleep. A folder that is forgotten keeps its module for ever: `rmmod` waits.
///
/// # Invariants
///
/// There is an `Inner` until the drop.
#[must_use = "dropping it removes the files, and waits"]
pub struct Folder<T: Send + Sync + 'static>(ManuallyDrop<Pin<KBox<Inner<T>>>>);

/// # Invariants
///
/// `dentry` is the folder; the inodes of its files point into `nodes`, whose `inner` is this.
#[pin_data(PinnedDrop)]
struct Inner<T: Send + Sync + 'static> {
    dentry: *mut bindings::dentry,
    nodes: KVec<Node<T>>,
    data: Arc<T>,
    /// The tasks that are in one of the files.
    #[pin]
    users: Mutex<KVec<usize>>,
    #[pin]
    work: Work<Inner<T>>,
    /// The operations of the files are code of the module. Dropped last.
    hold: Option<unload::Hold>,
}

impl_has_work! { impl{T: Send + Sync + 'static} HasWork<Self> for Inner<T> { self.work } }

// SAFETY: `debugfs_remove()` may be called by any task. The nodes lead to a `T` that is shared with
// the users of the files, and dropped by any of them.
unsafe impl<T: Send + Sync> Send for Inner<T> {}
// SAFETY: Shares an `Arc<T>`; the users are locked.
unsafe impl<T: Send + Sync> Sync for Inner<T> {}

impl<T: Send + Sync + 'static> WorkItem for Inner<T> {
    type Pointer = Pin<KBox<Self>>;

    fn run(mut this: Pin<KBox<Self>>) {
        let hold = this.as_mut().project().hold.take();
        drop(this);
        // Nothing but the return to the workqueue follows.
        drop(hold);
    }
}

#[pinned_drop]
impl<T: Send + Sync + 'static> PinnedDrop for Inner<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: From `debugfs_create_dir()`, by the type invariants, and is not used again. When
        // it returns, no file operation is running; a file that is still open leads to debugfs
        // only.
        unsafe { bindings::debugfs_remove(self.dentry) };
    }
}

impl<T: Send + Sync + 'static> Inner<T> {
    /// The current task is in one of the files, until the result is dropped.
    fn enter(&self) -> Result<User<'_>> {
        self.users.lock().push(current_task(), GFP_KERNEL)?;
        Ok(User(&self.users))
    }

    fn is_user(&self) -> bool {
        self.users.lock().contains(&current_task())
    }
}

/// A task that is in a file.
struct User<'a>(&'a Mutex<KVec<usize>>);

impl Drop for User<'_> {
    fn drop(&mut self) {
        let mut users = self.0.lock();
        if let Some(at) = users.iter().position(|&task| task == current_task()) {
            let _ = users.remove(at);
        }
    }
}

/// The current task, as a number to compare with.
fn current_task() -> usize {
    Task::current_raw().addr()
}

impl<T: Send + Sync + 'static> Folder<T> {
    /// Makes the folder and its files, which belong to the module `M`.
    ///
    /// Wraps `debugfs_create_dir()` and `debugfs_create_file()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `M` is not the module that this code is part of. `ENODEV`: the module is being
    /// unloaded. `ENODEV` or `EPERM`: debugfs is switched off. `EEXIST`. `ENOMEM`.
    pub fn new<M: ModuleMetadata + 'static>(
        name: &CStr,
        data: Arc<T>,
        files: &'static [File<T>],
        module: &impl unload::Source,
    ) -> Result<Self> {
        let operations: &'static bindings::file_operations = &Operations::<M, T>::TABLE;
        if !unload::is_in_module::<M, _>(operations) {
            return Err(EINVAL);
        }
        let inner = KBox::pin_init(
            try_pin_init!(&this in Inner {
                // INVARIANT: They are of this folder, which stays in its box.
                nodes: {
                    let mut nodes = KVec::with_capacity(files.len(), GFP_KERNEL)?;
                    for file in files {
                        let inner = this.as_ptr();
                        nodes.push(Node { inner, file }, GFP_KERNEL)?;
                    }
                    nodes
                },
                data,
                users <- new_mutex!(KVec::new(), "debugfs::Folder::users"),
                work <- new_work!("debugfs::Folder"),
                hold: Some(module.take_hold(unload::Abstraction::new())?),
                dentry: {
                    // SAFETY: `name` is a C string, which is copied; a null parent is the top.
                    from_err_ptr(unsafe {
                        bindings::debugfs_create_dir(name.as_char_ptr(), ptr::null_mut())
                    })?
                },
            }),
            GFP_KERNEL,
        )?;
        let folder = Self(ManuallyDrop::new(inner));
        for node in folder.0.nodes.iter() {
            let mode = match (node.file.show.is_some(), node.file.store.is_some()) {
                (true, false) => 0o400,
                (false, _) => 0o200,
                (true, true) => 0o600,
            };
            // SAFETY: The name is a C string; `dentry` is the folder. The node stays where it is
            // and alive until the file is removed: `nodes` does not grow, and the drop removes
            // the files first. The operations fit such a node, and are in the memory of the module
            // that is their owner, which the hold keeps until then.
            from_err_ptr(unsafe {
                bindings::debugfs_create_file_full(
                    node.file.name.as_char_ptr(),
                    mode,
                    folder.0.dentry,
                    ptr::from_ref(node).cast_mut().cast(),
                    ptr::null(),
                    operations,
                )
            })?;
        }
        Ok(folder)
    }

    /// Returns what the files show and change.
    pub fn data(&self) -> &Arc<T> {
        &self.0.data
    }
}

impl<T: Send + Sync + 'static> Drop for Folder<T> {
    fn drop(&mut self) {
        might_sleep();
        // SAFETY: Taken here only, and `self` is not used again.
        let inner = unsafe { ManuallyDrop::take(&mut self.0) };
        if inner.is_user() {
            // `debugfs_remove()` would wait for the caller.
            system_long().enqueue(inner);
        }
    }
}

/// The file operations of the files of a `Folder<T>` of module `M`.
struct Operations<M, T>(PhantomData<(M, T)>);

impl<M: ModuleMetadata + 'static, T: Send + Sync + 'static> Operations<M, T> {
    const TABLE: bindings::file_operations = bindings::file_operations {
        owner: M::THIS_MODULE.as_ptr(),
        open: Some(open::<T>),
        read: Some(bindings::seq_read),
        write: Some(write::<T>),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        ..pin_init::zeroed()
    };
}

/// # Safety
///
/// Called by debugfs only, for a file of a `Folder<T>` that is not removed before it returns.
unsafe extern "C" fn open<T: Send + Sync + 'static>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: `file` is being opened; `single_open()` passes the node on to `show()` and `write()`,
    // which debugfs calls only while the file is not removed.
    unsafe { bindings::single_open(file, Some(show::<T>), (*inode).i_private) }
}

/// # Safety
///
/// Called by `seq_read()` only, with the `seq_file` that [`open`] made, while the file is not
/// removed.
unsafe extern "C" fn show<T: Send + Sync + 'static>(
    seq: *mut bindings::seq_file,
    _: *mut c_void,
) -> c_int {
    // SAFETY: The `seq_file` is valid, and its private pointer is the node, by `open()`.
    let node = unsafe { &*(*seq).private.cast::<Node<T>>() };
    let Some(show) = node.file.show else {
        return EINVAL.to_errno();
    };
    // SAFETY: Alive as long as the file is not removed, by the invariants of `Inner`.
    let inner = unsafe { &*node.inner };
    let _user = match inner.enter() {
        Ok(user) => user,
        Err(error) => return error.to_errno(),
    };
    // SAFETY: Valid during this call, and used by this thread only.
    show(&inner.data, unsafe { SeqFile::from_raw(seq) });
    0
}

/// # Safety
///
/// Called by debugfs only, for a file that [`open`] opened and that is not removed before it
/// returns.
unsafe extern "C" fn write<T: Send + Sync + 'static>(
    file: *mut bindings::file,
    buffer: *const c_char,
    count: usize,
    _position: *mut bindings::loff_t,
) -> isize {
    // SAFETY: `single_open()` put the `seq_file` there, and the node in it.
    let node = unsafe {
        let seq = (*file).private_data.cast::<bindings::seq_file>();
        &*(*seq).private.cast::<Node<T>>()
    };
    // SAFETY: Alive as long as the file is not removed, by the invariants of `Inner`.
    let inner = unsafe { &*node.inner };
    let stored = inner
        .enter()
        .and_then(|_user| store(node.file, &inner.data, buffer, count));
    match stored {
        Ok(()) => count as isize,
        Err(error) => error.to_errno() as isize,
    }
}

fn store<T: 'static>(file: &File<T>, data: &T, buffer: *const c_char, count: usize) -> Result {
    let store = file.store.ok_or(EINVAL)?;
    let mut bytes = [0u8; MAX_COMMAND];
    let bytes = bytes.get_mut(..count).ok_or(E2BIG)?;
    let user = UserPtr::from_ptr(buffer.cast_mut().cast());
    UserSlice::new(user, count).reader().read_slice(bytes)?;
    let command = core::str::from_utf8(bytes).map_err(|_| EINVAL)?;
    store(data, command.strip_suffix('\n').unwrap_or(command))
}
