//! Choices from bytes.

/// Makes choices of bytes, one after the other; when they are used up, each choice is the first one.
pub(super) struct Source<'d> {
    rest: &'d [u8],
}

impl<'d> Source<'d> {
    pub(super) fn new(data: &'d [u8]) -> Source<'d> {
        Source { rest: data }
    }

    /// Tells whether nothing is left to choose by.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => 0,
        }
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// Returns a number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let number = usize::from(self.byte());
        let number = if end > 256 { number << 8 | usize::from(self.byte()) } else { number };
        number % end.max(1)
    }

    /// Returns eight bytes as a number.
    pub(super) fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.get(self.below(choices.len())).expect("a choice")
    }

    /// Returns at most `longest` pieces of the choices, one behind the other.
    pub(super) fn text(&mut self, choices: &[&str], longest: usize) -> String {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.pick(choices)).collect()
    }

    /// Returns at most `longest` of the next bytes.
    pub(super) fn bytes(&mut self, longest: usize) -> &'d [u8] {
        let length = self.below(longest + 1).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes
    }
}
