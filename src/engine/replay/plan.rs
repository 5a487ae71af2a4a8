//! What to remove so that the cache stays within its bound: a function of what there is, and nothing else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One thing that can be removed by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// Bytes that are free when it is gone.
    pub size: u64,
    /// Seconds since its last use.
    pub unused_for: u64,
    /// Whether some run works with it.
    pub locked: bool,
    /// Whether it is of no use to anybody: half written, damaged, without what it depends on.
    pub junk: bool,
    /// What must stay while this stays, by number: the checkpoint that it is built on, the files that it mentions.
    pub needs: Vec<usize>,
    /// Whether it is of use only to what needs it.
    pub serves: bool,
    /// The longest time without use that it may have.
    pub limit: Option<u64>,
}

/// How much may stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Bytes of all that is left.
    pub most: Option<u64>,
    /// What was not used for so many seconds goes.
    pub unused_for: Option<u64>,
    /// What serves nothing may have been made for something that is being written: it stays for so many seconds.
    pub grace: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to remove, by number, in this order: nothing goes before all that needs it.
    pub remove: Vec<usize>,
    /// What would go if no run worked with it.
    pub in_use: Vec<usize>,
}

struct State<'a> {
    items: &'a [Item],
    /// How many of those that are left need an item.
    needed: Vec<usize>,
    /// Locked, or needed by what is locked.
    pinned: Vec<bool>,
    gone: Vec<bool>,
    remove: Vec<usize>,
}

/// Returns what to remove: what the rules say, then the least recently used of what is too much. What is locked stays, and
/// with it all that it needs.
pub fn plan(items: &[Item], rules: Rules) -> Plan {
    let mut state = State::of(items);
    let expired = |item: &Item| {
        let limit = rules.unused_for.unwrap_or(u64::MAX).min(item.limit.unwrap_or(u64::MAX));
        // What serves goes with the last that needs it, and not by its own age.
        item.junk || if item.serves { item.unused_for >= rules.grace } else { item.unused_for >= limit }
    };
    let mut due: Vec<usize> = (0..items.len()).rev().collect();
    while let Some(number) = due.pop() {
        if state.is_free(number) && items.get(number).is_some_and(expired) {
            due.extend(state.take(number));
        }
    }
    let mut size: u64 = state.left().map(|item| item.size).fold(0, u64::saturating_add);
    let most = rules.most.unwrap_or(u64::MAX);
    if size > most {
        // The longest unused comes first; of two that are equal, the one that stands first.
        let rank = |number: usize| items.get(number).map(|item| (item.unused_for, Reverse(number)));
        // All that has expired and is free has gone already.
        let candidate = |number: &usize| items.get(*number).is_some_and(|item| !item.serves);
        let mut oldest: BinaryHeap<_> =
            (0..items.len()).filter(|number| state.is_free(*number)).filter(candidate).filter_map(rank).collect();
        while size > most
            && let Some((_, Reverse(number))) = oldest.pop()
        {
            if !state.is_free(number) {
                continue;
            }
            size = size.saturating_sub(items.get(number).map_or(0, |item| item.size));
            let mut freed = state.take(number);
            while let Some(number) = freed.pop() {
                let Some(item) = items.get(number).filter(|_| state.is_free(number)) else { continue };
                if expired(item) {
                    size = size.saturating_sub(item.size);
                    freed.extend(state.take(number));
                } else if !item.serves {
                    oldest.extend(rank(number));
                }
            }
        }
    }
    let in_use = items.iter().enumerate().filter(|(_, item)| item.locked && (expired(item) || size > most));
    Plan { in_use: in_use.map(|(number, _)| number).collect(), remove: state.remove }
}

