#!/usr/bin/env bash
# dcm2niix 1.0.20260724: of a series in time whose volumes begin 9 s apart (Acquisition Time) with a Repetition Time of 3 s, pixdim[4] is
# 9 s where Manufacturer says Siemens or Philips and 3 s where it says GE, all else alike and without a warning for GE.
# It surprises because NIfTI's field is the time between volumes, which Repetition Time need not be, and because the name of the maker
# decides which of two public attributes is believed.
# So: take the step from the times of the volumes, or say that it is unknown; never call Repetition Time the step.
set -euo pipefail
source "$(dirname "$0")/run"
use dcm2niix==1.0.20260724 pydicom==3.0.2 nibabel==5.4.2 numpy==2.4.6
python - <<'PYTHON'
import os
import subprocess

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def write(folder, maker):
    """Write three volumes of four slices, 9 s apart, with a Repetition Time of 3 s."""
    os.mkdir(folder)
    study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
    for k in range(12):
        volume, place = divmod(k, 4)
        dataset = Dataset()
        for name in (
            "PatientName PatientID PatientBirthDate PatientSex StudyID AccessionNumber ReferringPhysicianName "
            "PositionReferenceIndicator ScanOptions EchoTrainLength"
        ).split():
            setattr(dataset, name, None)
        for name, value in dict(
            SOPClassUID=MRImageStorage, SOPInstanceUID=generate_uid(), StudyInstanceUID=study, SeriesInstanceUID=series,
            FrameOfReferenceUID=frame_of_reference, StudyDate="20200101", StudyTime="100000", AcquisitionDate="20200101",
            AcquisitionTime=f"1000{9 * volume:02d}", Modality="MR", Manufacturer=maker, ProtocolName="EPI", PatientPosition="HFS",
            ImageType=["ORIGINAL", "PRIMARY", "OTHER"], ScanningSequence="EP", SequenceVariant="SK", MRAcquisitionType="2D",
            RepetitionTime=3000, EchoTime=30, SeriesNumber=1, AcquisitionNumber=volume + 1, InstanceNumber=k + 1,
            TemporalPositionIdentifier=volume + 1, NumberOfTemporalPositions=3, SliceThickness=2, PixelSpacing=[1, 1],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 2 * place], Rows=8, Columns=8, SamplesPerPixel=1,
            PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=0,
            PixelData=np.full(64, k, "<u2").tobytes(),
        ).items():
            setattr(dataset, name, value)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(f"{folder}/{k:02d}.dcm", enforce_file_format=True)


os.mkdir("converted")
for folder, maker, expected in (("s", "SIEMENS", 9), ("p", "Philips Medical Systems", 9), ("g", "GE MEDICAL SYSTEMS", 3)):
    write(folder, maker)
    run = subprocess.run(["dcm2niix", "-f", folder, "-o", "converted", folder], capture_output=True, text=True, check=True)
    image = nibabel.load(f"converted/{folder}.nii")
    warned = "Discrepancy" in run.stdout
    print(f"{maker}: {image.shape}, pixdim[4] {image.header['pixdim'][4]:g} s, {'a' if warned else 'no'} warning about the times")
    assert image.shape == (8, 8, 4, 3)
    assert image.header["pixdim"][4] == expected and warned == (expected == 9)
print(run.stdout.splitlines()[0])
PYTHON
