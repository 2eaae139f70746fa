// SPDX-License-Identifier: GPL-2.0

//! Groups, and the tree that they form.
//!
//! A group owns children, never the other way round: a child knows the [`Owner`] record of its group, not the
//! group. So a group that goes offline hands its children to its parent and is freed at once, however
//! long their objects live. Offline takes the time of the children that the group has published itself.

use super::{
    owner::{self, Children},
    slots::{Index, Indices},
    stage::{GroupEvent, Online}, //
};
use crate::abstractions::{any_cstring::AnyCString, name_hash::NameHash};
use core::mem::MaybeUninit;
use kernel::{
    alloc::Flags,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    str::CStr,
    sync::{
        atomic::{AtomicFlag, Relaxed},
        new_spinlock_irq,
        Arc,
        LockedBy,
        SetOnce,
        SpinLockIrq,
        UniqueArc, //
    },
    types::ScopeGuard, //
};

/// How many groups one section of the tree's lock visits.
const BATCH: usize = 64;

/// The top of the tree: owns the children of groups that had no parent.
const TOP: u64 = 0;

/// How many buckets the index of names has. With all groups that there can be, each has 64.
const BUCKETS: usize = 1 << 14;

/// A group, which owns `C`s while it is online.
///
/// It is made, goes offline (its parent owns what it owned from then on), and is freed when the last
/// reference on it is dropped: no child has one.
pub struct Group<C> {
    number: u64,
    index: Index,
    cookie: u64,
    name: AnyCString,
    hash: u32,
    /// The next group in the bucket of its name.
    next: LockedBy<Option<Arc<Self>>, Tree<C>>,
    /// The number of its parent when it was made.
    parent: u64,
    owner: Arc<Owner<C>>,
    /// The record of the parent, or one that it was merged into.
    above: Arc<Owner<C>>,
    /// It changes under the lock of the tree.
    offline: AtomicFlag,
    groups: Arc<Groups<C>>,
}

/// Who owns what a group owned.
pub(super) type Owner<C> = owner::Owner<C, Tree<C>>;

/// Names of groups with a cookie that are so long may have been cut by whoever made them, as the kernel
/// does with the path of a cgroup.
const LONG: usize = 1000;

/// What follows a name that may have been cut. The names of any number of groups would be the same
/// otherwise, and in one bucket.
fn suffix(name: &[u8], cookie: u64) -> impl Iterator<Item = u8> + Clone {
    let is_cut = cookie != 0 && name.len() >= LONG;
    let digits = (0..16).rev().map(move |at| {
        let digit = char::from_digit((cookie >> (4 * at) & 15) as u32, 16);
        digit.map_or(b'0', |digit| digit as u8)
    });
    is_cut.then_some(digits).into_iter().flatten()
}

/// The name of a group. What could not stand in a record or in the name of a cache is written as in `/proc/mounts`: a backslash
/// and three octal digits.
fn name(bytes: impl Iterator<Item = u8> + Clone, flags: Flags) -> Result<AnyCString> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
    let length = bytes.clone().map(|byte| if plain(&byte) { 1 } else { 4 });
    let mut name = KVec::with_capacity(length.sum::<usize>() + 1, flags)?;
    for byte in bytes {
        if plain(&byte) {
            name.push(byte, flags)?;
            continue;
        }
        name.push(b'\\', flags)?;
        for shift in [6, 3, 0] {
            name.push(b'0' + (byte >> shift & 7), flags)?;
        }
    }
    name.push(0, flags)?;
    name.try_into()
}

/// A group that is not in the tree yet: its memory.
pub struct NewGroup<C> {
    name: AnyCString,
    cookie: u64,
    memory: UniqueArc<MaybeUninit<Group<C>>>,
    owner: UniqueArc<MaybeUninit<Owner<C>>>,
    node: RBTreeNodeReservation<u64, Arc<Group<C>>>,
}

