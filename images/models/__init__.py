"""Image models behind a spec: local pipelines, hosted services, and the offline collage."""
