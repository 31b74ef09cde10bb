"""The data sets: tables of images, decoded pixels, augmentation and sampling."""
