"""What executes the operators of :mod:`napari_sparse3d.sparse`: one file an engine, one interface."""
