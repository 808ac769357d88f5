//! For tests only: the program with seams, the record of masked values, failing storage, and role processes that can be
//! watched and killed.

pub mod document;
pub mod processes;
pub mod record;
pub mod seams;
pub mod stage;
pub mod storage;
pub mod traces;
