//! What a build server makes of a comparison: REGRESSED fails; INVALID is tried once more and is then neutral; INCONCLUSIVE is
//! neutral; nothing but PASS is green.

use super::Word;

/// As GitHub's checks have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    Success,
    Neutral,
    Failure,
}

impl Conclusion {
    pub fn name(self) -> &'static str {
        match self {
            Conclusion::Success => "success",
            Conclusion::Neutral => "neutral",
            Conclusion::Failure => "failure",
        }
    }

    /// Of the process: what is neutral stops nobody. The workflow makes green of `success` alone.
    pub fn exit_code(self, word: Word) -> u8 {
        if self == Conclusion::Failure { word.exit_code() } else { 0 }
    }
}

/// What a word means to a change.
fn conclude(word: Word) -> Conclusion {
    match word {
        Word::Pass => Conclusion::Success,
        Word::Inconclusive | Word::Invalid => Conclusion::Neutral,
        Word::Regressed | Word::Violated => Conclusion::Failure,
    }
}

/// Measures, once more if the generator was unsound, and concludes from what was measured last.
pub fn decide<T, E>(mut measure: impl FnMut() -> Result<(Word, T), E>) -> Result<(Conclusion, Word, T), E> {
    let mut measured = measure()?;
    if measured.0 == Word::Invalid {
        measured = measure()?;
    }
    let (word, found) = measured;
    Ok((conclude(word), word, found))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The conclusion, the exit code, and how often was measured, when these are the verdicts in turn.
    fn decided(words: &[Word]) -> (Conclusion, u8, usize) {
        let mut asked = 0;
        let (conclusion, word, ()) = decide(|| {
            asked += 1;
            Ok::<_, ()>((words[asked - 1], ()))
        })
        .unwrap();
        (conclusion, conclusion.exit_code(word), asked)
    }

    #[test]
    fn a_regression_and_a_broken_rule_fail_at_once() {
        assert_eq!(decided(&[Word::Regressed]), (Conclusion::Failure, 4, 1));
        assert_eq!(decided(&[Word::Violated]), (Conclusion::Failure, 7, 1));
    }

    #[test]
    fn invalid_is_tried_once_more_and_is_then_neutral() {
        assert_eq!(decided(&[Word::Invalid, Word::Invalid]), (Conclusion::Neutral, 0, 2));
        assert_eq!(decided(&[Word::Invalid, Word::Pass]), (Conclusion::Success, 0, 2));
        assert_eq!(decided(&[Word::Invalid, Word::Regressed]), (Conclusion::Failure, 4, 2));
        assert_eq!(decided(&[Word::Invalid, Word::Inconclusive]), (Conclusion::Neutral, 0, 2));
    }

    #[test]
    fn nothing_but_pass_is_green() {
        assert_eq!(decided(&[Word::Pass]), (Conclusion::Success, 0, 1));
        assert_eq!(decided(&[Word::Inconclusive]), (Conclusion::Neutral, 0, 1));
        let green = Word::ALL.into_iter().filter(|word| conclude(*word) == Conclusion::Success);
        assert_eq!(green.collect::<Vec<_>>(), [Word::Pass]);
    }

    #[test]
    fn what_cannot_be_measured_is_no_conclusion() {
        assert_eq!(decide(|| Err::<(Word, ()), _>("no relay")).unwrap_err(), "no relay");
    }
}
