// SPDX-License-Identifier: GPL-2.0

//! Groups, and the tree that they form.
//!
//! A group owns children, never the other way round: a child knows its owner by number only. So a
//! group that goes offline hands its children to its parent and is freed at once, however long
//! their objects live.

use super::child::Child;
use crate::abstractions::{rcu_slot::RcuSlot, trace};
use core::{mem::MaybeUninit, ops::Deref};
use kernel::{
    alloc::Flags,
    id_pool::IdPool,
    prelude::*,
    rbtree::{RBTree, RBTreeNode, RBTreeNodeReservation},
    str::CStr,
    sync::{new_spinlock_irq, Arc, SpinLockIrq, UniqueArc},
};

/// How many groups there can be, the top of the tree not counted.
pub const MAX_GROUPS: usize = 1 << 16;

/// How many groups are walked over with interrupts disabled.
const BATCH: usize = 64;

/// The top of the tree: owns the children of groups that had no parent.
const TOP: u64 = 0;

/// A group.
pub struct Group {
    number: u64,
    index: u16,
    tag: u64,
    name: Name,
    parent: u64,
    groups: Arc<Groups>,
}

/// The name of a group: can be made in any context, which a `CString` can not.
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
pub struct NewGroup {
    name: Name,
    tag: u64,
    memory: UniqueArc<MaybeUninit<Group>>,
    node: RBTreeNodeReservation<u64, Node>,
}

impl NewGroup {
    /// Context: as `flags` say. For `name` and `tag` see [`Group`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(name: &[u8], tag: u64, flags: Flags) -> Result<Self> {
        Ok(Self {
            name: Name::new(name, flags)?,
            tag,
            memory: UniqueArc::new_uninit(flags)?,
            node: RBTreeNodeReservation::new(flags)?,
        })
    }
}

impl Group {
    /// Its number: not used twice in the life of the module.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its name, in printable ASCII.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// The part of its name that it is called by in the name of a cache.
    pub(super) fn short_name(&self) -> &str {
        /// So that the whole is no longer than the name of a file may be.
        const LONGEST: usize = 64;
        let name = self.name.to_str().unwrap_or("");
        let name = name.rsplit('/').next().unwrap_or(name);
        name.get(..LONGEST).unwrap_or(name)
    }

    /// What its maker knows it by; 0 for a group that somebody made by its name.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// Its index in the lookup: used again when the group is freed.
    #[inline]
    pub(super) fn index(&self) -> u16 {
        self.index
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.groups
            .tree
            .lock()
            .indices
            .release_id(self.index.into());
        trace::group_free(self.number, self.parent, &self.name);
    }
}

/// An online group in the tree.
struct Node {
    /// None for the top.
    group: Option<Arc<Group>>,
    parent: u64,
    subgroups: usize,
    children: RBTree<u64, Arc<Child>>,
}

impl Node {
    fn new(group: Option<Arc<Group>>, parent: u64) -> Self {
        Self {
            group,
            parent,
            subgroups: 0,
            children: RBTree::new(),
        }
    }
}

struct Tree {
    nodes: RBTree<u64, Node>,
    indices: IdPool,
    next: u64,
}

impl Tree {
    fn named(&self, name: &[u8]) -> Option<&Arc<Group>> {
        let mut groups = self.nodes.values().flat_map(|node| &node.group);
        groups.find(|group| group.name.to_bytes() == name)
    }
}

/// All groups.
#[pin_data]
pub(super) struct Groups {
    #[pin]
    tree: SpinLockIrq<Tree>,
}

impl Groups {
    pub(super) fn new() -> Result<Arc<Self>> {
        let indices = IdPool::with_capacity(MAX_GROUPS, GFP_KERNEL)?;
        let top = RBTreeNode::new(TOP, Node::new(None, TOP), GFP_KERNEL)?;
        let mut nodes = RBTree::new();
        nodes.insert(top);
        let tree = Tree {
            nodes,
            indices,
            next: TOP + 1,
        };
        Arc::pin_init(
            pin_init!(Self { tree <- new_spinlock_irq!(tree, "rust_kmemcg::tree") }),
            GFP_KERNEL,
        )
    }

