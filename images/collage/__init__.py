"""The collage: an image model that composes scenes from drawings, without a network, a GPU or a download."""