impl<'a> State<'a> {
    fn of(items: &'a [Item]) -> State<'a> {
        let mut needed = vec![0; items.len()];
        for number in items.iter().flat_map(|item| &item.needs) {
            if let Some(count) = needed.get_mut(*number) {
                *count += 1;
            }
        }
        let mut pinned = vec![false; items.len()];
        let mut next: Vec<usize> = (0..items.len()).filter(|n| items.get(*n).is_some_and(|item| item.locked)).collect();
        while let Some(number) = next.pop() {
            if let (Some(pin), Some(item)) = (pinned.get_mut(number), items.get(number))
                && !std::mem::replace(pin, true)
            {
                next.extend(&item.needs);
            }
        }
        State { items, needed, pinned, gone: vec![false; items.len()], remove: Vec::new() }
    }

    /// Tells whether an item can go now.
    fn is_free(&self, number: usize) -> bool {
        self.needed.get(number) == Some(&0)
            && self.pinned.get(number) == Some(&false)
            && self.gone.get(number) == Some(&false)
    }

    /// Removes an item and returns what it needed.
    fn take(&mut self, number: usize) -> Vec<usize> {
        let needs = self.items.get(number).map(|item| item.needs.clone()).unwrap_or_default();
        if let Some(gone) = self.gone.get_mut(number) {
            *gone = true;
        }
        self.remove.push(number);
        for need in &needs {
            if let Some(count) = self.needed.get_mut(*need) {
                *count -= 1;
            }
        }
        needs
    }

    fn left(&self) -> impl Iterator<Item = &'a Item> {
        self.items.iter().zip(&self.gone).filter(|(_, gone)| !**gone).map(|(item, _)| item)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn item(size: u64, unused_for: u64, needs: &[usize]) -> Item {
        Item { size, unused_for, needs: needs.to_vec(), ..Item::default() }
    }

    fn most(most: u64) -> Rules {
        Rules { most: Some(most), grace: 100, ..Rules::default() }
    }

    #[test]
    fn the_least_recently_used_goes_first_and_only_as_much_as_must() {
        let items = [item(10, 5, &[]), item(10, 50, &[]), item(10, 30, &[])];
        assert_eq!(plan(&items, most(30)), Plan::default());
        assert_eq!(plan(&items, most(29)).remove, [1]);
        assert_eq!(plan(&items, most(10)).remove, [1, 2]);
        assert_eq!(plan(&items, most(0)).remove, [1, 2, 0]);
    }

    #[test]
    fn leaves_of_a_chain_go_before_what_they_are_built_on() {
        // 0 <- 1 <- 2, and 0 <- 3
        let items = [item(10, 90, &[]), item(10, 80, &[0]), item(10, 20, &[1]), item(10, 50, &[0])];
        assert_eq!(plan(&items, most(30)).remove, [3]);
        assert_eq!(plan(&items, most(20)).remove, [3, 2]);
        assert_eq!(plan(&items, most(0)).remove, [3, 2, 1, 0]);
        let mut held = items;
        held[1].locked = true;
        assert_eq!(plan(&held, most(0)), Plan { remove: vec![3, 2], in_use: vec![1] });
        assert_eq!(plan(&held, Rules { unused_for: Some(0), ..Rules::default() }).remove, [2, 3]);
    }

    #[test]
    fn files_go_with_the_last_record_that_mentions_them() {
        let file = |size, unused_for| Item { serves: true, ..item(size, unused_for, &[]) };
        let record = |unused_for, needs: &[usize]| Item { limit: Some(1000), ..item(1, unused_for, needs) };
        let items =
            [file(100, 5000), file(100, 5000), file(7, 5000), file(7, 50), record(10, &[0, 1]), record(2000, &[1])];
        let rules = Rules { grace: 100, ..Rules::default() };
        // The old record; the file that nothing mentions and that is not new. Nothing else.
        assert_eq!(plan(&items, rules).remove, [2, 5]);
        assert_eq!(plan(&items, Rules { most: Some(150), ..rules }).remove, [2, 5, 4, 1, 0]);
        assert_eq!(plan(&items, Rules { unused_for: Some(10), ..rules }).remove, [2, 4, 0, 5, 1]);
    }

    #[test]
    fn junk_goes_at_once_unless_it_is_held() {
        let junk = |locked| Item { junk: true, locked, ..item(10, 0, &[]) };
        assert_eq!(plan(&[junk(false), junk(true)], Rules::default()), Plan { remove: vec![0], in_use: vec![1] });
    }

    fn any_items() -> impl Strategy<Value = Vec<Item>> {
        let one = (0u64..20, 0u64..10, prop::bool::weighted(0.1), prop::bool::weighted(0.1), any::<bool>(), 0u64..12);
        prop::collection::vec((one, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 0..40).prop_map(|raw| {
            let make =
                |(number, ((size, unused_for, locked, junk, serves, limit), needs)): (usize, (_, Vec<_>))| Item {
                    size,
                    unused_for,
                    locked,
                    junk,
                    // Nothing needs what comes after it: there are no circles.
                    needs: needs
                        .iter()
                        .filter(|_| number > 0)
                        .map(|need: &prop::sample::Index| need.index(number.max(1)))
                        .collect::<BTreeSet<_>>()
                        .into_iter()
                        .collect(),
                    serves,
                    limit: (limit < 10).then_some(limit),
                };
            raw.into_iter().enumerate().map(make).collect()
        })
    }

    proptest! {
        #[test]
        fn whatever_there_is(items in any_items(), size in prop::option::of(0u64..200), age in prop::option::of(0u64..12), grace in 0u64..12) {
            let rules = Rules { most: size, unused_for: age, grace };
            let plan = plan(&items, rules);
            let mut left: BTreeSet<usize> = (0..items.len()).collect();
            for number in &plan.remove {
                prop_assert!(left.remove(number), "{number} twice");
                prop_assert!(!items[*number].locked);
                prop_assert!(left.iter().all(|other| !items[*other].needs.contains(number)), "{number} is needed");
            }
            prop_assert!(plan.in_use.iter().all(|number| items[*number].locked));
            // It is enough: what is left fits, or nothing more could go.
            let total: u64 = left.iter().map(|number| items[*number].size).sum();
            let needed: BTreeSet<usize> = left.iter().flat_map(|number| &items[*number].needs).copied().collect();
            let free: Vec<usize> = left.iter().copied().filter(|n| !needed.contains(n) && !items[*n].locked).collect();
            if size.is_some_and(|most| total > most) {
                prop_assert!(free.iter().all(|n| items[*n].serves && items[*n].unused_for < grace), "{free:?}");
            }
            for number in free {
                let item = &items[number];
                prop_assert!(!item.junk);
                prop_assert!(item.serves || item.unused_for < age.unwrap_or(u64::MAX).min(item.limit.unwrap_or(u64::MAX)));
                prop_assert!(!item.serves || item.unused_for < grace);
            }
            // And not too much: without a bound on the size, only what is junk, old or of no use any more has gone.
            if size.is_none() {
                for number in &plan.remove {
                    let item = &items[*number];
                    let old = item.unused_for >= age.unwrap_or(u64::MAX).min(item.limit.unwrap_or(u64::MAX));
                    prop_assert!(item.junk || (item.serves && item.unused_for >= grace) || (!item.serves && old));
                }
            }
        }
    }
}
