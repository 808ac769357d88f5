//! Handshake and the three roles at work: dealer, party, client; configuration, progress, deadlines.
