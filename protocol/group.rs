// SPDX-License-Identifier: GPL-2.0

//! Groups, and the tree that they form.
//!
//! A group owns children, never the other way round: a child knows its owner by number only. So a
//! group that goes offline hands its children to its parent and is freed at once, however long
//! their objects live.

use super::{
    slots::{Index, Indices},
    stage::{GroupEvent, Online}, //
};
use core::{mem::MaybeUninit, ops::Deref};
use kernel::{
    alloc::Flags,
    prelude::*,
    rbtree::{RBTree, RBTreeNode, RBTreeNodeReservation},
    str::CStr,
    sync::{
        atomic::{AtomicFlag, Relaxed},
        new_spinlock_irq,
        Arc,
        SpinLockIrq,
        UniqueArc, //
    },
    types::ScopeGuard, //
};

/// How many groups one section of the tree's lock visits.
const BATCH: usize = 64;

/// The top of the tree: owns the children of groups that had no parent.
const TOP: u64 = 0;

/// A group, which owns `C`s while it is online.
///
/// It is made, goes offline (its parent owns what it owned from then on), and is freed when the last
/// reference on it is dropped: no child has one.
pub struct Group<C> {
    number: u64,
    index: Index,
    cookie: u64,
    name: Name,
    parent: u64,
    offline: AtomicFlag,
    groups: Arc<Groups<C>>,
}

/// The name of a group. It can be allocated in any context, which a `CString` can not.
///
/// What could not stand in a record or in the name of a cache is written as in `/proc/mounts`: a backslash
/// and three octal digits.
struct Name(KVec<u8>);

impl Name {
    fn new(bytes: &[u8], flags: Flags) -> Result<Self> {
        let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
        let odd = bytes.iter().filter(|byte| !plain(byte)).count();
        let mut name = KVec::with_capacity(bytes.len() + 3 * odd + 1, flags)?;
        for byte in bytes {
            if plain(byte) {
                name.push(*byte, flags)?;
                continue;
            }
            name.push(b'\\', flags)?;
            for shift in [6, 3, 0] {
                name.push(b'0' + (byte >> shift & 7), flags)?;
            }
        }
        name.push(0, flags)?;
        Ok(Self(name))
    }
}

impl Deref for Name {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        // It ends with the one NUL that is in it.
        CStr::from_bytes_with_nul(&self.0).unwrap_or(c"")
    }
}

/// A group that is not in the tree yet: all its memory, so that nothing can fail where locks are held.
pub struct NewGroup<C> {
    name: Name,
    cookie: u64,
    flags: Flags,
    memory: UniqueArc<MaybeUninit<Group<C>>>,
    node: RBTreeNodeReservation<u64, Node<C>>,
}

