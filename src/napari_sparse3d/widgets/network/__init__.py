"""The Network panel: run a model on a voxel set, look inside it, and ask what drove it."""