impl<C> NewGroup<C> {
    /// Allocates it. Context: as `flags` say. For `name` and `cookie` see [`Group`]. A name of 1,000 bytes or
    /// more is followed by the cookie in hexadecimal, if there is one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(name: &[u8], cookie: u64, flags: Flags) -> Result<Self> {
        Ok(Self {
            name: self::name(
                Iterator::chain(name.iter().copied(), suffix(name, cookie)),
                flags,
            )?,
            cookie,
            memory: UniqueArc::new_uninit(flags)?,
            owner: UniqueArc::new_uninit(flags)?,
            node: RBTreeNodeReservation::new(flags)?,
        })
    }
}

impl<C> Group<C> {
    /// Its number: not used twice in the life of the module.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its name, in printable ASCII.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// The part of its name that stands in the name of a cache.
    pub(super) fn short_name(&self) -> &str {
        /// Keeps the name of the cache below `NAME_MAX`.
        const LONGEST: usize = 64;
        let name = self.name.to_str().unwrap_or("");
        let name = name.rsplit('/').next().unwrap_or(name);
        name.get(..LONGEST).unwrap_or(name)
    }

    /// The number that its maker knows it by; 0 for a group that is known by its name.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// May it own children? Without a lock: true where it goes offline right now. Context: any.
    #[inline]
    pub(super) fn is_online(&self) -> bool {
        !self.offline.load(Relaxed)
    }

    /// The record that leads to the owner of its children.
    pub(super) fn owner(&self) -> &Arc<Owner<C>> {
        &self.owner
    }

    /// Its index in the lookup: free again when the group is freed.
    #[inline]
    pub(super) fn index(&self) -> Index {
        self.index
    }
}

impl<C> Drop for Group<C> {
    fn drop(&mut self) {
        self.groups.indices.free(self.index);
        GroupEvent::group_free.trace(None, || (self.number, self.parent, &self.name));
    }
}

/// The online groups.
pub(super) struct Tree<C> {
    groups: RBTree<u64, Arc<Group<C>>>,
    /// The first group of each bucket.
    names: KVVec<Option<Arc<Group<C>>>>,
    next: u64,
}

impl<C: Send + Sync> Tree<C> {
    fn new() -> Result<Self> {
        let mut names = KVVec::with_capacity(BUCKETS, GFP_KERNEL)?;
        for _ in 0..BUCKETS {
            names.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            groups: RBTree::new(),
            names,
            next: TOP + 1,
        })
    }

    /// The groups of a bucket, the newest first.
    fn bucket(&self, hash: u32) -> impl Iterator<Item = &Arc<Group<C>>> {
        let first = self.names.get(hash as usize % BUCKETS);
        core::iter::successors(first.and_then(Option::as_ref), |group| {
            group.next.access(self).as_ref()
        })
    }

    /// The oldest group of that name.
    fn named(&self, name: &[u8], hash: u32) -> Option<&Arc<Group<C>>> {
        let named = |group: &&Arc<Group<C>>| group.hash == hash && group.name.to_bytes() == name;
        self.bucket(hash).filter(named).last()
    }

    fn add_name(&mut self, group: Arc<Group<C>>) {
        let hash = group.hash;
        if let Some(first) = self.names.get_mut(hash as usize % BUCKETS) {
            let next = first.replace(group.clone());
            *group.next.access_mut(self) = next;
        }
    }

    /// Returns what the index had, to be dropped without the lock.
    #[inline]
    fn remove_name(&mut self, group: &Group<C>) -> Option<Arc<Group<C>>> {
        let next = group.next.access_mut(self).take();
        let first = self.names.get_mut(group.hash as usize % BUCKETS)?;
        if first
            .as_deref()
            .is_some_and(|first| core::ptr::eq(first, group))
        {
            return core::mem::replace(first, next);
        }
        let is_before = |other: &&Arc<Group<C>>| {
            let next = other.next.access(self).as_deref();
            next.is_some_and(|next| core::ptr::eq(next, group))
        };
        let before = self.bucket(group.hash).find(is_before)?.clone();
        core::mem::replace(before.next.access_mut(self), next)
    }
}

