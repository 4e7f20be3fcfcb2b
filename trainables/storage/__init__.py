"""Files that all nodes can read and write: in a shared folder or in an S3 bucket."""
