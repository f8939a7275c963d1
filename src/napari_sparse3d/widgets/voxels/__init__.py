"""The Sparse voxels panel: from a volume to its voxel set."""
