#!/usr/bin/env bash
# SimpleITK 2.5.7: the frames of an enhanced MR file are stacked in the order of the file, not of their positions, and where that
# order is not even the voxel is 1 x 1 x 1 mm, whatever Pixel Spacing and Spacing Between Slices say. Nothing is printed.
# It surprises because each frame states its position and its number in the stack, and scanners do write interleaved frames: the
# volume that comes back has the right shape, its slices shuffled and its size made up.
# So: sort by the frames' positions along the normal, and check the step between all of them.
set -euo pipefail
source "$(dirname "$0")/run"
use SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6
python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid


def item(**elements):
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def write(order):
    """Write slices 0 to 5, at z = 3 k mm and filled with k, as frames in this order."""
    organization = generate_uid()
    frames = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[-10, -20, 3 * k])],
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1])],
        )
        for k in order
    ]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[2, 2], SliceThickness=3, SpacingBetweenSlices=3)],
    )
    indices = [
        item(DimensionOrganizationUID=organization, DimensionIndexPointer=tag, FunctionalGroupPointer=0x00209111)
        for tag in (0x00209056, 0x00209057)  # Stack ID, In-Stack Position Number, both in Frame Content
    ]
    dataset = item(
        SOPClassUID=EnhancedMRImageStorage, SOPInstanceUID=generate_uid(), StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(), FrameOfReferenceUID=generate_uid(), PositionReferenceIndicator="",
        PatientName="", PatientID="", PatientBirthDate="", PatientSex="", StudyDate="", StudyTime="", StudyID="",
        AccessionNumber="", ReferringPhysicianName="", Modality="MR", SeriesNumber=1, InstanceNumber=1,
        ImageType=["ORIGINAL", "PRIMARY", "ANATOMY", "NONE"], NumberOfFrames=6, Rows=4, Columns=4, SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=12, HighBit=11, PixelRepresentation=0,
        DimensionOrganizationSequence=[item(DimensionOrganizationUID=organization)], DimensionIndexSequence=indices,
        SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames,
        PixelData=np.repeat(np.array(order, "<u2"), 16).tobytes(),
    )
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as("enhanced.dcm", enforce_file_format=True)


print("SimpleITK", sitk.Version.VersionString())
for order, spacing, z in (
    ([0, 1, 2, 3, 4, 5], (2, 2, 3), 0),
    ([0, 2, 4, 1, 3, 5], (1, 1, 1), 0),
    ([1, 0, 2, 3, 4, 5], (1, 1, 1), 3),
):
    write(order)
    image = sitk.ReadImage("enhanced.dcm")
    slices = sitk.GetArrayFromImage(image)[:, 0, 0].tolist()
    print(f"frames {order}: slices {slices}, spacing {image.GetSpacing()}, origin {image.GetOrigin()}")
    assert slices == order
    assert np.allclose(image.GetSpacing(), spacing) and np.allclose(image.GetOrigin(), (-10, -20, z))
    assert np.allclose(image.GetDirection(), np.eye(3).ravel())
PYTHON
