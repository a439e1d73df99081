//! Words of the protocol for what the matchmaker knows as plain values.

use serde::{Deserialize, Serialize};

use crate::matchmaking::{Band, Gender, Level, TopicMode};

/// Pairs each word with its value, both ways.
macro_rules! words {
    ($(#[$doc:meta])* $word:ident = $value:ident { $($name:ident: $text:literal = $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $word { $(#[serde(rename = $text)] $name),* }

        impl From<$word> for $value {
            fn from(word: $word) -> $value {
                match word { $($word::$name => $value::$variant),* }
            }
        }

        impl From<$value> for $word {
            fn from(value: $value) -> $word {
                match value { $($value::$variant => $word::$name),* }
            }
        }
    };
}

words! {
    /// Age band of the token's `age` claim.
    BandWord = Band { B13to15: "13-15" = B13_15, B16to17: "16-17" = B16_17, Adult: "18+" = Adult }
}
words! {
    GenderWord = Gender { F: "f" = F, M: "m" = M, X: "x" = X }
}
words! {
    LevelWord = Level { A1: "A1" = A1, A2: "A2" = A2, B1: "B1" = B1, B2: "B2" = B2, C1: "C1" = C1, C2: "C2" = C2 }
}
words! {
    ModeWord = TopicMode { Prefer: "prefer" = Prefer, Require: "require" = Require }
}
