"""The panel in which a thing is pointed at: a nodule is clicked, boxed or chosen by its label."""
