#!/usr/bin/env bash
# dcm2niix 1.0.20260724: for a Siemens CT whose Convolution Kernel has two values (Br38f and 3), the sidecar is no JSON: the first
# value is written with the separating backslash, `"ReconFilterType": "Br38f\",`, which leaves the string open.
# It surprises because the exit code is 0 and the line above it escapes the very same value correctly.
# So: never let a scan fail with its sidecar; take what can be taken from the DICOM files.
set -euo pipefail
source "$(dirname "$0")/run"
use dcm2niix==1.0.20260724 pydicom==3.0.2 numpy==2.4.6
python - <<'PYTHON'
import json
import os
import subprocess

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
os.mkdir("series")
for k in range(4):
    dataset = Dataset()
    for name in (
        "PatientName PatientID PatientBirthDate PatientSex StudyID AccessionNumber ReferringPhysicianName PositionReferenceIndicator "
        "AcquisitionNumber KVP"
    ).split():
        setattr(dataset, name, None)
    for name, value in dict(
        SOPClassUID=CTImageStorage, SOPInstanceUID=generate_uid(), StudyInstanceUID=study, SeriesInstanceUID=series,
        FrameOfReferenceUID=frame_of_reference, StudyDate="20200101", StudyTime="100000", Modality="CT", Manufacturer="SIEMENS",
        ProtocolName="Head", PatientPosition="HFS", SeriesNumber=1, InstanceNumber=k + 1, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        ConvolutionKernel=["Br38f", "3"], SliceThickness=2, PixelSpacing=[1, 1], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ImagePositionPatient=[0, 0, 2 * k], Rows=8, Columns=8, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=1, RescaleSlope=1, RescaleIntercept=0,
        PixelData=np.full(64, k, "<i2").tobytes(),
    ).items():
        setattr(dataset, name, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(f"series/{k}.dcm", enforce_file_format=True)

os.mkdir("converted")
run = subprocess.run(["dcm2niix", "-f", "ct", "-o", "converted", "series"], capture_output=True, text=True)
print(run.stdout.splitlines()[0])
with open("converted/ct.json") as opened:
    sidecar = opened.read()
print(f"exit code {run.returncode}", *(line for line in sidecar.splitlines() if "Br38f" in line), sep="\n")
assert run.returncode == 0
try:
    json.loads(sidecar)
except json.JSONDecodeError as fault:
    print("json:", fault)
else:
    raise AssertionError("the sidecar is JSON now")
PYTHON
