//! x86-64: VAES on 512 and 256 bits, AES-NI.
