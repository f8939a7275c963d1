"""DICOM: headers, planes, stacks, voxels. A stack is read exactly or refused with the reason."""
