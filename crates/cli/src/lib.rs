//! The ariann program: one file a command, parses and prints.