/// All groups.
#[pin_data]
pub(super) struct Groups<C> {
    #[pin]
    pub(super) indices: Indices,
    #[pin]
    tree: SpinLockIrq<Tree<C>>,
    hash: NameHash,
    /// Owns the children of groups that had no parent.
    top: SetOnce<Arc<Owner<C>>>,
}

impl<C: Send + Sync> Groups<C> {
    pub(super) fn new() -> Result<Arc<Self>> {
        let tree = Tree::new()?;
        let groups = Arc::pin_init(
            pin_init!(Self {
                indices <- Indices::new(),
                tree <- new_spinlock_irq!(tree, "rust_kmemcg::tree"),
                hash: NameHash::random(),
                top: SetOnce::new(),
            }),
            GFP_KERNEL,
        )?;
        let top = Arc::new(Owner::new(TOP, &groups.tree), GFP_KERNEL)?;
        groups.top.populate(top);
        Ok(groups)
    }

    /// Puts a group in the tree. Context: any.
    ///
    /// # Errors
    ///
    /// `EEXIST`: a group with that name and no cookie is there. `ENOENT`: the parent is offline. `ENOSPC`: the limit
    /// is reached. `ENOMEM`: no memory for an index.
    pub(super) fn add(
        self: &Arc<Self>,
        new: NewGroup<C>,
        parent: Option<&Group<C>>,
    ) -> Result<Arc<Group<C>>> {
        let NewGroup {
            name,
            cookie,
            memory,
            owner,
            node,
        } = new;
        let above = match parent {
            Some(parent) if !self.owns(parent) => return Err(ENOENT),
            Some(parent) => &parent.owner,
            None => self.top()?,
        };
        let hash = self.hash.of(name.to_bytes());
        let index = self.indices.alloc()?;
        let unused = ScopeGuard::new(|| self.indices.free(index));

        let mut tree = self.tree.lock();
        // Groups with a cookie need no unique name; the caller guarantees that the cookie is unique.
        if cookie == 0 && tree.named(name.to_bytes(), hash).is_some() {
            return Err(EEXIST);
        }
        if parent.is_some_and(|parent| !parent.is_online()) {
            return Err(ENOENT);
        }
        unused.dismiss();
        let number = tree.next;
        tree.next += 1;
        let group: Arc<Group<C>> = memory
            .write(Group {
                number,
                index,
                cookie,
                name,
                hash,
                next: LockedBy::new(&self.tree, None),
                parent: above.number(),
                owner: owner.write(Owner::new(number, &self.tree)).into(),
                above: above.head().clone(),
                offline: AtomicFlag::new(false),
                groups: self.clone(),
            })
            .into();
        GroupEvent::group_create.trace(None, || (number, group.parent, &group.name));
        tree.add_name(group.clone());
        tree.groups.insert(node.into_node(number, group.clone()));
        Ok(group)
    }

    /// The record of the owner of the children of groups that had no parent.
    pub(super) fn top(&self) -> Result<&Arc<Owner<C>>> {
        self.top.as_ref().ok_or(ENOENT)
    }

