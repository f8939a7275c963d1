"""Figures, maps and neighbours of cases. Arrays in, arrays out."""
