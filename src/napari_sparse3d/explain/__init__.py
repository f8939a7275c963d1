"""What a network looked at: attributions of a class to voxels and sites, and where a layer's sites lie."""
