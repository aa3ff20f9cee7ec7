//! Asking for the same thing over and over must not make a giant answer out of a small request.

use std::collections::HashMap;
use std::hash::Hash;

/// How often one thing is described in one answer.
const MOST: usize = 16;

/// Leaves out what is asked for more than [`MOST`] times; what a client gets to know is the same. What has no key stays.
pub(super) fn bound<T, K: Eq + Hash>(asked: &mut Vec<T>, key: impl Fn(&T) -> Option<K>) {
    let mut counts: HashMap<K, usize> = HashMap::new();
    asked.retain(|one| {
        let Some(key) = key(one) else { return true };
        let count = counts.entry(key).or_default();
        *count += 1;
        *count <= MOST
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_in_place_and_so_often_at_most() {
        let mut asked: Vec<u8> = [vec![1, 2], vec![1; 100], vec![0; 30], vec![3, 2]].concat();
        bound(&mut asked, |one| (*one > 0).then_some(*one));
        assert_eq!(asked, [vec![1, 2], vec![1; 15], vec![0; 30], vec![3, 2]].concat());
    }
}
