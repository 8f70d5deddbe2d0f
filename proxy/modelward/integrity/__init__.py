"""Whether the files of a version are those that were signed."""
