#!/usr/bin/env bash
# dcm2niix 1.0.20260724: the slice step of the NIfTI file is the distance of the first two slices, for all the others.
# It surprises because positions are written rounded: 0.0001 mm in the second slice of a 2 mm series, well within its rounding, is
# 0.0095 mm at slice 96, and the file disagrees with every position but the first two.
# So: take the step from the first to the last slice, and check that each slice lies on the grid.
set -euo pipefail
source "$(dirname "$0")/run"
use dcm2niix==1.0.20260724 pydicom==3.0.2 nibabel==5.4.2 numpy==2.4.6
python - <<'PYTHON'
import os
import subprocess

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

positions = [2.0 * k for k in range(96)]
positions[1] = 2.0001
study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
os.mkdir("series")
for k, z in enumerate(positions):
    dataset = Dataset()
    for name in (
        "PatientName PatientID PatientBirthDate PatientSex StudyID AccessionNumber ReferringPhysicianName PositionReferenceIndicator "
        "Manufacturer AcquisitionNumber KVP"
    ).split():
        setattr(dataset, name, None)
    for name, value in dict(
        SOPClassUID=CTImageStorage, SOPInstanceUID=generate_uid(), StudyInstanceUID=study, SeriesInstanceUID=series,
        FrameOfReferenceUID=frame_of_reference, StudyDate="20200101", StudyTime="100000", Modality="CT", ProtocolName="Head",
        PatientPosition="HFS", SeriesNumber=1, InstanceNumber=k + 1, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], SliceThickness=2,
        PixelSpacing=[1, 1], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, z], Rows=8, Columns=8,
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15,
        PixelRepresentation=1, RescaleSlope=1, RescaleIntercept=0, PixelData=np.full(64, k, "<i2").tobytes(),
    ).items():
        setattr(dataset, name, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(f"series/{k:02d}.dcm", enforce_file_format=True)

os.mkdir("converted")
run = subprocess.run(["dcm2niix", "-f", "ct", "-o", "converted", "series"], capture_output=True, text=True, check=True)
affine = nibabel.load("converted/ct.nii").affine
last = float(affine[2] @ [0, 0, 95, 1])
print(run.stdout.splitlines()[0])
print(f"step {affine[2, 2]:.6f} mm; slice 96 is at {positions[-1]} mm in DICOM, at {last:.4f} mm in NIfTI")
assert abs(affine[2, 2] - 2.0001) < 1e-6
assert abs(last - positions[-1] - 0.0095) < 1e-4
PYTHON
