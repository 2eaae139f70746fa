// SPDX-License-Identifier: GPL-2.0

//! A folder of text files in debugfs.
//!
//! The in-tree abstraction leaves `owner` of the file operations null: a file that is still open
//! when its module is unloaded makes debugfs follow a pointer into memory that is gone (its
//! `release` is looked up when the file is closed). Here the operations belong to the module, so
//! an open file keeps it loaded and `rmmod` says `EBUSY`. Reads see one snapshot, however large and
//! in however many pieces it is read (`seq_file`); each `write()` is one command.
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
//!     drop(folder); // The files are gone, and nobody is in them.
//!     Ok(())
//! }
//! ```
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use super::unload;
use core::{marker::PhantomData, ptr};
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::{c_char, c_int, c_void},
    prelude::*,
    seq_file::SeqFile,
    str::CStr,
    sync::Arc,
    uaccess::{UserPtr, UserSlice},
    ModuleMetadata,
};

/// The longest command that a write may carry, in bytes. A longer one is `E2BIG`.
pub const MAX_COMMAND: usize = 512;

/// A file of a [`Folder`].
pub struct File<T: 'static> {
    /// Its name.
    pub name: &'static CStr,
    /// Prints the content. May be called again for the same read, when the buffer was too small.
    pub show: Option<fn(&T, &SeqFile)>,
    /// Carries out a command: what was written, without the newline at its end.
    pub store: Option<fn(&T, &str) -> Result>,
}

/// What the inode of a file points at.
struct Node<T: 'static> {
    data: *const T,
    file: &'static File<T>,
}

/// A folder at the top of debugfs, with its files.
///
/// Dropping it removes them and waits for whoever is reading or writing. Context of the drop: may
/// sleep. A folder that is never dropped keeps its module for ever: `rmmod` waits.
///
/// # Invariants
///
/// `dentry` is the folder; the inodes of its files point into `nodes`, whose `data` is `data`.
pub struct Folder<T: 'static> {
    dentry: *mut bindings::dentry,
    nodes: KVec<Node<T>>,
    data: Arc<T>,
    /// The operations of the files are code of the module.
    _hold: unload::Hold,
}

// SAFETY: May be removed from any thread; `T` is shared with whoever uses the files.
unsafe impl<T: Send + Sync> Send for Folder<T> {}
// SAFETY: Gives out nothing by itself.
unsafe impl<T: Send + Sync> Sync for Folder<T> {}

impl<T: Send + Sync + 'static> Folder<T> {
    /// Makes the folder and its files, which belong to the module `M`.
    ///
    /// Stands on `debugfs_create_dir()` and `debugfs_create_file()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `M` is not the module that this code is part of. `EEXIST`, `ENOMEM`; `ENODEV` or `EPERM` where debugfs is switched off; `ENODEV` where the
    /// module is being unloaded.
    pub fn new<M: ModuleMetadata + 'static>(
        name: &CStr,
        data: Arc<T>,
        files: &'static [File<T>],
        module: &unload::Handle,
    ) -> Result<Self> {
        let operations: &'static bindings::file_operations = &Operations::<M, T>::TABLE;
        if !unload::is_in_module::<M, _>(operations) {
            return Err(EINVAL);
        }
        let hold = module.hold()?;
        let mut nodes = KVec::with_capacity(files.len(), GFP_KERNEL)?;
        for file in files {
            nodes.push(Node { data: &*data, file }, GFP_KERNEL)?;
        }
        // SAFETY: `name` is a C string, copied; a null parent is the top.
        let dentry = unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), ptr::null_mut()) };
        let folder = Self {
            dentry: from_err_ptr(dentry)?,
            nodes,
            data,
            _hold: hold,
        };
        for node in folder.nodes.iter() {
            let mode = match (node.file.show.is_some(), node.file.store.is_some()) {
                (true, false) => 0o400,
                (false, _) => 0o200,
                (true, true) => 0o600,
            };
            // SAFETY: The name is a C string; `dentry` is the folder. The node stays where it is
            // and alive until the file is removed: `nodes` does not grow, and the drop removes
            // the files first. The operations fit such a node, and lie in the module that they say
            // is their owner; while that is there, so is the hold.
            from_err_ptr(unsafe {
                bindings::debugfs_create_file_full(
                    node.file.name.as_char_ptr(),
                    mode,
                    folder.dentry,
                    ptr::from_ref(node).cast_mut().cast(),
                    ptr::null(),
                    operations,
                )
            })?;
        }
        Ok(folder)
    }

    /// What the files show and change.
    pub fn data(&self) -> &Arc<T> {
        &self.data
    }
}

impl<T> Drop for Folder<T> {
    fn drop(&mut self) {
        // SAFETY: The folder is ours, and not used again. Waits for readers and writers; whoever
        // has a file open still reaches debugfs only, not us.
        unsafe { bindings::debugfs_remove(self.dentry) };
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
unsafe extern "C" fn open<T: Sync + 'static>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: `file` is being opened; the node is passed on to `show()` and `write()`, which run
    // only while the file is not removed.
    unsafe { bindings::single_open(file, Some(show::<T>), (*inode).i_private) }
}

/// # Safety
///
/// Called by `seq_read()` only, with the `seq_file` that [`open`] made, while the file is not
/// removed.
unsafe extern "C" fn show<T: Sync + 'static>(
    seq: *mut bindings::seq_file,
    _: *mut c_void,
) -> c_int {
    // SAFETY: The `seq_file` is valid, and its private pointer is the node, by `open()`.
    let node = unsafe { &*(*seq).private.cast::<Node<T>>() };
    let Some(show) = node.file.show else {
        return EINVAL.to_errno();
    };
    // SAFETY: Valid during this call, and used by this thread only.
    let seq = unsafe { SeqFile::from_raw(seq) };
    // SAFETY: Alive as long as the file is, by the invariants of `Folder`.
    show(unsafe { &*node.data }, seq);
    0
}

/// # Safety
///
/// Called by debugfs only, for a file that [`open`] opened and that is not removed before it
/// returns.
unsafe extern "C" fn write<T: Sync + 'static>(
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
    // SAFETY: Alive as long as the file is, by the invariants of `Folder`.
    match store(node.file, unsafe { &*node.data }, buffer, count) {
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