    /// The online group of that name. Context: any.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Group<C>>> {
        let name = name.as_bytes();
        let hash = self.hash.of(name);
        self.tree.lock().named(name, hash).cloned().ok_or(ENOENT)
    }

    fn owns(&self, group: &Group<C>) -> bool {
        core::ptr::eq(self, &*group.groups)
    }

    /// May the group own children? Without a lock, as [`Group::is_online`]. Context: any.
    pub(super) fn is_online(&self, group: &Group<C>) -> bool {
        self.owns(group) && group.is_online()
    }

    /// Calls `f` with the children that an online group has published, and the lock of the tree held; `f`
    /// adds one. Context: any.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the group is offline. Those of `f`, which has added none then.
    pub(super) fn while_online(
        &self,
        group: &Group<C>,
        f: impl FnOnce(&mut Children<C>) -> Result,
    ) -> Result {
        let mut tree = self.tree.lock();
        if !self.is_online(group) {
            return Err(ENOENT);
        }
        group.owner.add(&mut tree, f)
    }

    /// Takes child `number`, which the group of the record `owner` has published, away from its owner.
    /// Does nothing to one that was not published. Context: any.
    pub(super) fn unlink(&self, number: u64, owner: &Arc<Owner<C>>) {
        let mut tree = self.tree.lock();
        let owned = owner.remove(&mut tree, number);
        drop(tree);
        drop(owned);
    }

    /// Takes a group offline: `f` is called with each child that it has published and the parent's number,
    /// and the lock of the tree held; then the parent owns these, and all that the group had inherited.
    /// Context: any; waits for nothing.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is offline.
    pub(super) fn offline(&self, group: &Group<C>, mut f: impl FnMut(&C, u64)) -> Result {
        if !self.owns(group) {
            return Err(ENOENT);
        }
        let mut tree = self.tree.lock();
        let node = tree.groups.remove_node(&group.number).ok_or(ENOENT)?;
        let named = tree.remove_name(group);
        group.offline.store(true, Relaxed);
        let step = Some((Online::Yes, Online::No));
        let above = group.above.head();
        let parent = above.number_of_head();
        GroupEvent::group_offline.trace(step, || (group.number, parent, &group.name));
        for child in group.owner.children(&tree).values() {
            f(child, parent);
        }
        group.owner.head().merge(above, &mut tree);
        drop(tree);
        // With these, the group itself, where the caller has no reference on it.
        drop(named);
        drop(node);
        Ok(())
    }

    /// The newest group that was made before number `before` and has a cookie. Context: any.
    pub(super) fn newest_with_cookie(&self, mut before: u64) -> Option<Arc<Group<C>>> {
        loop {
            let mut tree = self.tree.lock();
            let has_later = tree.groups.cursor_lower_bound(&before).is_some();
            let mut cursor = if has_later {
                tree.groups.cursor_lower_bound_mut(&before)?.move_prev()
            } else {
                tree.groups.cursor_back_mut()
            };
            for _ in 0..BATCH {
                let at = cursor?;
                let (&number, group) = at.current();
                if group.cookie != 0 {
                    return Some(group.clone());
                }
                before = number;
                cursor = at.move_prev();
            }
        }
    }

    /// Calls `f` for each group, with its parent's number and how many children it owns. `f` runs
    /// with the lock of the tree held.
    pub(super) fn for_each(&self, mut f: impl FnMut(&Group<C>, u64, usize)) {
        let mut from = Some(TOP);
        while let Some(number) = from {
            from = self.walk(number, &mut f);
        }
    }

    /// The part of [`for_each`](Self::for_each) that starts at `from`; returns where to go on.
    fn walk(&self, mut from: u64, f: &mut impl FnMut(&Group<C>, u64, usize)) -> Option<u64> {
        let tree = self.tree.lock();
        for _ in 0..BATCH {
            let cursor = tree.groups.cursor_lower_bound(&from)?;
            let (&number, group) = cursor.current();
            f(group, group.above.number(), group.owner.count(&tree));
            from = number + 1;
        }
        Some(from)
    }

    /// Takes all groups offline and drops them, for the end of the module. Children of a closing root stay with the
    /// record of their owner. Context: may sleep.
    pub(super) fn clear(&self) {
        loop {
            let mut tree = self.tree.lock();
            let Some(cursor) = tree.groups.cursor_front_mut() else {
                return;
            };
            let (_, group) = cursor.remove_current().1.to_key_value();
            let step = Some((Online::Yes, Online::No));
            let above = group.above.number();
            GroupEvent::group_offline.trace(step, || (group.number, above, &group.name));
            let named = tree.remove_name(&group);
            drop(tree);
            drop(named);
            drop(group);
        }
    }
}
