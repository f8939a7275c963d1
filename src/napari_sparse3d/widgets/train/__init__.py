"""The Train panel: a labelled set becomes a model, in a process of its own."""
