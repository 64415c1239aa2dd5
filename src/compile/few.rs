//! Sets that nearly always hold one.

use std::collections::BTreeSet;

/// A set in order. One element lies in the set itself: there are several such sets for every declared object, and a tree
/// begins with room for eleven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Few<T> {
    /// One, or none before the first is put in.
    One(Option<T>),
    /// Any number.
    Many(BTreeSet<T>),
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::One(None)
    }
}

impl<T: Ord> Few<T> {
    /// Puts one in, if it is not there yet.
    pub(super) fn insert(&mut self, element: T) {
        match self {
            Self::One(one @ None) => *one = Some(element),
            Self::One(Some(one)) if *one == element => {}
            Self::One(one) => *self = Self::Many(one.take().into_iter().chain([element]).collect()),
            Self::Many(many) => {
                many.insert(element);
            }
        }
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, element: &T) {
        match self {
            Self::One(one) => {
                one.take_if(|one| one == element);
            }
            Self::Many(many) => {
                many.remove(element);
                if many.len() == 1 {
                    *self = Self::One(many.pop_first());
                }
            }
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::One(one) => one.is_none(),
            Self::Many(many) => many.is_empty(),
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter =
        std::iter::Chain<std::option::Iter<'a, T>, std::iter::Flatten<std::option::IntoIter<&'a BTreeSet<T>>>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Few::One(one) => (one.iter(), None),
            Few::Many(many) => (None.iter(), Some(many)),
        };
        one.chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set_in_order(steps in prop::collection::vec((any::<bool>(), 0u8..6), 0..40)) {
            let (mut few, mut set) = (Few::default(), BTreeSet::new());
            for (put, element) in steps {
                if put {
                    few.insert(element);
                    set.insert(element);
                } else {
                    few.remove(&element);
                    set.remove(&element);
                }
                prop_assert!((&few).into_iter().eq(&set));
                prop_assert_eq!(few.is_empty(), set.is_empty());
            }
        }
    }
}
