//! Judging rows by the labelled rows nearest to them.

use super::{Accuracy, Matrix, Neighbour, accuracy, neighbours};
use crate::error::{Error, Result};
use crate::gpu::Gpu;

/// Neighbours that vote where nobody says how many: 200 as in the paper, of fewer than 2,000 rows that vote a tenth. Where all vote,
/// those of other classes have the majority whatever the features are.
///
/// ```
/// assert_eq!([5, 500, 50_000].map(instdisc::eval::usual_k), [1, 50, 200]);
/// ```
pub fn usual_k(voters: usize) -> usize {
    const PAPER: usize = 200;
    PAPER.min(voters / 10).max(1)
}

/// The number that each of the classes `judged` has among the classes `voting`, by name: two sets may number them differently.
///
/// ```
/// let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
/// let numbers = instdisc::eval::shared_classes(&names(&["cat", "dog"]), &names(&["dog", "emu"]));
/// assert_eq!(numbers, [Some(1), None]);
/// ```
pub fn shared_classes(voting: &[String], judged: &[String]) -> Vec<Option<u32>> {
    judged.iter().map(|name| voting.iter().position(|n| n == name).map(|i| i as u32)).collect()
}

/// Rows of features with their classes.
#[derive(Clone, Copy)]
pub struct Labelled<'a> {
    /// `[n, columns]`, usually of unit length.
    pub rows: &'a Matrix,
    /// The class of each row; rows without one neither vote nor are judged.
    pub classes: &'a [Option<u32>],
}

/// What was seen of the rows that were judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// What the votes got right.
    pub accuracy: Accuracy,
    /// Neighbours that voted on each row; one fewer on a row that is among all that have a vote.
    pub k: usize,
    /// Rows that had a vote.
    pub voters: usize,
}

/// Judge rows by weighted kNN: the `k` labelled rows nearest to each vote (see [`accuracy`]), or as many as there are.
///
/// `own` says which of the voting rows is the judged one itself, if one is: it does not vote on itself, and where nobody else votes
/// the row is not judged.
///
/// # Errors
/// [`Error::Value`] for a `k` of 0 or a `tau` not above 0; [`Error::Shape`] where rows and classes are not as many, or no row has a
/// vote; those of [`neighbours`].
pub fn judge(gpu: &Gpu, voting: Labelled, judged: Labelled, own: &[Option<u32>], k: usize, tau: f32) -> Result<Judgement> {
    if k == 0 {
        return Err(Error::value("knn", "k", "at least 1", k));
    }
    for (arg, set) in [("voting", voting), ("judged", judged)] {
        if set.rows.rows() != set.classes.len() {
            return Err(Error::shape("knn", arg, format!("[{}] classes", set.rows.rows()), format!("[{}]", set.classes.len())));
        }
    }
    let voters: Vec<u32> = (0..).zip(voting.classes).filter(|(_, class)| class.is_some()).map(|(row, _)| row).collect();
    if voters.is_empty() {
        return Err(Error::shape("knn", "voting", "at least one row with a class", "none"));
    }
    let bank = voters.iter().flat_map(|row| voting.rows.row(*row as usize).iter().copied()).collect();
    let bank = Matrix::new(voting.rows.cols, bank)?;
    // One neighbour more, in whose place the own row may stand.
    let spare = usize::from(own.iter().any(Option::is_some));
    // A row with nobody to vote on it but itself is not judged.
    let alone = |i: usize| voters.len() == 1 && own.get(i).is_some_and(|own| *own == Some(voters[0]));
    let truth: Vec<Option<u32>> = judged.classes.iter().enumerate().map(|(i, class)| class.filter(|_| !alone(i))).collect();
    let everyone_own = truth.iter().enumerate().all(|(i, class)| class.is_none() || own.get(i).is_some_and(Option::is_some));
    let k = k.min(voters.len() - usize::from(everyone_own && voters.len() > 1)).max(1);
    let mut found = neighbours(gpu, &bank, judged.rows, k + spare)?;
    for (found, own) in found.iter_mut().zip(own) {
        found.retain(|n| Some(voters[n.row as usize]) != *own);
    }
    found.iter_mut().for_each(|found: &mut Vec<Neighbour>| found.truncate(k));
    let class_of = |row: u32| voting.classes[voters[row as usize] as usize];
    let accuracy = accuracy(&found, &truth, class_of, tau)?;
    Ok(Judgement { accuracy, k, voters: voters.len() })
}
