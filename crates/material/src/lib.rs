//! One-time material: file format, checksummed chunks, store and durable ledger.
