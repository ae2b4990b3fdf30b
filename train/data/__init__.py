"""Training data: reading, splitting, augmentation."""
