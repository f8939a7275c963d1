"""What all panels share: words, workers, layers, looks. Panels themselves hold no science and little plumbing."""
