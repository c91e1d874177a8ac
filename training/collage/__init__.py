"""Choose the drawings of the collage and put them into the package: `python -m training.collage.build`."""
