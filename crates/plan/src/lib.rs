//! Graph and options to ordered gates: scales, widths, reveals, message lengths, material, digest, cost.