impl<C> NewGroup<C> {
    /// Allocates it. Context: as `flags` say. For `name` and `cookie` see [`Group`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(name: &[u8], cookie: u64, flags: Flags) -> Result<Self> {
        Ok(Self {
            name: Name::new(name, flags)?,
            cookie,
            flags,
            memory: UniqueArc::new_uninit(flags)?,
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

    /// Its index in the lookup: free again when the group is freed.
    #[inline]
    pub(super) fn index(&self) -> Index {
        self.index
    }
}

impl<C> Drop for Group<C> {
    fn drop(&mut self) {
        self.groups.indices.free(self.index);
        GroupEvent::group_free.trace(None, self.number, self.parent, &self.name);
    }
}

/// An online group in the tree.
struct Node<C> {
    /// None for the top.
    group: Option<Arc<Group<C>>>,
    parent: u64,
    subgroups: usize,
    children: Owned<C>,
}

/// The children that a group owns, by their numbers.
pub(super) type Owned<C> = RBTree<u64, Arc<C>>;

impl<C> Node<C> {
    fn new(group: Option<Arc<Group<C>>>, parent: u64) -> Self {
        Self {
            group,
            parent,
            subgroups: 0,
            children: RBTree::new(),
        }
    }
}

struct Tree<C> {
    nodes: RBTree<u64, Node<C>>,
    next: u64,
}

impl<C> Tree<C> {
    fn named(&self, name: &[u8]) -> Option<&Arc<Group<C>>> {
        let mut groups = self.nodes.values().flat_map(|node| &node.group);
        groups.find(|group| group.name.to_bytes() == name)
    }
}

/// All groups.
#[pin_data]
pub(super) struct Groups<C> {
    #[pin]
    pub(super) indices: Indices,
    #[pin]
    tree: SpinLockIrq<Tree<C>>,
}

impl<C> Groups<C> {
    pub(super) fn new() -> Result<Arc<Self>> {
        let top = RBTreeNode::new(TOP, Node::new(None, TOP), GFP_KERNEL)?;
        let mut nodes = RBTree::new();
        nodes.insert(top);
        let tree = Tree {
            nodes,
            next: TOP + 1,
        };
        Arc::pin_init(
            pin_init!(Self {
                indices <- Indices::new(),
                tree <- new_spinlock_irq!(tree, "rust_kmemcg::tree"),
            }),
            GFP_KERNEL,
        )
    }

    /// Puts a group in the tree. Context: as the flags of `new` say.
    pub(super) fn add(
        self: &Arc<Self>,
        new: NewGroup<C>,
        parent: Option<&Group<C>>,
    ) -> Result<Arc<Group<C>>> {
        let NewGroup {
            name,
            cookie,
            flags,
            memory,
            node,
        } = new;
        let parent = match parent {
            Some(parent) if !self.owns(parent) => return Err(ENOENT),
            Some(parent) => parent.number,
            None => TOP,
        };
        let index = self.indices.alloc(flags)?;
        let unused = ScopeGuard::new(|| self.indices.free(index));

        let mut tree = self.tree.lock();
        // Groups with a cookie need no unique name; the caller guarantees that the cookie is unique.
        if cookie == 0 && tree.named(name.to_bytes()).is_some() {
            return Err(EEXIST);
        }
        tree.nodes.get_mut(&parent).ok_or(ENOENT)?.subgroups += 1;
        unused.dismiss();
        let number = tree.next;
        tree.next += 1;
        let group: Arc<Group<C>> = memory
            .write(Group {
                number,
                index,
                cookie,
                name,
                parent,
                offline: AtomicFlag::new(false),
                groups: self.clone(),
            })
            .into();
        GroupEvent::group_create.trace(None, number, parent, &group.name);
        tree.nodes
            .insert(node.into_node(number, Node::new(Some(group.clone()), parent)));
        Ok(group)
    }

    /// The online group of that name. Context: any.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Group<C>>> {
        let tree = self.tree.lock();
        tree.named(name.as_bytes()).cloned().ok_or(ENOENT)
    }

    fn owns(&self, group: &Group<C>) -> bool {
        core::ptr::eq(self, &*group.groups)
    }

    /// May the group own children? Context: any.
    pub(super) fn is_online(&self, group: &Group<C>) -> bool {
        self.owns(group) && self.tree.lock().nodes.get(&group.number).is_some()
    }

    /// Calls `f` with the children that an online group owns, and the lock of the tree held. Context:
    /// any.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the group is offline. Those of `f`.
    pub(super) fn while_online(
        &self,
        group: &Group<C>,
        f: impl FnOnce(&mut Owned<C>) -> Result,
    ) -> Result {
        let mut tree = self.tree.lock();
        let node = tree.nodes.get_mut(&group.number).ok_or(ENOENT)?;
        f(&mut node.children)
    }

    /// Takes child `number` away from its owner, whose number `owner` returns: it changes under the
    /// lock of the tree only. Context: any.
    pub(super) fn unlink(&self, number: u64, owner: impl FnOnce() -> u64) {
        let mut tree = self.tree.lock();
        let node = tree.nodes.get_mut(&owner());
        let owned = node.and_then(|node| node.children.remove(&number));
        drop(tree);
        drop(owned);
    }

    /// Takes a group offline: `f` is called with each child that it owns and the parent's number, and
    /// the lock of the tree held; then the parent owns the child. Context: any; waits for nothing.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is offline.
    pub(super) fn offline(&self, group: &Group<C>, mut f: impl FnMut(&C, u64)) -> Result {
        if !self.owns(group) {
            return Err(ENOENT);
        }
        let mut tree = self.tree.lock();
        let removed = tree.nodes.remove_node(&group.number).ok_or(ENOENT)?;
        let (number, mut node) = removed.to_key_value();
        group.offline.store(true, Relaxed);
        let step = Some((Online::Yes, Online::No));
        GroupEvent::group_offline.trace(step, number, node.parent, &group.name);
        if node.subgroups > 0 {
            for other in tree
                .nodes
                .values_mut()
                .filter(|other| other.parent == number)
            {
                other.parent = node.parent;
            }
        }
        if let Some(parent) = tree.nodes.get_mut(&node.parent) {
            parent.subgroups += node.subgroups;
            parent.subgroups -= 1;
            for child in node.children.values() {
                f(child, node.parent);
            }
            // As a whole where the parent owns none.
            if parent.children.is_empty() {
                core::mem::swap(&mut parent.children, &mut node.children);
            }
            while let Some(cursor) = node.children.cursor_front_mut() {
                let (_, owned) = cursor.remove_current();
                parent.children.insert(owned);
            }
        }
        drop(tree);
        // With this, the group itself, where the caller has no reference on it.
        drop(node);
        Ok(())
    }

    /// The newest group that was made before number `before` and has a cookie. Context: any.
    pub(super) fn newest_with_cookie(&self, before: u64) -> Option<Arc<Group<C>>> {
        let mut tree = self.tree.lock();
        let has_later = tree.nodes.cursor_lower_bound(&before).is_some();
        let mut cursor = if has_later {
            tree.nodes.cursor_lower_bound_mut(&before)?.move_prev()
        } else {
            tree.nodes.cursor_back_mut()
        };
        while let Some(at) = cursor {
            let group = at.current().1.group.as_ref();
            if let Some(group) = group.filter(|group| group.cookie != 0) {
                return Some(group.clone());
            }
            cursor = at.move_prev();
        }
        None
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
            let cursor = tree.nodes.cursor_lower_bound(&from)?;
            let (&number, node) = cursor.current();
            if let Some(group) = &node.group {
                f(group, node.parent, node.children.keys().count());
            }
            from = number + 1;
        }
        Some(from)
    }

    /// Drops all groups, for the end of the module. Context: may sleep.
    pub(super) fn clear(&self) {
        let nodes = core::mem::take(&mut self.tree.lock().nodes);
        drop(nodes);
    }
}
