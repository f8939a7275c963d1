"""Sparse 3D networks on CT and MR volumes, in napari and from the command line."""
