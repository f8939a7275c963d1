#!/usr/bin/env bash
# SimpleITK 2.5.7: the type of a DICOM series is the one of its first slice after rescaling. Where that slope is whole (1) and later
# ones are fractions, as PET has them, later slices are cut to integers: 1.75 becomes 1, silently.
# It surprises because the same slices in another order, or a first slope of 0.5, give floats: whether a series is quantised hangs
# on one number of one file.
# So: rescale each slice by its own slope into floats, and stack then.
set -euo pipefail
source "$(dirname "$0")/run"
use SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6
python - <<'PYTHON'
import os

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid


def write(folder, slopes):
    """Write a PET series of slices 2 mm apart, 7 stored in each voxel, with a Rescale Slope a slice."""
    os.mkdir(folder)
    study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
    for k, slope in enumerate(slopes):
        dataset = Dataset()
        for name in (
            "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName "
            "Manufacturer PositionReferenceIndicator"
        ).split():
            setattr(dataset, name, "")
        for name, value in dict(
            SOPClassUID=PositronEmissionTomographyImageStorage, SOPInstanceUID=generate_uid(), StudyInstanceUID=study,
            SeriesInstanceUID=series, FrameOfReferenceUID=frame_of_reference, Modality="PT", SeriesNumber=1, InstanceNumber=k + 1,
            SeriesDate="20200101", SeriesTime="100000", AcquisitionDate="20200101", AcquisitionTime="100000",
            ImageType=["ORIGINAL", "PRIMARY"], Units="BQML", CountsSource="EMISSION", SeriesType=["STATIC", "IMAGE"],
            DecayCorrection="START", CorrectedImage=["DECY", "ATTN"], CollimatorType="NONE", FrameReferenceTime=0,
            ActualFrameDuration=1000, NumberOfSlices=len(slopes), ImageIndex=k + 1, SliceThickness=2, PixelSpacing=[2, 2],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 2 * k], Rows=4, Columns=4,
            SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15,
            PixelRepresentation=1, RescaleSlope=slope, RescaleIntercept=0, PixelData=np.full(16, 7, "<i2").tobytes(),
        ).items():
            setattr(dataset, name, value)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(f"{folder}/{k}.dcm", enforce_file_format=True)


print("SimpleITK", sitk.Version.VersionString())
for folder, slopes, expected in (
    ("fraction-first", [0.25, 0.5, 1], [1.75, 3.5, 7]),
    ("whole-first", [1, 0.5, 0.25], [7, 3, 1]),
):
    write(folder, slopes)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder))
    values = sitk.GetArrayFromImage(image)[:, 0, 0].tolist()
    print(f"7 stored, slopes {slopes}: {values} ({image.GetPixelIDTypeAsString()}), true {[7 * slope for slope in slopes]}")
    assert values == expected
PYTHON
