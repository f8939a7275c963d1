"""Training on labelled sets of shapes: data, losses, the loop, the table of runs, search."""
