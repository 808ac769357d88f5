//! Readers for IDX, npy and images, and their preprocessing.
