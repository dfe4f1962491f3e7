"""Loop: what users say becomes the next data set, and every answer can be walked back to its source."""
