"""Getting data in: downloads, readers, prepared archives, splits, batches, augmentation and synthetic sets."""
