// SPDX-License-Identifier: GPL-2.0

//! A sorted map, whose nodes are allocated before they are needed.

use crate::{
    alloc::{may_fail, Flags},
    context,
    error::Result,
};
use core::{
    marker::PhantomData,
    ops::Bound::{Excluded, Included, Unbounded},
};
use std::collections::BTreeMap;

pub struct RBTree<K, V>(BTreeMap<K, V>);

pub struct RBTreeNode<K, V>(K, V);

impl<K, V> RBTreeNode<K, V> {
    pub fn new(key: K, value: V, flags: Flags) -> Result<Self> {
        Ok(RBTreeNodeReservation::new(flags)?.into_node(key, value))
    }

    pub fn to_key_value(self) -> (K, V) {
        (self.0, self.1)
    }

    pub fn into_reservation(self) -> RBTreeNodeReservation<K, V> {
        RBTreeNodeReservation(PhantomData)
    }
}

pub struct RBTreeNodeReservation<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> RBTreeNodeReservation<K, V> {
    pub fn new(flags: Flags) -> Result<Self> {
        if flags.contains(crate::alloc::flags::GFP_KERNEL) {
            context::might_sleep();
        }
        may_fail()?;
        Ok(Self(PhantomData))
    }

    pub fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        RBTreeNode(key, value)
    }
}

impl<K, V> RBTree<K, V> {
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter()
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }
}

impl<K: Ord + Copy, V> RBTree<K, V> {
    pub fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        let key = node.0;
        self.0.insert(key, node.1).map(|old| RBTreeNode(key, old))
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    pub fn remove_node(&mut self, key: &K) -> Option<RBTreeNode<K, V>> {
        self.0
            .remove_entry(key)
            .map(|(key, value)| RBTreeNode(key, value))
    }

    fn at(&self, key: Option<(&K, &V)>) -> Option<Cursor<'_, K, V>> {
        let key = *key?.0;
        Some(Cursor { map: &self.0, key })
    }

    fn at_mut(&mut self, key: Option<K>) -> Option<CursorMut<'_, K, V>> {
        Some(CursorMut {
            key: key?,
            map: &mut self.0,
        })
    }

    pub fn cursor_front(&self) -> Option<Cursor<'_, K, V>> {
        self.at(self.0.iter().next())
    }

    pub fn cursor_lower_bound(&self, key: &K) -> Option<Cursor<'_, K, V>> {
        self.at(self.0.range((Included(key), Unbounded)).next())
    }

    pub fn cursor_front_mut(&mut self) -> Option<CursorMut<'_, K, V>> {
        let key = self.0.keys().next().copied();
        self.at_mut(key)
    }

    pub fn cursor_back_mut(&mut self) -> Option<CursorMut<'_, K, V>> {
        let key = self.0.keys().next_back().copied();
        self.at_mut(key)
    }

    pub fn cursor_lower_bound_mut(&mut self, key: &K) -> Option<CursorMut<'_, K, V>> {
        let key = self
            .0
            .range((Included(key), Unbounded))
            .next()
            .map(|(key, _)| *key);
        self.at_mut(key)
    }
}

pub struct Cursor<'a, K, V> {
    map: &'a BTreeMap<K, V>,
    key: K,
}

impl<'a, K: Ord + Copy, V> Cursor<'a, K, V> {
    pub fn current(&self) -> (&'a K, &'a V) {
        self.map.get_key_value(&self.key).expect("there")
    }
}

pub struct CursorMut<'a, K, V> {
    map: &'a mut BTreeMap<K, V>,
    key: K,
}

impl<K: Ord + Copy, V> CursorMut<'_, K, V> {
    pub fn current(&self) -> (&K, &V) {
        self.map.get_key_value(&self.key).expect("there")
    }

    pub fn move_prev(mut self) -> Option<Self> {
        self.key = *self
            .map
            .range((Unbounded, Excluded(&self.key)))
            .next_back()?
            .0;
        Some(self)
    }

    pub fn remove_current(mut self) -> (Option<Self>, RBTreeNode<K, V>) {
        let (key, value) = self.map.remove_entry(&self.key).expect("there");
        let next = self
            .map
            .range((Excluded(&key), Unbounded))
            .next()
            .map(|(key, _)| *key);
        let next = next.map(|next| {
            self.key = next;
            self
        });
        (next, RBTreeNode(key, value))
    }
}
