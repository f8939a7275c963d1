"""Scans come into the viewer: a folder, one of its series, a sample."""
