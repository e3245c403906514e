//! Dependencies: the order in which a set runs, and cycles.
//!
//! The order is topological, and of all that are ready the smallest version comes next: one set, one order.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Orders nodes by their dependencies. Nodes are numbered in the order that breaks ties; `depends[node]` holds the nodes
/// that it needs, each of which must be a node.
///
/// # Errors
/// All cycles that don't share a node, each beginning with its smallest one; every node of a cycle needs the next, and the
/// last the first.
pub fn order(depends: &[Vec<usize>]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut waits_for: Vec<usize> = depends.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); depends.len()];
    for (node, needs) in depends.iter().enumerate() {
        for &need in needs {
            needed_by[need].push(node);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        waits_for.iter().enumerate().filter(|(_, count)| **count == 0).map(|(node, _)| Reverse(node)).collect();
    let mut ordered = Vec::with_capacity(depends.len());
    while let Some(Reverse(node)) = ready.pop() {
        ordered.push(node);
        for &other in &needed_by[node] {
            waits_for[other] -= 1;
            if waits_for[other] == 0 {
                ready.push(Reverse(other));
            }
        }
    }
    if ordered.len() == depends.len() { Ok(ordered) } else { Err(cycles(depends, &waits_for)) }
}

/// The cycles among the nodes that still wait for one.
fn cycles(depends: &[Vec<usize>], waits_for: &[usize]) -> Vec<Vec<usize>> {
    let mut cycles = Vec::new();
    // On which walk a node was met, and where on it.
    let mut met: Vec<Option<(usize, usize)>> = vec![None; depends.len()];
    for start in (0..depends.len()).filter(|&node| waits_for[node] > 0) {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(node) = at {
            match met[node] {
                Some((walk, place)) if walk == start => {
                    cycles.push(from_smallest(&path[place..]));
                    break;
                }
                Some(_) => break,
                None => met[node] = Some((start, path.len())),
            }
            path.push(node);
            // Whoever waits needs somebody who waits too.
            at = depends[node].iter().copied().find(|&need| waits_for[need] > 0);
        }
    }
    cycles
}

fn from_smallest(cycle: &[usize]) -> Vec<usize> {
    let smallest = cycle.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(at, _)| at);
    let (head, tail) = cycle.split_at(smallest);
    [tail, head].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// P14: dependencies come first, then the smaller version.
    #[test]
    fn dependencies_come_first_and_then_the_smaller_version() {
        assert_eq!(order(&[vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
        assert_eq!(order(&[vec![2], vec![], vec![]]), Ok(vec![1, 2, 0]));
        assert_eq!(order(&[vec![3], vec![0], vec![], vec![]]), Ok(vec![2, 3, 0, 1]));
        assert_eq!(order(&[vec![1, 1], vec![]]), Ok(vec![1, 0]));
        assert_eq!(order(&[]), Ok(vec![]));
    }

    /// P16: a cycle is shown from its smallest node on, each needing the next.
    #[test]
    fn a_cycle_begins_with_its_smallest_node() {
        assert_eq!(order(&[vec![0]]), Err(vec![vec![0]]));
        assert_eq!(order(&[vec![1], vec![0]]), Err(vec![vec![0, 1]]));
        assert_eq!(order(&[vec![], vec![3], vec![1], vec![2]]), Err(vec![vec![1, 3, 2]]));
        // Whoever only waits for a cycle is in none.
        assert_eq!(order(&[vec![1], vec![2], vec![1]]), Err(vec![vec![1, 2]]));
        assert_eq!(order(&[vec![1], vec![0], vec![3], vec![2]]), Err(vec![vec![0, 1], vec![2, 3]]));
    }

    proptest! {
        #[test]
        fn an_order_holds_every_node_behind_what_it_needs(edges in prop::collection::vec((0usize..12, 0usize..12), 0..20)) {
            let mut depends = vec![Vec::new(); 12];
            for &(node, need) in &edges {
                depends[node].push(need);
            }
            match order(&depends) {
                Ok(ordered) => {
                    let place = |node| ordered.iter().position(|&other| other == node).unwrap();
                    prop_assert_eq!(ordered.len(), 12);
                    prop_assert!(edges.iter().all(|&(node, need)| place(need) < place(node)));
                }
                Err(cycles) => {
                    prop_assert!(!cycles.is_empty());
                    for cycle in cycles {
                        let next = cycle.iter().cycle().skip(1);
                        prop_assert!(cycle.iter().zip(next).all(|(&node, need)| depends[node].contains(need)));
                    }
                }
            }
        }
    }
}
