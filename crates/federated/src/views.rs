//! What each sees.
