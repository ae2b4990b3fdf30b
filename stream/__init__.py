"""Video in, labelled video out: packets, frames, time, threads and tracks."""
