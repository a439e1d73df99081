//! What the operator wrote and what the program uses.
