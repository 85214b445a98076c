//! What went wrong: numbers that are not finite, and in a guarded program words that a kernel forgot or had no business with.

use super::{Program, Slot};
use crate::error::{Error, Result};
use crate::gpu::Bound;
use crate::tape::plan::{GUARD_WORDS, POISON};
use crate::tape::{Element, Memory, finite};
use std::ops::Range;

impl Program {
    /// Run dispatch by dispatch and return [`Error::NotFinite`] for the first tensor that holds a NaN or an infinity.
    ///
    /// The guard must be up, so that nothing is updated: the same inputs then give the same bits.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where one is found, [`Error::DeviceLost`].
    pub fn find_non_finite(&mut self, step: u64) -> Result<()> {
        self.find_non_finite_in(0..self.dispatches().len(), step)
    }

    /// The same for the dispatches of some segments.
    ///
    /// # Errors
    /// As [`find_non_finite`](Self::find_non_finite) and [`run_segment`](Self::run_segment).
    pub(crate) fn find_non_finite_between(&mut self, first: &str, last: &str, step: u64) -> Result<()> {
        self.find_non_finite_in(self.between(first, last)?, step)
    }

    fn find_non_finite_in(&mut self, range: Range<usize>, step: u64) -> Result<()> {
        for slot in self.slots.iter().filter(|s| s.tensor.element == Element::F32) {
            if let Some(bound) = slot.bound.as_ref().filter(|bound| self.reads_first(bound, range.clone())) {
                self.report(slot, bound, step)?;
            }
        }
        for i in range {
            self.run_range(i..i + 1)?;
            for &t in &self.written[i] {
                let slot = &self.slots[t];
                if let (Some(bound), Element::F32) = (&slot.bound, slot.tensor.element) {
                    self.report(slot, bound, step)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a run of some dispatches reads a range before it writes there, so that what it finds comes from outside: an input,
    /// weights, the bank.
    fn reads_first(&self, range: &Bound, of: Range<usize>) -> bool {
        for dispatch in &self.dispatches()[of] {
            let bindings = dispatch.kernel.point.bindings.iter().filter(|b| b.name != "params");
            let mut met = bindings.zip(&dispatch.bound).filter(|(_, other)| other.overlaps(range)).peekable();
            if met.peek().is_some() {
                return met.any(|(binding, _)| !binding.writable);
            }
        }
        false
    }

    fn report(&self, slot: &Slot, bound: &Bound, step: u64) -> Result<()> {
        let words = self.gpu.read_now(&bound.buffer, bound.offset, slot.tensor.words())?;
        match finite::first(&words) {
            Some(index) => Err(Error::NotFinite { tensor: slot.name.clone(), index: index as u64, step }),
            None => Ok(()),
        }
    }

    /// In a program from [`Tape::compile_guarded`](crate::tape::Tape::compile_guarded): which tensors have damaged guard words,
    /// and which still hold the poison that they were filled with.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn inspect(&self) -> Result<Inspection> {
        let mut found = Inspection::default();
        let guarded = self.memory == Memory::Guarded;
        for (t, slot) in self.slots.iter().enumerate() {
            let Some(bound) = slot.bound.as_ref().filter(|b| guarded && b.words == slot.tensor.words().max(4) + GUARD_WORDS)
            else {
                continue;
            };
            let words = self.gpu.read_now(&bound.buffer, 0, bound.words)?;
            let (own, rest) = words.split_at(slot.tensor.words());
            let guards = &rest[rest.len() - GUARD_WORDS..];
            if guards.iter().any(|w| *w != POISON) {
                found.overrun.push(slot.name.clone());
            }
            if self.written.iter().flatten().any(|w| *w == t) && own.contains(&POISON) {
                found.unwritten.push(slot.name.clone());
            }
        }
        Ok(found)
    }
}

/// What [`Program::inspect`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Tensors after which a kernel wrote.
    pub overrun: Vec<String>,
    /// Tensors of which a kernel left a part unwritten.
    pub unwritten: Vec<String>,
}
