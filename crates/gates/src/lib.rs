//! The protocol, one file a gate: the dealer's half and the parties' halves side by side.
