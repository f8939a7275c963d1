"""The public scoreboard: what we read of public DICOM sets, beside dcm2niix and the published references."""
