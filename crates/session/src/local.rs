//! Role processes on one machine: starts them, watches them, ends them.