    /// Puts a group in the tree. Context: any.
    pub(super) fn add(
        self: &Arc<Self>,
        new: NewGroup,
        parent: Option<&Group>,
    ) -> Result<Arc<Group>> {
        let NewGroup {
            name,
            tag,
            memory,
            node,
        } = new;
        let parent = match parent {
            Some(parent) if !self.owns(parent) => return Err(ENOENT),
            Some(parent) => parent.number,
            None => TOP,
        };

        let mut tree = self.tree.lock();
        // Who has a tag for his groups sees to it by himself that there is one of each.
        if tag == 0 && tree.named(name.to_bytes()).is_some() {
            return Err(EEXIST);
        }
        tree.nodes.get_mut(&parent).ok_or(ENOENT)?.subgroups += 1;
        let Some(index) = tree.indices.find_unused_id(0) else {
            if let Some(node) = tree.nodes.get_mut(&parent) {
                node.subgroups -= 1;
            }
            return Err(ENOSPC);
        };
        // There are no more than `MAX_GROUPS`.
        let index = index.acquire() as u16;
        let number = tree.next;
        tree.next += 1;
        let group: Arc<Group> = memory
            .write(Group {
                number,
                index,
                tag,
                name,
                parent,
                groups: self.clone(),
            })
            .into();
        trace::group_create(number, parent, &group.name);
        tree.nodes
            .insert(node.into_node(number, Node::new(Some(group.clone()), parent)));
        Ok(group)
    }

    /// The online group of that name. Context: any.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Group>> {
        let tree = self.tree.lock();
        tree.named(name.as_bytes()).cloned().ok_or(ENOENT)
    }

    fn owns(&self, group: &Group) -> bool {
        core::ptr::eq(self, &*group.groups)
    }

    /// May the group own children? Context: any.
    pub(super) fn is_online(&self, group: &Group) -> bool {
        self.owns(group) && self.tree.lock().nodes.get(&group.number).is_some()
    }

    /// Makes a child known to the lookup and owned by its group. Context: any.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the group is offline. `EEXIST`: it has a child of this root.
    pub(super) fn publish(
        &self,
        group: &Group,
        child: &Arc<Child>,
        owned: RBTreeNodeReservation<u64, Arc<Child>>,
        slot: &RcuSlot<Child>,
    ) -> Result {
        let mut tree = self.tree.lock();
        let node = tree.nodes.get_mut(&group.number).ok_or(ENOENT)?;
        slot.publish(child.clone()).map_err(|_| EEXIST)?;
        child.trace(trace::child_create);
        node.children
            .insert(owned.into_node(child.number(), child.clone()));
        Ok(())
    }

    /// A child is shut down: nobody owns it any more. Context: any.
    pub(super) fn disown(&self, child: &Child) {
        let mut tree = self.tree.lock();
        let node = tree.nodes.get_mut(&child.owner());
        let owned = node.and_then(|node| node.children.remove(&child.number()));
        drop(tree);
        drop(owned);
    }

    /// Takes a group offline. Context: any; waits for nothing.
    pub(super) fn offline(&self, group: &Group) -> Result {
        if !self.owns(group) {
            return Err(ENOENT);
        }
        let mut tree = self.tree.lock();
        let removed = tree.nodes.remove_node(&group.number).ok_or(ENOENT)?;
        let (number, mut node) = removed.to_key_value();
        trace::group_offline(number, node.parent, &group.name);
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
                // Inherited children left the lookup when their own group went offline.
                let slot = child.root().slot_of(child);
                if let Some(retired) = slot.and_then(|slot| slot.take_if(child)) {
                    child.root().gate().enter().offline(retired);
                }
                child.set_owner(node.parent);
            }
            // As a whole where the parent has none.
            if parent.children.is_empty() {
                core::mem::swap(&mut parent.children, &mut node.children);
            }
            while let Some(cursor) = node.children.cursor_front_mut() {
                let (_, owned) = cursor.remove_current();
                parent.children.insert(owned);
            }
        }
        drop(tree);
        // With this, the group itself, where the caller does not hold it.
        drop(node);
        Ok(())
    }

    /// The newest group that was made before number `before` and has a tag. Context: any.
    pub(super) fn newest_tagged(&self, before: u64) -> Option<Arc<Group>> {
        let mut tree = self.tree.lock();
        let has_later = tree.nodes.cursor_lower_bound(&before).is_some();
        let mut cursor = if has_later {
            tree.nodes.cursor_lower_bound_mut(&before)?.move_prev()
        } else {
            tree.nodes.cursor_back_mut()
        };
        while let Some(at) = cursor {
            let group = at.current().1.group.as_ref();
            if let Some(group) = group.filter(|group| group.tag != 0) {
                return Some(group.clone());
            }
            cursor = at.move_prev();
        }
        None
    }

    /// Calls `f` for each group, with its parent's number and how many children it owns. `f` runs
    /// with the lock of the tree held.
    pub(super) fn for_each(&self, mut f: impl FnMut(&Group, u64, usize)) {
        let mut from = Some(TOP);
        while let Some(number) = from {
            from = self.walk(number, &mut f);
        }
    }

    /// The part of [`for_each`](Self::for_each) that starts at `from`; returns where to go on.
    fn walk(&self, mut from: u64, f: &mut impl FnMut(&Group, u64, usize)) -> Option<u64> {
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

    /// Forgets all groups: the module goes. Context: may sleep.
    pub(super) fn clear(&self) {
        let nodes = core::mem::take(&mut self.tree.lock().nodes);
        drop(nodes);
    }
}
