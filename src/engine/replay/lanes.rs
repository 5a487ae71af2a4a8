//! Branches of a build that go on side by side, each with a chain of its own.
//!
//! Operations that are issued side by side end in no stable order, so none of them may count on another. A branch of
//! `rimg.parallel` begins a chain where its parent stands; when the parent goes on, all branches have ended, and their ends
//! together are where it goes on from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::key::Key;

/// The way from a build to one of its branches: for each fork a number of its own, and the branch's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(Arc<Vec<(u64, String)>>);

impl Lane {
    /// Returns a branch of this one; `fork` is the same for all that begin together, and for no others.
    pub fn branch(&self, fork: u64, name: &str) -> Lane {
        let mut way = self.0.as_ref().clone();
        way.push((fork, name.to_owned()));
        Lane(Arc::new(way))
    }

    /// Returns the part of the way that is inside of another lane; outside of it there is none.
    pub fn inside(&self, other: &Lane) -> Lane {
        Lane(Arc::new(self.0.strip_prefix(other.0.as_slice()).unwrap_or_default().to_vec()))
    }

    fn parent(&self) -> Option<(Lane, u64, &str)> {
        let ((fork, name), way) = self.0.split_last()?;
        Some((Lane(Arc::new(way.to_vec())), *fork, name))
    }

    /// Returns the branch of `self` that `lane` is or is in, with its fork.
    fn child_towards(&self, lane: &Lane) -> Option<(Lane, u64)> {
        let (fork, name) = lane.0.strip_prefix(self.0.as_slice())?.first()?;
        Some((self.branch(*fork, name), *fork))
    }
}

/// How far a chain has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub key: Key,
    /// The id of the record that came last.
    pub id: String,
}

/// How far each branch has come.
#[derive(Debug, Clone)]
pub struct Lanes {
    positions: BTreeMap<Lane, Position>,
}

impl Lanes {
    /// Begins with one chain.
    pub fn new(begin: Position) -> Lanes {
        Lanes { positions: BTreeMap::from([(Lane::default(), begin)]) }
    }

    /// Returns where a branch stands. Branches of it, and branches of its parent's earlier forks, have ended by now.
    pub fn at(&mut self, lane: &Lane) -> Position {
        if let Some((parent, fork, _)) = lane.parent() {
            self.join(&parent, Some(fork));
        }
        self.join(lane, None);
        self.position(lane)
    }

    /// Puts a branch where it stands now.
    pub fn advance(&mut self, lane: &Lane, to: Position) {
        self.positions.insert(lane.clone(), to);
    }

    /// Tells whether nothing but the one chain is going on.
    pub fn is_one(&self) -> bool {
        self.positions.len() == 1
    }

    /// Returns the ids that the branches which are open now have come to.
    pub fn ends(&self) -> Vec<String> {
        self.positions.values().map(|position| position.id.clone()).collect()
    }

    fn position(&mut self, lane: &Lane) -> Position {
        if let Some(position) = self.positions.get(lane) {
            return position.clone();
        }
        let position = match lane.parent() {
            Some((parent, _, name)) => {
                let from = self.position(&parent);
                Position { key: from.key.branch(name), id: from.id }
            }
            // The one chain is there from the beginning.
            None => Position { key: Key::ROOT, id: super::record::ROOT.to_owned() },
        };
        self.positions.insert(lane.clone(), position.clone());
        position
    }

    /// Ends all branches of a lane, but those of one fork.
    fn join(&mut self, lane: &Lane, but: Option<u64>) {
        let mut children: Vec<Lane> = self
            .positions
            .keys()
            .filter_map(|other| lane.child_towards(other))
            .filter(|(_, fork)| Some(*fork) != but)
            .map(|(child, _)| child)
            .collect();
        children.dedup();
        if children.is_empty() {
            return;
        }
        let mut ends = Vec::new();
        for child in children {
            self.join(&child, None);
            ends.push(self.position(&child));
            self.positions.remove(&child);
        }
        let from = self.position(lane);
        let keys: Vec<Key> = ends.iter().map(|end| end.key).collect();
        let mut ids: Vec<&str> = ends.iter().map(|end| end.id.as_str()).collect();
        ids.sort_unstable();
        let id = blake3::hash(ids.join(" ").as_bytes()).to_hex();
        let id = id.get(..32).unwrap_or(&id).to_owned();
        self.positions.insert(lane.clone(), Position { key: from.key.join(&keys), id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(lanes: &mut Lanes, lane: &Lane, what: &str) -> Position {
        let at = lanes.at(lane);
        let key = at.key.next("run", &json!(what));
        // As ids do, this one depends on all that went before.
        let id = blake3::hash(format!("{} {what}", at.id).as_bytes()).to_hex().get(..8).unwrap().to_owned();
        lanes.advance(lane, Position { key, id });
        lanes.positions[lane].clone()
    }

    fn begin() -> Lanes {
        Lanes::new(Position { key: Key::ROOT.next("boot", &json!(1)), id: "boot".into() })
    }

    #[test]
    fn the_order_of_branches_does_not_count_and_what_they_do_does() {
        let run = |order: &[(usize, &str)]| {
            let (mut lanes, root) = (begin(), Lane::default());
            step(&mut lanes, &root, "first");
            let branches = [root.branch(7, "1"), root.branch(7, "2")];
            for (branch, what) in order {
                step(&mut lanes, &branches[*branch], what);
            }
            assert!(!lanes.is_one());
            let end = step(&mut lanes, &root, "last");
            assert!(lanes.is_one());
            end
        };
        let one = run(&[(0, "a"), (0, "b"), (1, "c")]);
        assert_eq!(one, run(&[(1, "c"), (0, "a"), (0, "b")]));
        assert_ne!(one.key, run(&[(0, "a"), (1, "b"), (1, "c")]).key);
        assert_ne!(one.key, run(&[(0, "a"), (1, "c")]).key);
    }

    #[test]
    fn forks_follow_each_other_and_nest() {
        let run = |numbers: [u64; 3], swap: bool| {
            let (mut lanes, root) = (begin(), Lane::default());
            let first = [root.branch(numbers[0], "a"), root.branch(numbers[0], "b")];
            let inner = first[0].branch(numbers[1], "x");
            let order = if swap { [&first[1], &inner] } else { [&inner, &first[1]] };
            for lane in order {
                step(&mut lanes, lane, "1");
            }
            // No operation of the parent between the two forks.
            let second = root.branch(numbers[2], "a");
            step(&mut lanes, &second, "2");
            assert_eq!(lanes.positions.len(), 2);
            step(&mut lanes, &root, "3")
        };
        assert_eq!(run([1, 2, 3], false), run([9, 8, 7], true));
    }

    #[test]
    fn a_lane_is_seen_from_where_a_machine_was_made() {
        let made_in = Lane::default().branch(1, "a");
        assert_eq!(made_in.branch(2, "b").inside(&made_in), Lane::default().branch(2, "b"));
        assert_eq!(made_in.inside(&made_in), Lane::default());
        assert_eq!(Lane::default().inside(&made_in), Lane::default());
    }

    #[test]
    fn a_branch_that_does_nothing_is_none() {
        let (mut lanes, root) = (begin(), Lane::default());
        let before = lanes.at(&root);
        assert_eq!(lanes.at(&root), before);
        let branch = root.branch(1, "a");
        assert_ne!(lanes.at(&branch).key, before.key);
        assert_eq!(lanes.at(&branch).id, before.id);
    }
}
