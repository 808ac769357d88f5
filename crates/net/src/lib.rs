//! The only sockets: TLS 1.3 between pinned identities, framing, deadlines, the in-memory pair.
