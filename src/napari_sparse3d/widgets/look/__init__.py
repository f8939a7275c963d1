"""The panel for looking at scans: windows of greys in one click, and three linked planes."""
